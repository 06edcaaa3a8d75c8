-- Which snapshots stay, and why.
local errors = require "moonpool.error"
local retention = require "policies.retention"

local DAY = 86400
local NOW = 1795392000 -- 2026-11-23 00:00:00 UTC, a Monday

-- Snapshots of these ages in seconds, oldest first.
local function aged(ages)
  table.sort(ages, function(a, b) return a > b end)
  local list = {}
  for i, age in ipairs(ages) do list[i] = { name = "s" .. i, time = NOW - age } end
  return list
end

local function kept_ages(text, list, now)
  local kept = retention.parse(text)(list, { now = now or NOW, utc = true })
  local ages = {}
  for _, s in ipairs(list) do
    if kept[s] then ages[#ages + 1] = (now or NOW) - s.time end
  end
  return ages, kept
end

describe("retention", function()
  it("keeps a bare number of days, an age equal to the limit too", function()
    assert.same({ 30 * DAY, 29 * DAY, 0 }, (kept_ages("30", aged { 0, 29 * DAY, 30 * DAY, 30 * DAY + 1, 400 * DAY })))
  end)

  it("keeps the last ones", function()
    assert.same({ DAY, 0 }, (kept_ages("last2", aged { 0, DAY, 2 * DAY })))
  end)

  it("takes a number inside a list as the last so many", function()
    assert.same({ 8 * DAY, 2 * DAY, DAY, 0 }, (kept_ages("2,1d1w,1w2w", aged { 0, DAY, 2 * DAY, 2 * DAY - 5, 8 * DAY, 20 * DAY })))
  end)

  it("keeps the oldest of each day for a week", function()
    local ages = {}
    for hour = 1, 24 * 10 do ages[hour] = hour * 3600 end
    assert.same({ 7 * DAY, 6 * DAY, 5 * DAY, 4 * DAY, 3 * DAY, 2 * DAY, DAY }, (kept_ages("1d1w", aged(ages))))
  end)

  it("begins weeks on Monday", function()
    assert.same({ 7 * DAY, 0 }, (kept_ages("1w1m", aged { 0, DAY, 7 * DAY, 6 * DAY })))
  end)

  it("counts months of the calendar, also to the end of February", function()
    local now = 1774915200 -- 2026-03-31 00:00:00 UTC: a month before it is 28 February
    local list = { { time = now - 32 * DAY }, { time = now - 31 * DAY }, { time = now } }
    local kept = retention.parse "1d1m"(list, { now = now, utc = true })
    assert.is_nil(kept[list[1]])
    assert.is_truthy(kept[list[2]])
    assert.is_truthy(kept[list[3]])
  end)

  it("gives the reason for each", function()
    local list = aged { 0, DAY }
    local _, kept = kept_ages("1,1d1w", list)
    assert.equal("last 1", kept[list[2]])
    assert.equal("one per day for 1 week", kept[list[1]])
  end)

  it("joins rules", function()
    local list = aged { 0, DAY, 2 * DAY, 3 * DAY }
    local kept = retention.union(retention.last(1), retention.days(2))(list, { now = NOW, utc = true })
    assert.is_nil(kept[list[1]])
    assert.equal("within 2 days", kept[list[2]])
    assert.equal("last 1", kept[list[4]])
  end)

  it("counts as far as the calendar does", function()
    local list = aged { 0, 20000 * DAY }
    for _, text in ipairs { "999999999", "2000000000", "1s2000000000s", "1d2000000000d", "1d285714285w", "1d2000000000m", "1d2000000000y" } do
      for _, utc in ipairs { true, false } do assert.is_truthy(retention.parse(text)(list, { now = NOW, utc = utc })[list[1]], text) end
    end
  end)

  it("joins reasons that are no texts", function()
    local list = aged { 0 }
    local yes = function(snapshots) return { [snapshots[1]] = true } end
    assert.equal("last 1, true", retention.union(retention.last(1), yes)(list, { now = NOW, utc = true, all_reasons = true })[list[1]])
    assert.equal("true and last 1", retention.intersection(yes, retention.last(1))(list, { now = NOW, utc = true })[list[1]])
  end)

  for text, why in pairs { ["10,1x1w"] = "'1x1w' in '10,1x1w' has the unit 'x'", ["10,,1d1w"] = "'' in '10,,1d1w' is not a number",
    ["d"] = "'d' is not", ["-1"] = "'%-1' is not", ["0d1w"] = "'0d1w' has a period of 0", ["1d"] = "'1d' is not", [""] = "'' is not",
    ["99999999999999999999"] = "a number that is too large", ["1d9999999999y"] = "too large: 9999999999", ["1h9223372036854775807h"] = "too large",
    ["10,last99999999999"] = "'last99999999999' in .*too large", ["9223372036854775807h1d"] = "too large", ["1d300000000w"] = "too large" } do
    it("refuses '" .. text .. "' and names the element", function()
      local ok, err = pcall(retention.parse, text)
      assert.is_false(ok)
      assert.is_true(errors.is(err, "usage"))
      assert.matches(why, tostring(err))
    end)
  end
end)
