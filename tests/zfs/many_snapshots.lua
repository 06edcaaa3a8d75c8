-- A run of autobackup, without a target, in which a `zfs snapshot` may only be so many bytes long: moonpool lua many_snapshots.lua NAME BYTES [HOST CONFIG]

local core = require "moonpool.core"
local host = require "moonpool.host"
local policy = require "policies.autobackup"

local name, bytes, destination, config = ...
local p = policy:with { backup_name = name, ssh_source = destination, ssh_config = config, allow_empty = true }
local env = {
  open = function(there, options) return host.open(there, { ssh_config = options.ssh_config }) end,
  clock = core.clock, lock = false, max_command_bytes = math.tointeger(tonumber(bytes)),
}
return p:run(p.options, env)
