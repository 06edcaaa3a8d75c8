--- Destroys on one side what the policy does not keep and nothing protects, one command a dataset.

local errors = require "moonpool.error"
local explain = require "moonpool.explain"
local failure = require "moonpool.failure"
local log = require "moonpool.log"
local missing = require "moonpool.missing"
local plan = require "moonpool.plan"
local underway = require "moonpool.underway"
local zfs = require "moonpool.zfs"

local thin = {}

-- What zfs itself refuses to destroy, and rightly: somebody holds it, or a clone needs it.
local RIGHTLY = { "dependent clones", "dataset is busy", "it's being held" }

local function refused_rightly(err)
  for _, text in ipairs(RIGHTLY) do
    if (err.stderr or ""):find(text, 1, true) then return true end
  end
end

-- None of them is there any more: another run, or somebody, was quicker. If only some are gone, zfs destroys the others without a word.
local function are_gone(err) return (err.stderr or ""):find("could not find any snapshots to destroy", 1, true) end

local function destroy(run, side, pair, ds, names)
  local ok, err = failure.try(side.host.run, side.host, zfs.destroy_argv(ds.name, names))
  if not ok and errors.is(err, "exit") and are_gone(err) then
    for _, name in ipairs(names) do ds:remove("@", name) end
  elseif ok then
    pair["destroyed_" .. side.label] = (pair["destroyed_" .. side.label] or 0) + #names
    for _, name in ipairs(names) do ds:remove("@", name) end
  elseif #names > 1 and errors.is(err, "exit") then
    -- One of them stands in the way of the others: find out which.
    for _, name in ipairs(names) do destroy(run, side, pair, ds, { name }) end
  elseif errors.is(err, "exit") and refused_rightly(err) then
    log.info("Keeping %s@%s: %s", ds.name, names[1], tostring(err))
  else
    failure.note(run, ds.name .. "@" .. names[1], err)
  end
end

local function thin_pair(run, side, pair)
  local ds = side.label == "source" and pair.source or pair.target
  local planned = plan.thin(run, side.label, pair)
  explain.thinning(run, ds, pair, planned)
  for batch in zfs.batches(planned.names, zfs.MAX_DESTROY_BYTES) do destroy(run, side, pair, ds, batch) end
end

--- Thins the datasets of the target whose source is gone. @param run the run
function thin.missing(run) missing.age_out(run, thin_pair) end

--- Thins one side of a run. A dataset that failed keeps everything; what can't be destroyed is noted as a failure.
-- @param run the run; @param side its source or target
function thin.side(run, side)
  log.info("Destroying old snapshots on %s", side.label)
  if side.label == "source" then
    local ok, found = failure.try(underway.find, run)
    if not ok then return failure.note(run, "holds", found) end
    side.underway = found
  end
  for _, pair in ipairs(run.pairs) do
    local exists = side.label == "source" or pair.target
    if exists and not pair.error then failure.guard(run, pair, thin_pair, run, side, pair) end
  end
end

return thin
