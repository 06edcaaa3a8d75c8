--- After transfers: the target must show what was sent, and only then holds and bookmarks move on to it.
--
-- Everything is done for many datasets with one command. What a killed run left behind (a hold too many, a hold that is missing) is put
-- right here by the next one, because the listing tells what is held.

local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local failure = require "moonpool.failure"
local holds = require "moonpool.hold"
local plan = require "moonpool.plan"
local sched = require "moonpool.sched"

local settle = {}

-- Believes no transfer until the target shows the source's GUID.
local function verify(run, list)
  if run.target.host.dry then return end
  local full = {}
  for _, pair in ipairs(list) do
    if pair.sent then full[#full + 1] = pair.target_name .. "@" .. pair.sent.name end
  end
  local seen = #full > 0 and dataset.look(run.target.host, full)
  for _, pair in ipairs(list) do
    local found = pair.sent and seen[pair.target_name .. "@" .. pair.sent.name]
    if pair.sent and (not found or found.guid ~= pair.sent.guid) then
      local what = found and "has another GUID than on the source" or "did not arrive"
      pair.error = errors.new { code = "verify", host = run.target.host.name, message = ("%s@%s %s"):format(pair.target_name, pair.sent.name, what) }
      failure.note(run, pair.name, pair.error)
    end
  end
end

local function dataset_of(pair, side) return side.label == "source" and pair.source or pair.target end

local function full_name(s) return s.dataset .. "@" .. s.name end

local function hold_new(side, tag, dues)
  local names = {}
  for _, due in ipairs(dues) do
    local s = due.hold[side.label]
    if s then names[#names + 1] = full_name(s) end
  end
  if #names == 0 then return end
  side.host:hold(tag, names)
  for _, due in ipairs(dues) do
    local s = due.hold[side.label]
    if s then dataset_of(due.pair, side):set_userrefs(s.name, 1) end
  end
end

local function release(side, tag, list, held)
  side.host:release(tag, list)
  for _, name in ipairs(list) do
    local h = held[name]
    h.snapshot.userrefs = h.snapshot.userrefs - 1
    h.dataset:set_userrefs(h.snapshot.name, h.snapshot.userrefs)
  end
end

-- Others' holds are none of our business.
local function release_old(side, tags, dues)
  local names, held = {}, {}
  for _, due in ipairs(dues) do
    for _, s in ipairs(due.old[side.label]) do
      names[#names + 1] = full_name(s)
      held[full_name(s)] = { dataset = dataset_of(due.pair, side), snapshot = s }
    end
  end
  if #names == 0 then return end
  for tag, list in pairs(holds.by_tag(side.host, names)) do
    if tags[tag] then release(side, tag, list, held) end
  end
end

-- How many bookmarks of this machine are destroyed at the same time; far away it is as many as there are transfers, whose connections are there.
local HERE_AT_ONCE = 4

-- zfs destroys one bookmark a command, and each command waits for a transaction group of its pool; several wait for the same one.
local function drop_bookmarks(run, dues)
  local host, list = run.source.host, {}
  for _, due in ipairs(dues) do
    for _, b in ipairs(due.bookmarks) do list[#list + 1] = { source = due.pair.source, name = b.name } end
  end
  sched.each(list, host.name == "local" and HERE_AT_ONCE or run.options.jobs, function(b)
    host:run { "zfs", "destroy", b.source.name .. "#" .. b.name }
    b.source:remove("#", b.name)
  end)
end

-- Nothing old is given up before what is new is held on both sides; then each side has its own work.
local function move_on(run, dues)
  hold_new(run.source, run.source_tag, dues)
  hold_new(run.target, run.target_tag, dues)
  local target <close> = sched.spawn(release_old, run.target, { [run.target_tag] = true }, dues)
  -- The plain tag on the source is that of zfs_autobackup, from before moonpool took over.
  release_old(run.source, { [run.source_tag] = true, [run.target_tag] = true }, dues)
  drop_bookmarks(run, dues)
  target:await()
end

-- What is due for a pair, or nil. One of which nothing was sent, as its target can't go on, has a common snapshot all the same, which is its way back:
-- that one is held, and nothing is let go.
local function due_for(run, pair)
  if pair.error and pair.snapshots then return nil end
  local due = plan.settle(run, pair)
  if due and (pair.error or pair.skip) then due.old, due.bookmarks = { source = {}, target = {} }, {} end
  return due
end

--- Looks whether what was sent has arrived, and moves holds and bookmarks to the new common snapshots.
-- @param run the run; @param list pairs whose transfer has ended, well or not
-- @raise a host that can't be asked; what fails otherwise is noted
function settle.pairs(run, list)
  verify(run, list)
  local dues = {}
  for _, pair in ipairs(list) do
    local due = due_for(run, pair)
    if due then
      due.pair = pair
      dues[#dues + 1] = due
    end
  end
  local ok, err = failure.try(move_on, run, dues)
  if not ok then failure.note(run, "holds", err) end
end

return settle
