--- Windows of time, and a rate by the time of day. A window is text such as "22:00-06:00" or "mon-fri 08:00-18:00"; several are separated by commas.

local errors = require "moonpool.error"
local zfs = require "moonpool.zfs"

local windows = {}

local DAYS = { mon = 0, tue = 1, wed = 2, thu = 3, fri = 4, sat = 5, sun = 6 }

local function refuse(text, element, why) errors.fail("usage", "windows: '%s' in '%s' %s", element, text, why) end

local function minutes(text, element, hour, minute)
  hour, minute = tonumber(hour), tonumber(minute)
  if hour > 24 or minute > 59 or (hour == 24 and minute > 0) then refuse(text, element, "is no time of day") end
  return hour * 60 + minute
end

-- The days of "mon-fri", "sat" or "" as a set.
local function days_of(text, element, words)
  local first, last = words:match "^(%a+)%-(%a+)$"
  if not first then first, last = words, words end
  if words == "" then first, last = "mon", "sun" end
  local from, to = DAYS[first:lower()], DAYS[last:lower()]
  if not from or not to then refuse(text, element, "names no day: mon tue wed thu fri sat sun") end
  local set = {}
  local day = from
  repeat
    set[day] = true
    local done = day == to
    day = (day + 1) % 7
  until done
  return set
end

local function parse_element(text, element)
  local words, h1, m1, h2, m2 = element:match "^%s*([%a%-]*)%s*(%d%d?):(%d%d)%-(%d%d?):(%d%d)%s*$"
  if not words then refuse(text, element, "is not of the form mon-fri 08:00-18:00") end
  return { days = days_of(text, element, words), from = minutes(text, element, h1, m1), to = minutes(text, element, h2, m2) }
end

local function contains(window, date)
  local minute, day = date.hour * 60 + date.min, (date.wday + 5) % 7
  if window.from <= window.to then return window.days[day] and minute >= window.from and minute < window.to end
  -- Over midnight: the day is the one that it begins on.
  if minute >= window.from then return window.days[day] end
  return minute < window.to and window.days[(day + 6) % 7]
end

--- A test of times. @param text windows; the time of day is this machine's
-- @return function(now in seconds since the epoch) that returns a boolean
-- @raise usage: names the element that is wrong
-- @example windows.parse "mon-fri 22:00-06:00, sat 00:00-24:00"(ctx.now)
function windows.parse(text)
  local list = {}
  for element in text:gmatch "[^,]+" do list[#list + 1] = parse_element(text, element) end
  if #list == 0 then refuse(text, text, "has no window in it") end
  return function(now)
    local date = os.date("*t", math.floor(now))
    for _, window in ipairs(list) do
      if contains(window, date) then return true end
    end
    return false
  end
end

--- The hook `before` of a policy that runs only in these windows: at other times the run ends with one line, and changes nothing.
-- @param text as for `parse`; @return function for the hook
-- @example policy:extend { before = windows.only "22:00-06:00" }
function windows.only(text)
  local is_open = windows.parse(text)
  return function(_, run)
    if not is_open(run.now) then errors.fail("window", "outside of the time that this policy runs in: %s", text) end
  end
end

--- The hook `before` of a policy whose transfers are slower at some times. The rate is looked up when a stream
-- begins, and is that of all streams of the run until the next one begins.
-- @param rates array of { window, rate } such as { "mon-fri 08:00-18:00", "5M" }; the first that fits counts, none: --rate, or no limit
-- @return function for the hook
-- @example policy:extend { before = windows.rates { { "mon-fri 08:00-18:00", "5M" } } }
function windows.rates(rates)
  local list = {}
  for i, pair in ipairs(rates) do list[i] = { windows.parse(pair[1]), zfs.parse_size(pair[2]) } end
  return function(_, run)
    run.rate = function(now)
      for _, pair in ipairs(list) do
        if pair[1](now) then return pair[2] end
      end
    end
  end
end

return windows
