--- What a run looks at before it changes anything: which datasets are selected, and what both sides have of them.

local common = require "moonpool.common"
local context = require "moonpool.context"
local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local explain = require "moonpool.explain"
local failure = require "moonpool.failure"
local log = require "moonpool.log"
local missing = require "moonpool.missing"
local names = require "moonpool.names"
local plan = require "moonpool.plan"
local policy = require "moonpool.policy"
local sched = require "moonpool.sched"
local zfs = require "moonpool.zfs"

local observe = {}

--- Goes on without some of a run's pairs, which are its `left_out` then.
-- @param run the run; @param reason_of function(pair) that returns why one is left out, or nil or false
function observe.leave_out(run, reason_of)
  local rest = {}
  for _, pair in ipairs(run.pairs) do
    local reason = reason_of(pair)
    if reason then
      log.info("Ignoring: %s (%s)", pair.name, reason)
      table.insert(run.left_out, pair)
    else
      rest[#rest + 1] = pair
    end
  end
  run.pairs = rest
end

-- Asks a hook about one dataset; if it raises, that is this dataset's failure. A usage error is everybody's.
local function ask_policy(run, name, hook, ds)
  local results = table.pack(failure.try(policy.call, run.policy, hook, ds, context.of(run, "source", { name = name })))
  if not results[1] then
    if errors.is(results[2], "usage") then errors.raise(results[2]) end
    failure.note(run, name, results[2])
    return false
  end
  return table.unpack(results, 1, results.n)
end

-- What the policy says of a dataset: verdict, reason and fault. Whatever it says, a backup is never backed up into itself.
local function verdict_on(run, ds)
  local ok, verdict, reason, fault = ask_policy(run, ds.name, "select", ds)
  local path = run.same_machine and run.options.target_path
  if verdict and path and (ds.name == path or zfs.is_below(ds.name, path)) then verdict, reason = false, "the target itself" end
  return ok, verdict, reason, fault
end

-- Whether the value of the property is one that counts, so that a bad one is a failure: not one that is inherited, which is told where it was set.
local function counts(run, ds) return ds.source == "local" or ds.source == "received" and not ds.from and run.options.include_received end

-- Asks the policy about every dataset with the property, and says why each is in or out.
local function selected(run)
  local property = names.fill(run.options.property_format, run.options.backup_name)
  log.info("Getting selected source filesystems for backup %s on %s", run.options.backup_name, run.source.host.name)
  local list, seen, candidates = {}, false, dataset.candidates(run.source, property)
  run.source_names = {}
  for i, ds in ipairs(candidates) do run.source_names[i] = ds.name end
  for _, ds in ipairs(candidates) do
    local ok, verdict, reason, fault = verdict_on(run, ds)
    seen = seen or not ok or verdict ~= nil or fault ~= nil
    if fault and counts(run, ds) then
      failure.note(run, ds.name, errors.new { code = "property", message = ("property %s %s"):format(property, fault) })
    elseif verdict ~= nil then
      log.info("%s: %s (%s)", verdict and "Selected" or "Ignoring", ds.name, reason or "policy")
      explain.selection(run, ds.name, verdict, reason or "policy")
    end
    if verdict then list[#list + 1] = ds.name end
  end
  if #list == 0 then
    local message, hint = policy.ask(run.policy, "nothing", run.options, run.source.host.name, seen)
    if message then errors.raise { code = "nothing", message = message, hint = hint } end
  end
  return list
end

-- The target path's GUID tells one target's holds and bookmarks from another's, also when two disks bear the same pool name in turn.
local function identify_target(run)
  local root = run.target.datasets[run.options.target_path]
  run.id = root and root.guid and ("%x"):format(root.guid) or "new"
  run.source_tag = run.target_tag .. ":" .. run.id
end

-- What is asked of the target while the source tells what is selected.
local function look_at_target(run)
  local exists = dataset.load_tree(run.target, run.options.target_path)
  dataset.pools(run.target)
  return exists
end

local function prepare_target(run, exists)
  local path = run.options.target_path
  if not exists then
    log.info("Creating target path %s", path)
    run.target.host:run(zfs.create_argv { dataset = path, parents = true, set = { canmount = "off" } })
    if run.target.host.dry then
      dataset.note_created(run.target, path)
    else
      dataset.load_tree(run.target, path)
    end
  end
  identify_target(run)
end

local function observe_source(run)
  local list = {}
  for i, pair in ipairs(run.pairs) do list[i] = pair.name end
  dataset.load_all(run.source, list)
  if run.target then dataset.pools(run.source) end
  for _, pair in ipairs(run.pairs) do pair.source = run.source.datasets[pair.name] end
  observe.leave_out(run, function(pair) return not pair.source and "destroyed meanwhile" end)
end

local function observe_target(run)
  local existing = {}
  for _, pair in ipairs(run.pairs) do
    if run.target.datasets[pair.target_name] then existing[#existing + 1] = pair.target_name end
  end
  dataset.load_snapshots(run.target, existing)
end

-- The lists of both sides, at the same time.
local function observe_both(run)
  log.info("Getting source snapshot-list from %s", run.source.host.name)
  if not run.target then return observe_source(run) end
  log.info("Getting target snapshot-list from %s", run.target.host.name)
  local target <close> = sched.spawn(observe_target, run)
  observe_source(run)
  target:await()
  for _, pair in ipairs(run.pairs) do pair.target = run.target.datasets[pair.target_name] end
  run.missing = missing.find(run)
end

-- The newest own snapshot of a dataset, if the target does not have it yet.
local function still_to_send(run, pair)
  local own = run.target and pair.source:newest_own()
  return own and not (pair.target and common.by_guid(pair.target:snapshots())[own.guid]) and own or nil
end

-- Whether a run has begun to send a snapshot to this target.
local function was_begun(run, pair, s) return s.userrefs > 0 or pair.source:has("#", plan.bookmark_name(run, s.name)) end

-- Leaves out what has too little written since its newest snapshot of any name; but not what an earlier run could not send.
local function exclude_unchanged(run)
  local bytes = run.options.exclude_unchanged
  observe.leave_out(run, function(pair)
    return pair.source.written < bytes and pair.source:newest() and not still_to_send(run, pair) and "unchanged"
  end)
end

-- Leaves out what nobody but a replication writes. One brings own snapshots along that another machine made and sends: only with what was begun here does
-- a run go on.
local function ignore_replicated(run)
  observe.leave_out(run, function(pair)
    if pair.source.written > 0 or not pair.source:newest() then return nil end
    local s = still_to_send(run, pair)
    return not (s and was_begun(run, pair, s)) and "already replicated"
  end)
end

-- The selected datasets with their names on the target; one of which the policy fails to tell it stays where it is.
local function named(run, list)
  local chosen = {}
  for _, name in ipairs(list) do
    local ok, target_name = true, nil
    if run.target then ok, target_name = ask_policy(run, name, "target_name", { name = name }) end
    if ok then chosen[#chosen + 1] = { name = name, target_name = target_name } end
  end
  return chosen
end

--- Looks at both sides; sets the run's `pairs`, with what the source and the target have of each.
-- @param run the run; @return false if the policy excludes everything
-- @raise nothing: no dataset has the property; usage: a name that the target can't have; a host that can't be asked
function observe.run(run)
  local target <close> = run.target and sched.spawn(look_at_target, run) or nil
  local list = selected(run)
  if #list == 0 then return false end
  -- What the target can't have is refused before anything is changed there.
  run.pairs = plan.pairs(run, named(run, list))
  if run.target then prepare_target(run, target:await()) end
  observe_both(run)
  if run.options.ignore_replicated then ignore_replicated(run) end
  if run.options.exclude_unchanged then exclude_unchanged(run) end
  return true
end

return observe
