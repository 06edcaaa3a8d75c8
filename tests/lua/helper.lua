-- What the specs of backups share: two simulated machines, and runs of the stock policy on them.

local helper = {}

local log = require "moonpool.log"
local sim = require "moonpool.sim"

--- Two machines with a pool each, and a tree on the source that is selected for the backup "nas".
-- @return world; its `hosts` are src and dst
function helper.world()
  local world = sim.new { now = 1795392000 }
  local src, dst = world:host "src", world:host "dst"
  src:run { "zpool", "create", "tank" }
  dst:run { "zpool", "create", "back" }
  src:run { "zfs", "create", "tank/a" }
  src:run { "zfs", "create", "tank/a/b" }
  src:run { "zfs", "set", "autobackup:nas=true", "tank/a" }
  world:write("tank/a", 1000)
  world:write("tank/a/b", 1000)
  return world
end

--- Runs a policy (default: autobackup) from the source to the target, quietly.
-- @param world the world; @param options over the defaults; @param policy another policy
-- @return exit status as the program's, lines said, error
function helper.backup(world, options, policy)
  policy = policy or require "policies.autobackup"
  local lines = {}
  local saved = log.sink
  log.sink = function(level, line) lines[#lines + 1] = level .. ": " .. line end
  local given = { backup_name = "nas", target_path = "back/nas", ssh_source = "src", ssh_target = "dst" }
  for key, value in pairs(options or {}) do given[key] = value end
  local env = {
    lock = false,
    clock = function() return world.now end,
    open = function(destination) return world:host(destination, { dry = given.test }) end,
  }
  local bound = policy:with(given)
  local ok, result = pcall(function() return bound:run(bound.options, env) end)
  log.sink = saved
  return ok and result or nil, lines, not ok and result or nil
end

--- Names of the snapshots of a dataset, oldest first. @param host a host; @param dataset its name; @return array of the parts after the `@`
function helper.snapshots(host, dataset)
  local names = {}
  local out = host:run({ "zfs", "list", "-Hp", "-t", "snapshot", "-d", "1", "-s", "createtxg", "-o", "name", dataset }, { check = false }).out
  for name in out:gmatch "@([^\n]+)" do names[#names + 1] = name end
  return names
end

return helper
