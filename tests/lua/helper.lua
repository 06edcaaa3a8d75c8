-- What the specs of backups share: the worlds and runs that users' tests have, too (moonpool.testing).

local testing = require "moonpool.testing"

local helper = { world = testing.world }

--- Runs a policy (default: autobackup) from the source to back/nas on the target, quietly. @param world; @param options over the policy's; @param policy
-- @return exit status as the program's, lines said, error
function helper.backup(world, options, policy)
  local given = { backup_name = "nas", target_path = "back/nas" }
  for key, value in pairs(options or {}) do given[key] = value end
  return testing.backup(world, given, policy)
end

--- Names of the snapshots of a dataset, oldest first. @param host a host; @param dataset its name; @return array of the parts after the `@`
function helper.snapshots(host, dataset) return testing.snapshots(host.world, host.name, dataset) end

return helper
