-- A run of autobackup in which a `zfs snapshot` may only be a few bytes long: moonpool lua many_snapshots.lua NAME

local core = require "moonpool.core"
local host = require "moonpool.host"
local policy = require "policies.autobackup"

local p = policy:with { backup_name = ... }
local env = { open = function(destination) return host.open(destination) end, clock = core.clock, lock = false, max_command_bytes = 50 }
return p:run(p.options, env)
