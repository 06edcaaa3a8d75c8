--- Rules that say which snapshots stay. A rule is a function (snapshots, ctx) -> { [snapshot] = reason }.
--
-- The rules that are made here may be given a third argument, a table of what is kept already: they add to it and return it,
-- so that a union of many rules over many snapshots makes one table.
--
-- `snapshots` are those of one dataset, oldest first, each with `time` (seconds since the epoch). `ctx.now` is the
-- time of the run, `ctx.utc` true if days and months are those of UTC. What a rule does not name may be destroyed, if nothing
-- else protects it: the newest common snapshot, held ones and others are kept whatever a rule says.

local errors = require "moonpool.error"
local names = require "moonpool.names"

local retention = {}

-- A unit's name, and its length in seconds or the field of the calendar that it counts.
local UNITS = {
  s = { name = "second", seconds = 1 },
  min = { name = "minute", seconds = 60 },
  h = { name = "hour", seconds = 3600 },
  d = { name = "day", field = "day", factor = 1 },
  w = { name = "week", field = "day", factor = 7 },
  m = { name = "month", field = "month", factor = 1 },
  y = { name = "year", field = "year", factor = 1 },
}

local function date_of(time, utc) return os.date(utc and "!*t" or "*t", math.floor(time)) end

-- The number of the period of the calendar in which a time lies; counts on without a gap.
local function counted_period(time, count, unit, utc)
  if unit.seconds then return time // (unit.seconds * count) end
  local date = date_of(time, utc)
  if unit.name == "month" then return (date.year * 12 + date.month - 1) // count end
  if unit.name == "year" then return date.year // count end
  local day = names.day_number(date.year, date.month, date.day)
  -- 1970-01-01 was a Thursday; weeks begin on Monday.
  if unit.name == "week" then return (day + 3) // 7 // count end
  return day // count
end

-- The same for one kind of period, remembered by time: the calendar is asked about the same snapshots again and again, by both sides and by every rule.
local MAX_REMEMBERED = 200000
local remembered, remembered_count = {}, 0

local function periods(count, unit, utc)
  local key = unit.name .. count .. (utc and "u" or "l")
  if remembered_count > MAX_REMEMBERED then remembered, remembered_count = {}, 0 end
  remembered[key] = remembered[key] or setmetatable({}, { __index = function(known, time)
    local number = counted_period(time, count, unit, utc)
    known[time], remembered_count = number, remembered_count + 1
    return number
  end })
  return remembered[key]
end

-- The oldest time that still is within `count` units before now. Days, months and years are the calendar's: the same
-- time of day so many days earlier, also when the clocks were changed in between.
local function limit_of(now, count, unit, utc)
  if unit.seconds then return now - count * unit.seconds end
  local date = date_of(now, utc)
  local day, month, year = date.day, date.month, date.year
  if unit.field == "day" then day = day - count * unit.factor end
  if unit.field == "month" then month = month - count end
  if unit.field == "year" then year = year - count end
  if unit.field ~= "day" then
    -- A month before 31 March is the last day of February, not 3 March.
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    local first = names.day_number(year, month, 1)
    local following = month == 12 and names.day_number(year + 1, 1, 1) or names.day_number(year, month + 1, 1)
    day = math.min(day, following - first)
  end
  if utc then
    return (names.day_number(year, month, 1) + day - 1) * 86400 + date.hour * 3600 + date.min * 60 + date.sec
  end
  return os.time { year = year, month = month, day = day, hour = date.hour, min = date.min, sec = date.sec }
end

--- The number of the period of the calendar in which a time lies; counts on without a gap.
-- @param time seconds since the epoch; @param unit one of s min h d w m y; @param utc true: of UTC, else of this machine's zone
-- @return integer
-- @example retention.period(86400 * 3, "d", true) - retention.period(0, "d", true) --> 3
function retention.period(time, unit, utc) return counted_period(time, 1, UNITS[unit], utc) end

-- The limit for a run's clock; both sides and all datasets of a run ask for the same.
local function limits_of(count, unit)
  local now, utc, limit
  return function(ctx)
    if ctx.now ~= now or ctx.utc ~= utc then now, utc, limit = ctx.now, ctx.utc, limit_of(ctx.now, count, unit, ctx.utc) end
    return limit
  end
end

local function plural(count, word) return count == 1 and "1 " .. word or ("%d %ss"):format(count, word) end

