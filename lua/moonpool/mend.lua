--- Targets that can't go on from a common snapshot: what was asked to be done about them, before anything is sent.

local aside = require "moonpool.aside"
local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local log = require "moonpool.log"
local missing = require "moonpool.missing"
local zfs = require "moonpool.zfs"

local mend = {}

-- Destroys the snapshots of the target that are newer than the common one. zfs refuses those that are held.
local function destroy_newer(run, pair, state)
  local names = {}
  for i, s in ipairs(state.newer) do names[i] = s.name end
  log.info("Destroying on %s: %s@%s", run.target.host.name, pair.target_name, table.concat(names, ","))
  for batch in zfs.batches(names, zfs.MAX_DESTROY_BYTES) do run.target.host:run(zfs.destroy_argv(pair.target_name, batch)) end
  for _, name in ipairs(names) do pair.target:remove("@", name) end
end

local function roll_back(run, pair, state)
  destroy_newer(run, pair, state)
  run.target.host:run { "zfs", "rollback", pair.target_name .. "@" .. state.base.to.name }
end

-- Renames a target, and what lies below it, as its source was renamed.
local function follow(run, pair, old)
  local new = pair.target_name
  log.info("Renaming %s to %s, as on the source", old, new)
  aside.rename(run, old, new)
end

--- A pair without a target whose source had another name before: its target is renamed if that was asked for.
-- @param run the run; @param pair the pair
-- @raise renamed: it was not asked for, with what to type
function mend.renamed(run, pair)
  local gone = not pair.target and missing.renamed_from(run, pair)
  if not gone then return end
  if run.options.follow_renames then return follow(run, pair, gone.target_name) end
  errors.raise {
    code = "renamed", message = ("%s was renamed on the source: on the target it is still %s"):format(pair.name, gone.target_name),
    hint = ("zfs rename %s %s; --follow-renames does it"):format(gone.target_name, pair.target_name),
  }
end

-- Under one target path several sources may meet. What came from another one is not destroyed for what takes its name.
local function check_mark(run, pair)
  local mark, pool = pair.target.mark, dataset.pool(run.source, pair.name)
  local ours = pool and pool.guid and ("%x"):format(pool.guid)
  if not mark or not ours or mark == ours then return end
  errors.raise {
    code = "diverged", message = ("%s was received from another pool than that of %s, and is not given up for it"):format(pair.target_name, pair.name),
    hint = ("--on-diverged rename keeps it aside; if it may go: zfs set %s=%s %s"):format(dataset.MARK, ours, pair.target_name),
  }
end

--- Does what the hook `on_diverged` answered.
-- @param run the run; @param pair the pair; @param planned from `plan.transfer`, with `mend` = { action, base, newer }
-- @raise what the commands met
function mend.before(run, pair, planned)
  local state = planned.mend
  if not state then return end
  if state.action == "rollback" then
    roll_back(run, pair, state)
  elseif state.action == "destroy" then
    destroy_newer(run, pair, state)
  elseif state.action == "rename" or state.action == "full" then
    if state.action == "full" then check_mark(run, pair) end
    aside.set(run, pair, state.action)
  end
end

return mend
