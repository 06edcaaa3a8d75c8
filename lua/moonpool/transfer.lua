--- Brings datasets up to date on the target: resume, hold and bookmark, stream.
--
-- The order is what makes a kill at any moment harmless: what is to be sent is held and bookmarked on the source before the first
-- byte flows, and older holds stay until moonpool.settle has seen the new snapshot on the target.

local aside = require "moonpool.aside"
local bookmark = require "moonpool.bookmark"
local chain = require "moonpool.chain"
local context = require "moonpool.context"
local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local explain = require "moonpool.explain"
local failure = require "moonpool.failure"
local log = require "moonpool.log"
local mend = require "moonpool.mend"
local plan = require "moonpool.plan"
local policy = require "moonpool.policy"
local progress = require "moonpool.progress"
local quota = require "moonpool.quota"
local resume = require "moonpool.resume"
local sched = require "moonpool.sched"
local settle = require "moonpool.settle"
local stream = require "moonpool.stream"
local zfs = require "moonpool.zfs"

local transfer = {}

-- Transfers that ended are settled together, but none waits longer than this.
local SETTLE_AFTER_SECONDS = 30

-- Between one attempt and the next, doubled each time.
local FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 2, 60

-- Makes the datasets above a target that are missing, so that a received one has its place; never mounted. One of which only a part was received is no place
-- yet: it could not be given up any more with a dataset below it.
local function make_parents(run, pair)
  local parent = zfs.parent(pair.target_name)
  local there = run.target.datasets[parent]
  if there and not (there.token and not there:newest()) then return end
  for _, other in ipairs(run.pairs) do
    if other.target_name == parent then
      errors.fail("parent", "its parent %s was not received, so there is no place for it", other.name)
    end
  end
  if there then return end
  run.target.host:run(zfs.create_argv { dataset = parent, parents = true, set = { canmount = "off" } })
  dataset.note_created(run.target, parent)
end

