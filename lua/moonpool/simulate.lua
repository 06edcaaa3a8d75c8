--- Thousands of pretended runs of a policy: what would be kept after two years of hourly backups.
--
-- The policy's own hooks and the plan's own rules decide (snapshot, snapshot_name, keep, what is protected), over datasets that are tables; nothing is
-- listed or sent.
-- Datasets with the same history are decided on together, as long as a policy does not look at what is particular to one: then each for itself. That this is
-- what whole runs on the simulated ZFS do is shown by tests/lua/simulate_spec.lua.

local context = require "moonpool.context"
local errors = require "moonpool.error"
local plan = require "moonpool.plan"
local policy = require "moonpool.policy"

local simulate = {}

local Dataset = {}
Dataset.__index = Dataset

Dataset.snapshots = function(self) return self.list end
Dataset.own_snapshots = function(self) return table.move(self.list, 1, #self.list, 1, {}) end
Dataset.newest = function(self) return self.list[#self.list] end
Dataset.bookmarks = function() return {} end
Dataset.forget = function() end

local function new_dataset(name) return setmetatable({ name = name, type = "filesystem", list = {} }, Dataset) end

local function target_of(state, name) return state.target and state.target .. name end

-- A history: datasets (by name) that have had the same snapshots all the time.
local function new_history(state, names)
  local target_name = target_of(state, names[1])
  return { names = names, name = names[1], target_name = target_name, source = new_dataset(names[1]), target = target_name and new_dataset(target_name) }
end

-- What a hook may look at of one dataset. Sizes, free space and properties are not known here.
local PARTICULAR = {
  dataset = function(label, pair) return label == "source" and pair.name or pair.target_name end,
  properties = function() return {} end,
  destinations = function(label, pair)
    local other = label == "source" and "target" or "source"
    if not pair[other] then return {} end
    local newest = pair[label].list[#pair[label].list]
    return { { host = other, dataset = pair[other].name, exists = true, snapshots = pair[other].list, common = newest } }
  end,
}

-- The run that the plan's functions see. Looking at what is particular to one dataset is noted.
local function new_run(state, p, options, names)
  local run = { policy = p, options = options, names = names, failures = {}, pairs = {}, excluded = function() return false end }
  run.particular = function(key, label, pair)
    if key == "snapshots" then return table.move(pair[label].list, 1, #pair[label].list, 1, {}) end
    if key == "type" then return "filesystem" end
    state.looked = true
    return PARTICULAR[key] and PARTICULAR[key](label, pair) or nil
  end
  for _, label in ipairs(state.sides) do
    run[label] = { label = label, host = { name = label, dry = true }, datasets = {}, properties = {}, pools = {}, origins = {} }
  end
  run.ctx = { utc = names.utc, names = names, options = options }
  return run
end

-- Moves the hold on the newest common snapshot to the one that was just sent.
local function settle(history)
  if not history.target then return end
  for _, ds in ipairs { history.source, history.target } do
    for i = #ds.list - 1, 1, -1 do
      if ds.list[i].userrefs == 0 then break end
      ds.list[i].userrefs = 0
    end
    if #ds.list > 0 then ds.list[#ds.list].userrefs = 1 end
  end
end

local function snapshot(state, history, name)
  local time = state.run.names:time(name)
  state.txg = state.txg + 1
  for _, side in ipairs(state.sides) do
    local ds = history[side]
    ds.list[#ds.list + 1] = setmetatable({
      of = ds, kind = "@", name = name, guid = state.txg, createtxg = state.txg, creation = state.run.now, time = time, own = true, userrefs = 0,
    }, state.entry)
  end
  settle(history)
  state.taken = state.taken + #history.names
end

-- Takes snapshots out of a dataset's list. Both are in the order of age.
local function remove(state, side, ds, destroyed)
  local at = 1
  for _, s in ipairs(destroyed) do
    state.gone[side][#state.gone[side] + 1] = { time = s.time, gone = state.run.now, dataset = ds.name }
    while ds.list[at].name ~= s.name do at = at + 1 end
    table.remove(ds.list, at)
  end
end

local function same(one, other)
  if type(one) ~= "table" then return one == other end
  if #one ~= #other then return false end
  for i, s in ipairs(one) do
    if other[i] ~= s then return false end
  end
  return true
end

-- A history of its own for one of the datasets of another one.
local function split(state, history, name)
  local own = new_history(state, { name })
  for _, side in ipairs(state.sides) do
    for i, s in ipairs(history[side].list) do
      local copy = {}
      for k, v in pairs(s) do copy[k] = v end
      copy.of = own[side]
      own[side].list[i] = setmetatable(copy, state.entry)
    end
  end
  for i, other in ipairs(history.names) do
    if other == name then table.remove(history.names, i) end
  end
  state.histories[#state.histories + 1] = own
  return own
end

-- Asks about a history; if the policy looked at the dataset, about each of its datasets, and those of which the answer is another one go their own way.
-- @param ask function(pair) that returns true, false or an array of snapshots; @param act function(history, answer)
local function decide(state, history, ask, act)
  state.looked = false
  local answer = ask(history)
  for i = state.looked and #history.names or 1, 2, -1 do
    local name = history.names[i]
    local own = ask(setmetatable({ name = name, target_name = target_of(state, name) }, { __index = history }))
    if not same(own, answer) then act(split(state, history, name), own) end
  end
  act(history, answer)
end

local function is_due(state, pair)
  return policy.call(state.run.policy, "snapshot", pair.source, context.of(state.run, "source", pair)) ~= false
end

local function note_failure(state, history, err)
  local text = tostring(errors.wrap(err))
  if not state.failures[text] then
    state.failures[text] = { count = 0, dataset = history.name }
    state.failure_list[#state.failure_list + 1] = text
  end
  state.failures[text].count = state.failures[text].count + 1
  state.failed = true
end

-- `decide` for all histories that there are.
local function for_all(state, ask, act)
  for _, history in ipairs(table.move(state.histories, 1, #state.histories, 1, {})) do
    local ok, err = pcall(decide, state, history, ask, act)
    if not ok then note_failure(state, history, err) end
  end
end

-- One pretended run.
local function step(state, now)
  local run = state.run
  run.now, run.ctx.now = now, now
  local name = policy.call(run.policy, "snapshot_name", run.ctx)
  if not run.names:time(name) then errors.fail("policy", "hook 'snapshot_name' returned '%s', which is no name of this backup", tostring(name)) end
  for_all(state, function(pair) return is_due(state, pair) end, function(history, due)
    if due then snapshot(state, history, name) end
  end)
  for _, side in ipairs(state.sides) do
    for_all(state, function(pair) return plan.thin(run, side, pair).destroy end, function(history, destroyed)
      remove(state, side, history[side], destroyed)
    end)
  end
end

-- A dataset goes, and another one comes.
local function churn(state, number)
  local oldest = state.histories[1]
  table.remove(oldest.names, 1)
  if #oldest.names == 0 then table.remove(state.histories, 1) end
  if oldest.names[1] then oldest.name, oldest.target_name = oldest.names[1], target_of(state, oldest.names[1]) end
  state.histories[#state.histories + 1] = new_history(state, { ("tank/new%d"):format(number) })
end

--- A policy's values with names that a simulation need not be told: of the backup, and of a target if the policy has one.
-- @param p a policy; @return values for `with`
function simulate.bound(p)
  local bound = { backup_name = "backup", target_path = "target" }
  for key, value in pairs(p.values) do bound[key] = value end
  local ok = pcall(function()
    local with_target = p:with(bound)
    with_target:check_options(with_target.options)
  end)
  if not ok and not p.values.target_path then bound.target_path = nil end
  return bound
end

--- Runs a policy again and again.
-- @param p a policy that extends `autobackup`; @param options its options, checked
-- @param span { start = seconds since the epoch of the first run, every = seconds, count = runs, datasets = how many, churn = seconds after which a dataset
--   goes and another one comes, or nil, progress = function(done, count) or nil, give_up = runs in a row with a failure after which it ends (10) }
-- @return { histories = array of { names, source, target (nil without a target path) }, gone = { source, target = arrays of
--   { time, gone, dataset } }, failures = array of { text, count, dataset }, runs (fewer than asked for if it gave up), taken, now }
-- @raise policy: a hook that is asked about the whole run failed
function simulate.run(p, options, span)
  local names = policy.ask(p, "names", options)
  local state = {
    histories = {}, gone = { source = {}, target = {} }, failures = {}, failure_list = {}, taken = 0, txg = 0,
    target = options.target_path and options.target_path .. "/",
    sides = { "source", options.target_path and "target" or nil },
  }
  state.run = new_run(state, p, options, names)
  -- A snapshot knows its dataset; who asks for that looks at something particular, too.
  state.entry = { __index = function(s, key)
    if key ~= "dataset" then return nil end
    state.looked = true
    return s.of.name
  end }
  local all = {}
  for i = 1, span.datasets do all[i] = ("tank/data%d"):format(i) end
  state.histories[1] = new_history(state, all)
  local churned, failed, runs = 0, 0, 0
  while runs < span.count and failed < (span.give_up or 10) do
    local now = span.start + runs * span.every
    if span.churn and now - span.start >= (churned + 1) * span.churn then
      churned = churned + 1
      churn(state, churned)
    end
    state.failed = false
    step(state, now)
    failed = state.failed and failed + 1 or 0
    runs = runs + 1
    if span.progress then span.progress(runs, span.count) end
  end
  local failures = {}
  for i, text in ipairs(state.failure_list) do failures[i] = { text = text, count = state.failures[text].count, dataset = state.failures[text].dataset } end
  return { histories = state.histories, gone = state.gone, failures = failures, runs = runs, taken = state.taken, now = state.run.now }
end

return simulate
