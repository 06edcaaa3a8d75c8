--- Snapshot names: from a time to a name by a format, and strictly back. Pure; zones are those of the C library.
--
-- A format is text with `{}` for the backup name and strftime's %Y %y %m %d %H %M %S %j %s %%. Other letters
-- would not survive the way back (names of months depend on the language), so they are refused.

local core = require "moonpool.core"
local errors = require "moonpool.error"

local names = {}

-- Names whose times are remembered: some megabytes.
local MAX_KNOWN = 50000

-- How many digits each letter stands for, and which field of a date it is.
local LETTERS = {
  Y = { width = 4, field = "year" },
  y = { width = 2, field = "short_year" },
  m = { width = 2, field = "month" },
  d = { width = 2, field = "day" },
  H = { width = 2, field = "hour" },
  M = { width = 2, field = "min" },
  S = { width = 2, field = "sec" },
  j = { width = 3, field = "yday" },
  s = { field = "epoch" },
}

--- Days from 1970-01-01 to a date of the Gregorian calendar.
-- (Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.)
-- @param year, month, day integers; month 1 to 12
-- @return integer, negative before 1970
-- @example names.day_number(1970, 1, 2) --> 1
function names.day_number(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local year_of_era = year - era * 400
  local day_of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  local day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
  return era * 146097 + day_of_era - 719468
end

local function days_in_month(year, month)
  local next_year, next_month = year, month + 1
  if next_month == 13 then next_year, next_month = year + 1, 1 end
  return names.day_number(next_year, next_month, 1) - names.day_number(year, month, 1)
end

-- The time of a broken-down date, or nil if there is no such date.
local function time_of(date, utc)
  if date.epoch then return date.epoch end
  if date.short_year then date.year = 2000 + date.short_year end
  if date.yday and not date.month then date.month, date.day = 1, date.yday end
  local year, month, day = date.year, date.month or 1, date.day or 1
  local hour, min, sec = date.hour or 0, date.min or 0, date.sec or 0
  if not year or month < 1 or month > 12 or hour > 23 or min > 59 or sec > 60 then return nil end
  if day < 1 or day > (date.yday and 366 or days_in_month(year, month)) then return nil end
  if utc then
    return names.day_number(year, month, 1) * 86400 + (day - 1) * 86400 + hour * 3600 + min * 60 + sec
  end
  return os.time { year = year, month = month, day = day, hour = hour, min = min, sec = sec }
end

-- Cuts a format into a Lua pattern and the list of fields that its captures are.
local function compile(format, backup_name)
  local pattern, fields, rest = {}, {}, format
  local function literal(text) pattern[#pattern + 1] = text:gsub("%W", "%%%0") end
  while rest ~= "" do
    local letter = rest:match "^%%(.)"
    local spec = letter and LETTERS[letter]
    if rest:sub(1, 2) == "{}" then
      literal(backup_name)
      rest = rest:sub(3)
    elseif letter == "%" then
      errors.fail("usage", "snapshot format '%s': a snapshot name can't contain '%%'", format)
    elseif letter then
      if not spec then
        local fault = ("snapshot format '%s': %%%s can't be read back from a name; use %%Y %%m %%d %%H %%M %%S"):format(format, letter)
        errors.raise { code = "usage", message = fault }
      end
      pattern[#pattern + 1] = "(" .. (spec.width and ("%d"):rep(spec.width) or "%d+") .. ")"
      fields[#fields + 1] = spec.field
      rest = rest:sub(3)
    else
      literal(rest:sub(1, 1))
      rest = rest:sub(2)
    end
  end
  if #fields == 0 then
    errors.fail("usage", "snapshot format '%s' has no time in it", format)
  end
  return table.concat(pattern), fields
end

local methods = {}
methods.__index = methods

--- Names that something else gave: those that match, as old as their snapshots.
-- @param pattern extended regular expression for the part after the `@`; @param utc true: periods are those of UTC
-- @return an object with `time(name, creation)` and `utc`, in place of one from `names.new`; it makes no names
-- @raise usage: no such expression
-- @example names.matching("^auto-"):time("auto-1", 7) --> 7
function names.matching(pattern, utc)
  local re, message = core.regex(pattern)
  if not re then errors.fail("usage", "--pattern: '%s': %s", pattern, message) end
  return { utc = utc and true or false, time = function(_, name, creation) return re:match(name) and creation or nil end }
end

--- A format with the backup's name in it. @param format text; @param backup_name what stands for `{}`; @return text
-- @example names.fill("autobackup:{}", "nas") --> "autobackup:nas"
function names.fill(format, backup_name) return (format:gsub("{}", (backup_name:gsub("%%", "%%%%")))) end

--- The names of one backup.
-- @param format text, for example "{}-%Y%m%d%H%M%S"
-- @param backup_name what stands for `{}`
-- @param utc true: times in names are UTC, else local time of this machine
-- @return an object with `name(now)`, `time(name)` and the field `utc`
-- @raise usage: a format that can't be read back
-- @example names.new("{}-%Y%m%d%H%M%S", "nas", true):name(0) --> "nas-19700101000000"
function names.new(format, backup_name, utc)
  local pattern, fields = compile(format, backup_name)
  return setmetatable({
    format = names.fill(format, backup_name),
    pattern = "^" .. pattern .. "(.*)$",
    old_pattern = "^" .. backup_name:gsub("%W", "%%%0") .. "%-(%d+)$",
    fields = fields,
    utc = utc and true or false,
    known = {}, -- what names told, false if nothing: one snapshot's name recurs in all datasets
    n_known = 0,
  }, methods)
end

--- The name for a time. @param now seconds since the epoch; @param tag text behind `_`, or nil; @return the part after the `@`
function methods:name(now, tag)
  now = math.floor(now)
  -- os.date does not know %s; a %% is in no format.
  local format = self.format:gsub("%%s", tostring(now))
  return os.date((self.utc and "!" or "") .. format, now) .. (tag and "_" .. tag or "")
end

local function told_by_format(self, name)
  local captures = { name:match(self.pattern) }
  local tail = captures[#self.fields + 1]
  if not tail or (tail ~= "" and not tail:match "^_[%w_.:-]+$") then return nil end
  local date = {}
  for i, field in ipairs(self.fields) do date[field] = math.tointeger(tonumber(captures[i])) end
  return time_of(date, self.utc)
end

-- The format counts before the old form: a date may have as many digits as an epoch. But no backup is older than the epoch.
local function time_told(self, name)
  local time, old = told_by_format(self, name), name:match(self.old_pattern)
  if old and #old >= 9 and #old <= 10 and (not time or time < 0) then return math.tointeger(tonumber(old)) end
  return time
end

--- The time that a name tells, or nil if it is not one of this backup: read strictly and completely, a `_TAG` behind
-- it allowed; or the old form `NAME-<epoch>`.
-- @param name the part after the `@`; @return seconds since the epoch, or nil
function methods:time(name)
  local time = self.known[name]
  if time == nil then
    if self.n_known == MAX_KNOWN then self.known, self.n_known = {}, 0 end
    time = time_told(self, name) or false
    self.known[name], self.n_known = time, self.n_known + 1
  end
  return time or nil
end

return names
