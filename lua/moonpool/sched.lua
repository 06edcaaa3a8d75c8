--- Tasks: coroutines over the jobs of the core. `await` is the only seam.
--
-- Inside a task `await` lets other tasks go on; outside one (main chunk, REPL) it blocks, and drives whatever tasks there are. Cancelling is an
-- error with the code "cancelled", raised once from what the task waits in; after that it can still wait, to clean up. An
-- interrupt (SIGINT, SIGTERM) cancels the task that `run` was called with.

local core = require "moonpool.core"
local errors = require "moonpool.error"

local sched = {}

local Task = {}
Task.__index = Task

local queue         -- of the core, made when the first job is waited for
local by_job = {}   -- job -> the task that waits for it
local sleepers = {} -- tasks that wait for a time
local ready = {}    -- tasks to be resumed, in order
local tasks = {}    -- coroutine -> task

local function current() return tasks[coroutine.running()] end

local function cancelled(what) return errors.new { code = "cancelled", message = what or "cancelled" } end

--- The queue that jobs must report to if tasks are to wait for them. @return queue of the core
function sched.queue()
  queue = queue or assert(core.queue())
  return queue
end

local function make_ready(task)
  if not task.is_ready and not task.done then
    task.is_ready = true
    ready[#ready + 1] = task
  end
end

-- Raises what a cancel left for the task.
local function raise_if_due(task)
  if task and task.cancel_due then
    task.cancel_due = nil
    errors.raise(cancelled())
  end
end

-- ---- events ---------------------------------------------------------------------------------------------

local Event = {}
Event.__index = Event

--- Something that happens once. @return event with `set()` and `wait()`
function sched.event() return setmetatable({ waiters = {} }, Event) end

--- Says that it has happened.
function Event:set()
  self.is_set = true
  for _, task in ipairs(self.waiters) do make_ready(task) end
end

--- Waits, in a task, until it has happened. @raise cancelled
function Event:wait()
  local me = current()
  while not self.is_set do
    raise_if_due(me)
    table.insert(self.waiters, me)
    me.awaiting = true
    coroutine.yield()
    me.awaiting = nil
  end
end

-- ---- one turn -------------------------------------------------------------------------------------------

local function finish(task, ok, ...)
  task.done, task.ok = true, ok
  task.results = table.pack(...)
  tasks[task.thread] = nil
  task.ended:set()
end

local function resume(task)
  task.is_ready = false
  local results = table.pack(coroutine.resume(task.thread))
  if coroutine.status(task.thread) == "dead" then finish(task, table.unpack(results, 2, results.n)) end
end

local function wake_sleepers()
  local now = core.monotonic()
  local nearest
  for task, at in pairs(sleepers) do
    if at <= now then
      sleepers[task] = nil
      make_ready(task)
    else
      nearest = math.min(nearest or at, at)
    end
  end
  return nearest and nearest - now
end

local seen_interrupts = core.interrupted()
local root -- the task that an interrupt cancels

-- True once for every interrupt.
local function interrupted()
  local count = core.interrupted()
  local is_new = count ~= seen_interrupts
  seen_interrupts = count
  return is_new
end

-- Resumes what can go on; if nothing can, waits for a job or a time.
local function turn()
  local until_next = wake_sleepers()
  if #ready == 0 then
    local job = sched.queue():take(until_next)
    if job then
      local task = by_job[job]
      by_job[job] = nil
      if task then make_ready(task) end
    end
    if root and interrupted() then root:cancel() end
  end
  local list = ready
  ready = {}
  for _, task in ipairs(list) do resume(task) end
end

-- ---- waiting --------------------------------------------------------------------------------------------

local function await_outside(job)
  while not job:done() do
    turn()
    if interrupted() then
      job:cancel()
      while not job:done() do turn() end
      errors.raise(cancelled "interrupted")
    end
  end
  by_job[job] = nil
  return job:result()
end

--- Waits for a job of the core that reports to `sched.queue()`.
-- @param job the job; @return its result, a table (docs/api.md)
-- @raise cancelled: the task was cancelled; the job has been cancelled too, and has ended
function sched.await(job)
  local task = current()
  if not task then return await_outside(job) end
  task.job = job
  if task.cancel_due then job:cancel() end
  by_job[job] = task
  while not job:done() do coroutine.yield() end
  by_job[job], task.job = nil, nil
  raise_if_due(task)
  return job:result()
end

--- Waits. @param seconds how long; @raise cancelled
function sched.sleep(seconds)
  local task = current()
  local at = core.monotonic() + seconds
  if task then
    raise_if_due(task)
    sleepers[task] = at
    while sleepers[task] do coroutine.yield() end
    raise_if_due(task)
    return
  end
  local held <close> = sched.spawn(sched.sleep, seconds)
  held:await()
end

-- ---- tasks ----------------------------------------------------------------------------------------------

--- Starts a task. At the end of a scope (`local t <close> = sched.spawn(…)`) it is cancelled and waited for.
-- @param fn, ... what it does
-- @return task
-- @example local t <close> = sched.spawn(function() return host:run { "zfs", "list" } end)
function sched.spawn(fn, ...)
  local args = table.pack(...)
  local task = setmetatable({ ended = sched.event() }, Task)
  -- An error unwinds inside the coroutine, where what is closed on the way can still wait.
  task.thread = coroutine.create(function() return pcall(fn, table.unpack(args, 1, args.n)) end)
  tasks[task.thread] = task
  make_ready(task)
  return task
end

--- Asks a task to end: what it waits in raises "cancelled". One that has ended stays as it is.
function Task:cancel()
  if self.done or self.cancel_due then return end
  self.cancel_due = true
  if self.job then
    self.job:cancel()
  elseif sleepers[self] or self.awaiting then
    sleepers[self] = nil
    make_ready(self)
  end
end

-- Waits for the end without looking at what came of it. A cancel of the waiting task is kept for later.
local function join(task)
  local me = current()
  while not task.done do
    if me then
      table.insert(task.ended.waiters, me)
      coroutine.yield()
    else
      turn()
    end
  end
end

-- Waits for the end of a task; raises only if the waiting one is cancelled.
local function wait_for(task)
  local me = current()
  if me then
    task.ended:wait()
    raise_if_due(me)
    return
  end
  while not task.done do
    turn()
    if interrupted() then
      task:cancel()
      join(task)
      errors.raise(cancelled "interrupted")
    end
  end
end

--- Waits for a task. @return what its function returned; @raise what it raised; cancelled: the waiting task was cancelled
function Task:await()
  wait_for(self)
  if not self.ok then error(self.results[1], 0) end
  return table.unpack(self.results, 1, self.results.n)
end

--- Cancels the task and waits until it has ended.
function Task:close()
  self:cancel()
  join(self)
end

Task.__close = Task.close

-- ---- groups ---------------------------------------------------------------------------------------------

local Group = {}
Group.__index = Group

--- A group of tasks that end together: at the end of its scope all are cancelled and waited for.
-- @return group with `spawn(fn, …)` and `wait()`
-- @example local g <close> = sched.group(); g:spawn(work, 1); g:spawn(work, 2); g:wait()
function sched.group() return setmetatable({ tasks = {} }, Group) end

--- Starts a task of the group. @param fn, ... what it does; @return task
function Group:spawn(fn, ...)
  local task = sched.spawn(fn, ...)
  table.insert(self.tasks, task)
  return task
end

--- Waits for all tasks of the group. @raise the first error, once all have ended; cancelled: the waiting task was cancelled
function Group:wait()
  for _, task in ipairs(self.tasks) do wait_for(task) end
  for _, task in ipairs(self.tasks) do task:await() end
end

--- Cancels all tasks of the group and waits until they have ended.
function Group:close()
  for _, task in ipairs(self.tasks) do task:cancel() end
  for _, task in ipairs(self.tasks) do join(task) end
end

Group.__close = Group.close

--- Calls a function for every item of a list, several at the same time. All are called, also after one has failed.
-- @param list array; @param limit how many at the same time; @param fn function(item, index)
-- @raise the first error, once all have ended; cancelled: all have been cancelled
-- @example sched.each(datasets, 4, function(ds) transfer(ds) end)
function sched.each(list, limit, fn)
  local group <close> = sched.group()
  local next_index, first = 1, nil
  local function worker()
    while next_index <= #list do
      local index = next_index
      next_index = index + 1
      local ok, err = pcall(fn, list[index], index)
      if not ok and errors.is(err, "cancelled") then error(err, 0) end
      if not ok then first = first or err end
    end
  end
  for _ = 1, math.min(limit, #list) do group:spawn(worker) end
  group:wait()
  if first then error(first, 0) end
end

-- Raises where somebody yields in a task itself, not in a coroutine of his own: nothing would resume it.
local function yield(...)
  if current() then
    local info = debug.getinfo(2, "Sl")
    errors.fail("policy", "%s:%d: coroutine.yield: nothing would go on with it; what waits for a program or a time lets others go on by itself",
      info and info.short_src or "?", info and info.currentline or 0)
  end
  return coroutine.yield(...)
end

--- Lua's `coroutine` for scripts and policies, whose code runs in tasks.
sched.coroutine = setmetatable({ yield = yield }, { __index = coroutine })

--- Forgets interrupts so far: one that ended a line at a prompt is not meant for what is run next.
function sched.forget_interrupts() seen_interrupts = core.interrupted() end

--- Runs a function as the main task, until it has ended. An interrupt cancels it.
-- @param main, ... what to run; @return what it returned; @raise what it raised
function sched.run(main, ...)
  local task <close> = sched.spawn(main, ...)
  local outer = root
  root = task
  while not task.done do turn() end
  root = outer
  return task:await()
end

return sched