-- Of the first and the last snapshot that are about to be sent, those that this run does not hold yet. Not the last one only: where a stream of several is
-- cut off, each of them may be what the target has to go on from, or what its resume token is for, and others thin the source meanwhile. They leave alone
-- what is between two holds (moonpool.underway).
local function to_hold(run, pair, planned)
  local due = {}
  if run.options.no_holds then return due end
  local first, last = planned.steps[1].snapshots[1], planned.steps[#planned.steps].to
  for _, s in ipairs { first, first ~= last and last or nil } do
    if not (pair.held and pair.held[s.name]) then due[#due + 1] = s end
  end
  return due
end

local function add_full_names(pair, due, full)
  for _, s in ipairs(due) do full[#full + 1] = pair.name .. "@" .. s.name end
  return full
end

-- `before`: the full names of those that an interrupted run held already.
local function note_held(pair, due, before)
  pair.held = pair.held or {}
  for _, s in ipairs(due) do
    pair.held[s.name] = true
    if not before[pair.name .. "@" .. s.name] then pair.source:set_userrefs(s.name, s.userrefs + 1) end
  end
end

local function hold(run, pair, planned)
  local due = to_hold(run, pair, planned)
  if #due == 0 then return end
  note_held(pair, due, run.source.host:hold(run.source_tag, add_full_names(pair, due, {})))
end

local function note_received(run, pair, list)
  pair.snapshots = pair.snapshots or {}
  pair.target = pair.target or dataset.note_created(run.target, pair.target_name)
  for _, s in ipairs(list) do
    pair.target:add("@", { name = s.name, guid = s.guid, creation = s.creation, createtxg = pair.target:next_txg(), time = s.time, own = s.own })
    table.insert(pair.snapshots, s.name)
  end
end

local function label_of(step)
  if not step.from then return ("Transferring %s full backup %s"):format(step.to.dataset, step.to.name) end
  return ("Transferring %s incremental backup between snapshots %s...%s"):format(step.to.dataset, step.from.name, step.to.name)
end

-- The newest snapshot of the target, for what was changed there since.
local function roll_back(run, pair)
  local newest = pair.target and pair.target:newest()
  if newest then run.target.host:run { "zfs", "rollback", pair.target_name .. "@" .. newest.name } end
end

local function send_step(run, pair, step, options, force)
  local send = { to = pair.name .. "@" .. step.to.name, incremental_all = step.all }
  if step.from then send.from = step.from.dataset .. step.from.kind .. step.from.name end
  for key, value in pairs(options) do send[key] = value end
  local ok, err = failure.try(stream.run, run, pair, zfs.send_argv(send), label_of(step), force)
  if ok then return end
  if not run.options.ignore_transfer_errors or resume.can_go_on(err) then errors.raise(err) end
  -- Whether it arrived in spite of the complaint is seen when the GUID is looked for.
  log.warn("%s: %s", pair.name, tostring(err))
end

local function send_steps(run, pair, planned, options)
  if run.options.rollback then roll_back(run, pair) end
  for i, step in ipairs(planned.steps) do
    send_step(run, pair, step, options, planned.force and i == 1)
    note_received(run, pair, step.snapshots)
  end
end

-- What to do for one dataset, or nil if there is nothing to send.
local function planned_for(run, pair)
  local planned = plan.transfer(run, pair)
  explain.transfer(run, pair, planned)
  if planned.skip then
    log.info("Ignoring: %s (%s)", pair.name, planned.skip)
    pair.skip = planned.skip
  end
  return #planned.steps > 0 and planned or nil
end

-- Sends what is planned of a dataset.
local function send_planned(run, pair, planned, options)
  if planned.base then chain.check(run, pair, options.raw) end
  policy.call(run.policy, "before_dataset", pair.source, context.of(run, "source", pair))
  mend.before(run, pair, planned)
  make_parents(run, pair)
  local last = planned.steps[#planned.steps].to
  hold(run, pair, planned)
  bookmark.make(run, pair, last)
  local first = planned.steps[1]
  pair.base = pair.base or first.from and first.from.kind .. first.from.name
  send_steps(run, pair, planned, options)
  pair.sent = last
end

local function bring_up_to_date(run, pair)
  local options = stream.options(run, pair)
  if pair.target and pair.target.token then resume.pair(run, pair, options.raw) end
  if not pair.target then aside.check_above(run, pair) end
  if not pair.target and #run.missing > 0 then
    make_parents(run, pair)
    mend.renamed(run, pair)
  end
  local planned = planned_for(run, pair)
  if planned then send_planned(run, pair, planned, options) end
  aside.finish(run, pair)
end

-- The same, again and again as long as it is the network that cuts it off.
local function bring_up_to_date_at_last(run, pair)
  local wait = FIRST_WAIT_SECONDS
  for attempt = 0, run.options.retries do
    local ok, err = failure.try(bring_up_to_date, run, pair)
    if ok then return end
    if attempt == run.options.retries or not resume.can_go_on(err) then
      aside.give_up(run, pair)
      errors.raise(err)
    end
    log.warn("%s: %s: trying again in %d s", pair.name, tostring(err), wait)
    sched.sleep(wait)
    wait = math.min(wait * 2, LONGEST_WAIT_SECONDS)
    resume.look_again(run, pair)
  end
end

-- What will be sent of all datasets: array of { pair, snapshot = the last one, due = what is to be held }. Those that must first be resumed wait for their
-- turn: a second array, of pairs.
local function to_be_sent(run)
  local list, resumed = {}, {}
  for _, pair in ipairs(run.pairs) do
    local ok, planned = failure.try(plan.transfer, run, pair)
    local step = ok and planned.steps[#planned.steps]
    if pair.target and pair.target.token then
      resumed[#resumed + 1] = pair
    elseif step then
      list[#list + 1] = { pair = pair, snapshot = step.to, due = to_hold(run, pair, planned) }
    end
  end
  return list, resumed
end

-- One command holds them all. Where it fails, each dataset tries again by itself and tells why.
local function hold_all(run, list)
  local full = {}
  for _, item in ipairs(list) do add_full_names(item.pair, item.due, full) end
  if #full == 0 then return end
  local ok, before = failure.try(run.source.host.hold, run.source.host, run.source_tag, full)
  if not ok then return end
  for _, item in ipairs(list) do note_held(item.pair, item.due, before) end
end

-- The pair that is received above another one, if there is one.
local function pair_above(by_target, pair)
  local name = zfs.parent(pair.target_name)
  while name do
    if by_target[name] then return by_target[name] end
    name = zfs.parent(name)
  end
end

-- Pairs in an order in which each comes after the one above it and the one that it is a clone of. Where that goes round in a circle (after a
-- promotion), the origin is what can wait.
local function in_order(list)
  local by_name, by_target, ordered, seen = {}, {}, {}, {}
  for _, pair in ipairs(list) do
    by_name[pair.name], by_target[pair.target_name] = pair, pair
    pair.finished, pair.after = sched.event(), {}
  end
  local function visit(pair)
    if not pair or seen[pair] then return pair and seen[pair] == "done" end
    seen[pair] = "under way"
    local origin = pair.source.origin and by_name[zfs.split_snapshot(pair.source.origin)]
    for _, other in ipairs { pair_above(by_target, pair) or false, origin or false } do
      if other and visit(other) then table.insert(pair.after, other) end
    end
    seen[pair] = "done"
    ordered[#ordered + 1] = pair
    return true
  end
  for _, pair in ipairs(list) do visit(pair) end
  return ordered
end

-- The pairs in the order that the policy wants. One that is no order of these datasets is a failure, and theirs stays.
local function as_ordered(run)
  local datasets, by_dataset, list = {}, {}, {}
  for i, pair in ipairs(run.pairs) do datasets[i], by_dataset[pair.source] = pair.source, pair end
  local given = policy.call(run.policy, "order", table.move(datasets, 1, #datasets, 1, {}), run.ctx)
  if not given then return run.pairs end
  local where = policy.described(run.policy, "order")
  for i, ds in ipairs(given) do
    list[i] = by_dataset[ds]
    if not list[i] then errors.fail("policy", "%s: entry %d is not one of the datasets, or there twice", where, i) end
    by_dataset[ds] = nil
  end
  if #list < #run.pairs then errors.fail("policy", "%s returned %d of %d datasets", where, #list, #run.pairs) end
  return list
end

local function wanted_order(run)
  local ok, list = failure.try(as_ordered, run)
  if ok then return in_order(list) end
  failure.note(run, "order", list)
  return in_order(run.pairs)
end

-- What is above a target must not stop what it receives.
local function make_room(run, due, resumed)
  local list = table.move(resumed, 1, #resumed, 1, {})
  for _, item in ipairs(due) do list[#list + 1] = item.pair end
  local ok, err = failure.try(quota.lift_above, run, list)
  if not ok then failure.note(run, "quota", err) end
end

--- Transfers every pair of a run, several at the same time if they were asked for, parents before their children. A failing dataset is noted, and the
-- rest goes on.
-- @param run the run
-- @raise cancelled; or a host that can't be asked any more
function transfer.all(run)
  aside.recover(run)
  local due, resumed = to_be_sent(run)
  make_room(run, due, resumed)
  hold_all(run, due)
  bookmark.make_all(run, due)
  local _ <close> = progress.is_wanted(run.options) and progress.start(run) or nil
  local waiting, since = {}, run.clock()
  local function settle_waiting()
    local list = waiting
    waiting, since = {}, run.clock()
    settle.pairs(run, list)
  end
  sched.each(wanted_order(run), run.options.jobs, function(pair)
    for _, other in ipairs(pair.after) do other.finished:wait() end
    failure.guard(run, pair, bring_up_to_date_at_last, run, pair)
    pair.finished:set()
    if run.progress then run.progress.done = run.progress.done + 1 end
    failure.guard(run, pair, policy.call, run.policy, "after_dataset", pair.source, context.of(run, "source", pair), pair.error)
    waiting[#waiting + 1] = pair
    if run.clock() - since > SETTLE_AFTER_SECONDS then settle_waiting() end
  end)
  quota.restore_all(run)
  settle_waiting()
end

return transfer
