--- --explain: why a dataset is selected or not, and why each snapshot stays or goes. Nothing is changed.

local log = require "moonpool.log"
local zfs = require "moonpool.zfs"

local explain = {}

-- What is to be explained: everything, one dataset, or one snapshot. Names of the target count as well.
local function is_wanted(run, pair_name, target_name, snapshot)
  local wanted = run.options.explain
  if wanted == "" then return true end
  local name, _, snap = zfs.split_snapshot(wanted)
  if name ~= pair_name and name ~= target_name then return false end
  return not snap or not snapshot or snap == snapshot
end

--- Tells why a dataset is in or out. @param run the run; @param name the dataset's; @param is_in boolean; @param reason why
function explain.selection(run, name, is_in, reason)
  if not run.options.explain or not is_wanted(run, name) then return end
  log.print("%s: %s (%s)", name, is_in and "selected" or "not selected", reason)
end

--- Tells what is sent of a dataset. @param run the run; @param pair the pair; @param planned from `plan.transfer`
function explain.transfer(run, pair, planned)
  if not run.options.explain or not is_wanted(run, pair.name, pair.target_name) then return end
  local base = planned.base and planned.base.from
  log.print("%s -> %s: %s", pair.name, pair.target_name,
    base and ("goes on from %s%s, the newest that both sides have"):format(base.kind, base.name) or "is sent in full, as both sides have nothing in common")
  for _, step in ipairs(planned.steps) do
    for _, s in ipairs(step.snapshots) do log.print("  @%s is sent", s.name) end
  end
  if planned.skip then log.print("  skipped: %s", planned.skip) end
end

-- The rules that keep a snapshot, and what protects it besides.
local function all_reasons(planned, s, protection)
  local words = {}
  if planned.reasons[s] then words[1] = tostring(planned.reasons[s]) end
  if protection == "held" then protection = "held by " .. table.concat(s.holds or {}, ", ") end
  if protection then words[#words + 1] = (planned.reasons[s] and "besides " or "") .. protection end
  return table.concat(words, "; ")
end

--- Tells of each own snapshot of one side why it stays, or that it goes.
-- @param run the run; @param ds the dataset; @param pair its pair; @param planned from `plan.thin`
function explain.thinning(run, ds, pair, planned)
  if not run.options.explain then return end
  local goes = {}
  for _, s in ipairs(planned.destroy) do goes[s] = true end
  for i, s in ipairs(planned.own) do
    if is_wanted(run, pair.name, pair.target_name, s.name) then
      log.print("%s@%s %s", ds.name, s.name, goes[s] and "goes: no rule keeps it" or "stays: " .. all_reasons(planned, s, planned.protected[i]))
    end
  end
end

return explain
