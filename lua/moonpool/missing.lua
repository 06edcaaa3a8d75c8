--- Targets whose source is gone: datasets below the target path that this source's pools sent, and that no dataset of the source leads to any more.
--
-- What is received is marked with the GUID of the pool that it came from (the user property moonpool:source), so that one source does not take
-- another one's datasets for missing. A dataset without a mark of its own is left alone.

local aside = require "moonpool.aside"
local common = require "moonpool.common"
local context = require "moonpool.context"
local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local failure = require "moonpool.failure"
local log = require "moonpool.log"
local policy = require "moonpool.policy"
local remove = require "moonpool.remove"
local zfs = require "moonpool.zfs"

local missing = {}

-- Where all datasets of the source would be received, also those that are not selected: what they lead to is not missing. nil if the policy failed to
-- tell: then nothing is known to be missing. What --strip-path leaves nothing of leads nowhere.
local function accounted_names(run)
  local names = {}
  for _, name in ipairs(run.source_names) do
    local ok, target_name = failure.try(policy.call, run.policy, "target_name", { name = name }, context.of(run, "source", { name = name }))
    if ok then
      names[target_name] = true
    elseif not errors.is(target_name, "usage") then
      return nil
    end
  end
  return names
end

local function marks_of(run)
  local marks = {}
  for _, pool in pairs(dataset.pools(run.source)) do
    if pool.guid then marks[("%x"):format(pool.guid)] = true end
  end
  return marks
end

-- Those that have the mark themselves, not from the dataset above.
local function marked_themselves(run, names)
  local list = {}
  for _, row in ipairs(dataset.get(run.target, { properties = { dataset.MARK } }, names)) do
    if row.source == "local" then list[#list + 1] = row.name end
  end
  return list
end

--- Finds them, with their snapshots. @param run the run; @return array of { name, target_name, target }, as pairs without a source
-- @raise what the commands met
function missing.find(run)
  local accounted, marks, names = accounted_names(run), marks_of(run), {}
  if not accounted then return {} end
  for name, ds in pairs(run.target.datasets) do
    if zfs.is_below(name, run.options.target_path) and not accounted[name] and marks[ds.mark] and not aside.covers(name) then
      names[#names + 1] = name
    end
  end
  if #names == 0 then return {} end
  table.sort(names)
  names = marked_themselves(run, names)
  dataset.load_snapshots(run.target, names)
  local list = {}
  for _, name in ipairs(names) do
    local there = run.target.datasets[name]
    if there then list[#list + 1] = { name = name, target_name = name, target = there } end
  end
  return list
end

-- The names of source datasets that have snapshots in common with missing ones, and with no target of their own: { [GUID] = name }. A copy that was received
-- on the source is none of what is backed up, unless it is selected.
local function names_by_guid(run)
  local shared, has_target = {}, {}
  for _, gone in ipairs(run.missing) do
    for _, s in ipairs(gone.target:snapshots()) do shared[s.guid or s] = false end
  end
  for _, pair in ipairs(run.pairs) do has_target[pair.name] = common.newest(pair) ~= nil end
  for name, ds in pairs(run.source.datasets) do
    local passed_over = has_target[name] or has_target[name] == nil and ds.mark
    for _, list in ipairs(passed_over and {} or { ds:snapshots(), ds:bookmarks() }) do
      for _, s in ipairs(list) do
        if shared[s.guid] == false then shared[s.guid] = name end
      end
    end
  end
  return shared
end

-- The dataset of the source that a missing one is the only backup of, as it was renamed or is received elsewhere now; or nil.
local function renamed_to(names, pair)
  for _, s in ipairs(pair.target:snapshots()) do
    if names[s.guid] then return names[s.guid] end
  end
end

-- The same, looked for in all of the source: what was renamed may no longer be selected.
local function renamed_anywhere(run, pair)
  if not run.all_by_guid then
    dataset.load_all(run.source, run.source_names)
    run.all_by_guid = names_by_guid(run)
  end
  return renamed_to(run.all_by_guid, pair)
end

-- Why a missing dataset is not destroyed; nil: it may be.
local function obstacle(run, pair, age)
  local own
  for _, s in ipairs(pair.target:snapshots()) do
    if not s.own then return "it has snapshots of others" end
    own = s
  end
  if not own then return "it has no snapshot that would tell its age" end
  if run.now - own.time <= age then return "its newest snapshot is not old enough" end
  for name, ds in pairs(run.target.datasets) do
    if zfs.is_below(name, pair.target_name) then return "it has children" end
    if ds.origin and zfs.split_snapshot(ds.origin) == pair.target_name then return "it is the origin of a clone" end
  end
  local renamed = renamed_anywhere(run, pair)
  if renamed then return "its snapshots are on the source, of " .. renamed end
end

local function destroy(run, pair)
  local why = obstacle(run, pair, run.options.destroy_missing)
  if why then return log.info("Keeping missing %s: %s", pair.target_name, why) end
  log.info("Destroying missing %s", pair.target_name)
  remove.dataset(run, pair.target_name)
end

--- Lets their own snapshots age out, and destroys those that --destroy-missing asks for; children before their parents.
-- @param run the run; @param thin_pair function(run, side, pair) that thins one of them
function missing.age_out(run, thin_pair)
  local names = #run.missing > 0 and names_by_guid(run)
  for i = #run.missing, 1, -1 do
    local pair = run.missing[i]
    local renamed = renamed_to(names, pair)
    if renamed then
      log.info("Keeping %s: it is the only backup of %s", pair.target_name, renamed)
    elseif run.target.datasets[pair.target_name] then
      log.info("Missing on the source: %s", pair.target_name)
      local ok = failure.guard(run, pair, thin_pair, run, run.target, pair)
      if ok and run.options.destroy_missing then failure.guard(run, pair, destroy, run, pair) end
    end
  end
end

--- The missing dataset that one of the source was before it was renamed: it has a snapshot of it.
-- @param run the run; @param pair a pair without a target; @return one of `run.missing`, or nil
function missing.renamed_from(run, pair)
  for _, gone in ipairs(run.missing) do
    local there = run.target.datasets[gone.target_name]
    if there and common.newest { source = pair.source, target = there } then return gone end
  end
end

return missing
