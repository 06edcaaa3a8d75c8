--- Rules of retention by days of the calendar: ends of months and quarters, business days. A rule is a function (snapshots, ctx) -> { [snapshot] = reason }.
--
-- Days are those of the zone of the names: UTC if `ctx.utc`, else this machine's. Of a day that is wanted the newest snapshot stays.

local names = require "moonpool.names"

local calendar = {}

local function date_of(time, utc) return os.date(utc and "!*t" or "*t", math.floor(time)) end

-- 0 is Monday; 1970-01-01 was a Thursday.
local function weekday(day) return (day + 3) % 7 end

local function day_of(date) return names.day_number(date.year, date.month, date.day) end

-- The day number of the last day of a month.
local function month_end(date)
  local year, month = date.year, date.month + 1
  if month == 13 then year, month = year + 1, 1 end
  return names.day_number(year, month, 1) - 1
end

-- The last day of a month that is not a Saturday or Sunday.
local function last_business_day(date)
  local day = month_end(date)
  return day - math.max(0, weekday(day) - 4)
end

-- Keeps the newest snapshot of each day that `is_wanted(date)` accepts, up to `years` back (nil: for ever).
local function days_that(is_wanted, reason, years)
  return function(snapshots, ctx)
    local kept, seen = {}, {}
    local now = date_of(ctx.now, ctx.utc)
    for i = #snapshots, 1, -1 do
      local s = snapshots[i]
      local date = date_of(s.time, ctx.utc)
      local day = day_of(date)
      if not seen[day] and is_wanted(date) and (not years or now.year - date.year <= years) then kept[s] = reason end
      seen[day] = true
    end
    return kept
  end
end

--- Keeps the first day of every month. @param years for how many calendar years back, nil: for ever; @return a rule
-- @example calendar.month_begins(1)(snapshots, ctx)
function calendar.month_begins(years) return days_that(function(date) return date.day == 1 end, "the first day of a month", years) end

--- Keeps the last day of every month. @param years as above; @return a rule
-- @example calendar.month_ends(2)(snapshots, ctx)
function calendar.month_ends(years) return days_that(function(date) return day_of(date) == month_end(date) end, "the last day of a month", years) end

--- Keeps the last Monday to Friday of every month. @param years as above; @return a rule
-- @example calendar.last_business_days(2)(snapshots, ctx)
function calendar.last_business_days(years)
  return days_that(function(date) return day_of(date) == last_business_day(date) end, "the last business day of a month", years)
end

--- Keeps the last day of every quarter. @param years as above; @return a rule
-- @example calendar.quarter_ends(10)(snapshots, ctx)
function calendar.quarter_ends(years)
  return days_that(function(date) return date.month % 3 == 0 and day_of(date) == month_end(date) end, "the end of a quarter", years)
end

--- Keeps the last day of every year. @param years as above; @return a rule
-- @example calendar.year_ends()(snapshots, ctx)
function calendar.year_ends(years) return days_that(function(date) return date.month == 12 and date.day == 31 end, "the end of a year", years) end

local WEEKDAYS = { monday = 0, tuesday = 1, wednesday = 2, thursday = 3, friday = 4, saturday = 5, sunday = 6 }

--- Keeps one day of the week. @param name "monday" … "sunday"; @param years as above; @return a rule
-- @example calendar.weekdays("sunday", 1)(snapshots, ctx)
function calendar.weekdays(name, years)
  local wanted = assert(WEEKDAYS[name], "calendar.weekdays: no such day as " .. tostring(name))
  return days_that(function(date) return weekday(day_of(date)) == wanted end, "a " .. name, years)
end

return calendar
