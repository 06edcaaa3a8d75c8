--- Progress on a terminal: one line per running transfer, and one for all; gone when done.

local core = require "moonpool.core"
local log = require "moonpool.log"
local sched = require "moonpool.sched"
local zfs = require "moonpool.zfs"

local progress = {}

local REDRAW_SECONDS = 0.5
-- The rate is that of about the last so many seconds, so that it neither jumps nor lags.
local RATE_SECONDS = 5
local STDERR = 2

local Progress = {}
Progress.__index = Progress

-- ---- text -----------------------------------------------------------------------------------------------

-- A name cut in its middle to fit.
local function shortened(name, width)
  if #name <= width then return name .. (" "):rep(width - #name) end
  local left = (width - 1) // 2
  return name:sub(1, left) .. "~" .. name:sub(#name - (width - left - 2))
end

--- One line about a transfer.
-- @param t { name =, bytes =, rate = bytes per second, estimate = bytes or nil }; @param width columns of the terminal
-- @return text, no wider than that
-- @example progress.line({ name = "tank/a", bytes = 5e8, rate = 1e8, estimate = 1e9 }, 80)
function progress.line(t, width)
  local parts = { ("%7s"):format(zfs.format_bytes(t.bytes)), ("%9s"):format(zfs.format_bytes(t.rate) .. "/s") }
  if t.estimate and t.estimate > 0 then
    parts[#parts + 1] = ("%3d%%"):format(math.min(100, t.bytes * 100 // t.estimate))
    local left = math.max(0, t.estimate - t.bytes)
    parts[#parts + 1] = t.rate > 0 and zfs.format_seconds(left / t.rate) .. " left" or ""
  end
  local tail = table.concat(parts, " ")
  return (shortened(t.name, math.max(8, width - #tail - 2)) .. " " .. tail):sub(1, width)
end

-- ---- drawing --------------------------------------------------------------------------------------------

local function update_rate(t, now)
  local bytes = t.job:bytes()
  local passed = now - t.seen_at
  if passed > 0 then
    local rate, weight = (bytes - t.bytes) / passed, math.min(1, passed / RATE_SECONDS)
    t.rate = t.rate and t.rate + (rate - t.rate) * weight or rate
  end
  t.bytes, t.seen_at = bytes, now
end

local function clear(self)
  if self.drawn > 0 then io.stderr:write(("\27[%dA\27[J"):format(self.drawn)) end
  self.drawn = 0
end

local function draw(self)
  local width, now = core.columns() or 80, core.monotonic()
  clear(self)
  local bytes, rate, count = self.run.bytes, 0, 0
  for _, t in ipairs(self.transfers) do
    update_rate(t, now)
    bytes, rate, count = bytes + t.bytes, rate + (t.rate or 0), count + 1
    io.stderr:write(progress.line({ name = t.name, bytes = t.bytes, rate = t.rate or 0, estimate = t.estimate }, width), "\n")
  end
  if count == 0 then return end
  io.stderr:write(progress.line({ name = ("%d of %d done"):format(self.done, #self.run.pairs), bytes = bytes, rate = rate }, width), "\n")
  self.drawn = count + 1
end

-- ---- use ------------------------------------------------------------------------------------------------

--- Whether progress is to be shown. @param options of the run; @return boolean
function progress.is_wanted(options)
  if options.no_progress or options.test then return false end
  return options.progress or core.isatty(STDERR)
end

--- Begins to show progress, until the end of the scope.
-- @param run the run; its `progress` is set; @return closable
function progress.start(run)
  local self = setmetatable({ run = run, transfers = {}, drawn = 0, done = 0 }, Progress)
  run.progress = self
  log.before_line = function() clear(self) end
  self.task = sched.spawn(function()
    while true do
      sched.sleep(REDRAW_SECONDS)
      draw(self)
    end
  end)
  return self
end

--- A transfer that has begun. @param name what it is called; @param estimate bytes, or nil; @return function for `on_start` of a pipe, and one to end it
function Progress:transfer(name, estimate)
  local entry = { name = name, estimate = estimate, bytes = 0, seen_at = core.monotonic() }
  local function begin(job)
    entry.job = job
    table.insert(self.transfers, entry)
  end
  local function finish()
    for i, t in ipairs(self.transfers) do
      if t == entry then table.remove(self.transfers, i) end
    end
  end
  return begin, finish
end

--- Ends it, and wipes the lines away.
function Progress:close()
  self.task:close()
  clear(self)
  log.before_line = nil
  self.run.progress = nil
end

Progress.__close = Progress.close

return progress