--- Keeps the newest ones.
-- @param count how many
-- @return a rule
-- @example retention.last(10)(snapshots, ctx)
function retention.last(count)
  local reason = "last " .. count
  return function(snapshots, _, kept)
    kept = kept or {}
    for i = math.max(1, #snapshots - count + 1), #snapshots do
      local s = snapshots[i]
      kept[s] = kept[s] or reason
    end
    return kept
  end
end

--- Keeps everything of the last days; an age of exactly that many days still counts.
-- @param count days
-- @return a rule
-- @example retention.days(30)(snapshots, ctx)
function retention.days(count)
  local reason, limits = "within " .. plural(count, "day"), limits_of(count, UNITS.d)
  return function(snapshots, ctx, kept)
    local limit = limits(ctx)
    kept = kept or {}
    for _, s in ipairs(snapshots) do
      if s.time >= limit then kept[s] = kept[s] or reason end
    end
    return kept
  end
end

--- Keeps the oldest one of each period of the calendar, for a time.
-- @param count, unit the length of a period: unit is one of s min h d w m y
-- @param for_count, for_unit for how long
-- @return a rule
-- @example retention.every(1, "d", 1, "w")(snapshots, ctx)
function retention.every(count, unit, for_count, for_unit)
  local period, span = UNITS[unit], UNITS[for_unit]
  local reason = ("one per %s for %s"):format(count == 1 and period.name or plural(count, period.name), plural(for_count, span.name))
  local limits = limits_of(for_count, span)
  return function(snapshots, ctx, kept)
    local limit, numbers, seen, previous = limits(ctx), periods(count, period, ctx.utc), {}, nil
    kept = kept or {}
    for _, s in ipairs(snapshots) do
      local time = s.time
      if time >= limit then
        local number = numbers[time]
        if number ~= previous and not seen[number] then
          seen[number] = true
          kept[s] = kept[s] or reason
        end
        previous = number
      end
    end
    return kept
  end
end

--- Keeps what any of the rules keeps. The first one's reason is told; all of them, where a person asks (`ctx.all_reasons`).
-- @param ... rules
-- @return a rule
-- @example retention.union(retention.last(3), retention.days(7))
function retention.union(...)
  local rules = { ... }
  return function(snapshots, ctx, kept)
    kept = kept or {}
    for _, rule in ipairs(rules) do
      local found = rule(snapshots, ctx, not ctx.all_reasons and kept or nil)
      for s, reason in pairs(found ~= kept and found or {}) do
        if kept[s] == nil then
          kept[s] = reason
        elseif ctx.all_reasons then
          kept[s] = tostring(kept[s]) .. ", " .. tostring(reason)
        end
      end
    end
    return kept
  end
end

--- Keeps what all of the rules keep; all reasons are told.
-- @param ... rules
-- @return a rule
-- @example retention.intersection(retention.last(5), retention.days(7))
function retention.intersection(...)
  local rules = { ... }
  return function(snapshots, ctx)
    local kept = rules[1](snapshots, ctx)
    for i = 2, #rules do
      local other, both = rules[i](snapshots, ctx), {}
      for s, reason in pairs(kept) do
        if other[s] then both[s] = tostring(reason) .. " and " .. tostring(other[s]) end
      end
      kept = both
    end
    return kept
  end
end

--- Keeps what the first rule keeps and the second does not.
-- @param rule, without rules
-- @return a rule
-- @example retention.difference(retention.days(30), retention.matching "^tmp")
function retention.difference(rule, without)
  return function(snapshots, ctx)
    local kept = rule(snapshots, ctx)
    for s in pairs(without(snapshots, ctx)) do kept[s] = nil end
    return kept
  end
end

--- Keeps what a rule does not keep.
-- @param rule a rule; @param reason why, for people
-- @return a rule
-- @example retention.others(retention.last(3), "older than the last 3")
function retention.others(rule, reason)
  return function(snapshots, ctx)
    local kept, left = {}, rule(snapshots, ctx)
    for _, s in ipairs(snapshots) do
      if not left[s] then kept[s] = reason end
    end
    return kept
  end
end

--- Keeps everything. @param reason why, for people; @return a rule
-- @example retention.all "the archive keeps everything"
function retention.all(reason) return retention.where(function() return true end, reason) end

--- Keeps nothing by itself: what protects snapshots (holds, the newest common one) is not a rule's matter. @return a rule
-- @example retention.union(retention.none(), retention.last(3))
function retention.none() return retention.where(function() return false end, "") end

--- Keeps the snapshots that a test accepts.
-- @param test function(snapshot, ctx) that returns a boolean; @param reason why, for people
-- @return a rule
-- @example retention.where(function(s) return s.used and s.used < 1e6 end, "costs nearly nothing")
function retention.where(test, reason)
  return function(snapshots, ctx)
    local kept = {}
    for _, s in ipairs(snapshots) do
      if test(s, ctx) then kept[s] = reason end
    end
    return kept
  end
end

--- Keeps snapshots whose name matches a Lua pattern. @param pattern of the part after the `@`; @return a rule
-- @example retention.matching "_weekly$"
function retention.matching(pattern)
  return retention.where(function(s) return s.name:find(pattern) ~= nil end, ("named like '%s'"):format(pattern))
end

--- Keeps what somebody holds; the executor does so anyway, this gives it as a reason. @return a rule
-- @example retention.held()
function retention.held() return retention.where(function(s) return s.userrefs > 0 end, "held") end

--- Keeps everything while a property of the dataset has a value; has no opinion otherwise.
-- @param name of the property; @param value that it must have
-- @return a rule
-- @example retention.union(retention.while_property("org:keep", "all"), retention.days(30))
function retention.while_property(name, value)
  local reason = ("%s is %s"):format(name, value)
  return retention.where(function(_, ctx) return ctx.properties[name] == value end, reason)
end

--- Lets the oldest go until so much of the pool is free, and keeps the rest. Counts what each snapshot alone uses, which is the least that its end
-- gives back. Keeps everything where the pool or the sizes are not known.
-- @param bytes that should be free
-- @return a rule
-- @example retention.union(retention.last(7), retention.until_free(50 * 2^30))
function retention.until_free(bytes)
  return function(snapshots, ctx)
    local kept, free = {}, ctx.pool and ctx.pool.free or math.huge
    for _, s in ipairs(snapshots) do
      if free < bytes and s.used then
        free = free + s.used
      else
        kept[s] = "enough of the pool is free"
      end
    end
    return kept
  end
end

local function refuse(text, element, why)
  local place = element == text and "" or (" in '%s'"):format(text)
  errors.fail("usage", "retention: '%s'%s %s", element, place, why)
end

-- The calendar of the C library counts so far, in days and in years.
local MOST = 2000000000

-- A count of units, or of snapshots.
local function number(text, element, digits, unit)
  local count = tonumber(digits)
  if count * (unit and unit.factor or 1) > MOST then refuse(text, element, ("has a number that is too large: %s"):format(digits)) end
  return math.tointeger(count)
end

local function element_rule(text, element)
  local count = element:match "^%d+$" or element:match "^last(%d+)$"
  if count then return retention.last(number(text, element, count)) end
  local n, unit, m, for_unit = element:match "^(%d+)(%a+)(%d+)(%a+)$"
  if not n then refuse(text, element, "is not a number or of the form 1d1w (one per day for a week)") end
  for _, u in ipairs { unit, for_unit } do
    if not UNITS[u] then refuse(text, element, ("has the unit '%s'; units are s min h d w m(onth) y(ear)"):format(u)) end
  end
  if tonumber(n) == 0 then refuse(text, element, "has a period of 0") end
  return retention.every(number(text, element, n, UNITS[unit]), unit, number(text, element, m, UNITS[for_unit]), for_unit)
end

local function parse(text)
  local days = text:match "^%d+$"
  if days then return retention.days(number(text, text, days, UNITS.d)) end
  local rules = {}
  for element in (text .. ","):gmatch "([^,]*)," do
    rules[#rules + 1] = element_rule(text, element)
  end
  return retention.union(table.unpack(rules))
end

-- Rules remember limits, so that one text is one rule.
local parsed = {}

--- The rule of a text: `30` (days), or a list such as `10,1d1w,1w1m,1m1y`, in which a bare number keeps the last so many.
-- @param text from an option
-- @return a rule
-- @raise usage: names the element that is wrong
-- @example local keep = retention.parse "24,1d2w,1w2m,1m2y"; keep(snapshots, ctx)
function retention.parse(text)
  text = tostring(text)
  parsed[text] = parsed[text] or parse(text)
  return parsed[text]
end

--- Whether an option is such a text.
-- @param options of a policy; @param name the option's, as a key: "keep_source"
-- @raise usage: names the option and the element that is wrong
-- @example retention.check({ keep_source = "10,1d1w" }, "keep_source")
function retention.check(options, name)
  local ok, err = pcall(retention.parse, options[name])
  if ok then return end
  errors.fail("usage", "%s", (errors.wrap(err).message:gsub("^retention", "--" .. name:gsub("_", "-"))))
end

return retention
