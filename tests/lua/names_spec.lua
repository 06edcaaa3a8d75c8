-- Names of snapshots: a time to a name and strictly back.
local errors = require "moonpool.error"
local names = require "moonpool.names"

describe("names of snapshots", function()
  local utc = names.new("{}-%Y%m%d%H%M%S", "nas", true)

  it("tell their time in UTC", function()
    assert.equal("nas-19700102030405", utc:name(86400 + 3 * 3600 + 4 * 60 + 5))
    assert.equal(86400 + 3 * 3600 + 4 * 60 + 5, utc:time "nas-19700102030405")
  end)

  it("come back in local time too, for any hour of a year", function()
    local here = names.new("{}-%Y%m%d%H%M%S", "nas")
    for hour = 0, 366 * 24, 7 do
      local time = 1767225600 + hour * 3600
      assert.equal(time, here:time(here:name(time)))
    end
  end)

  it("may carry a tag", function()
    assert.equal("nas-19700101000000_before", utc:name(0, "before"))
    assert.equal(0, utc:time "nas-19700101000000_before")
  end)

  for _, name in ipairs { "nas-20261301000000", "nas-20260230000000", "nas-20260101240000", "nas-20260101006000", "nas-2026010100000",
    "nas-202601010000000", "xnas-20260101000000", "nas-20260101000000x", "nas-20260101000000_", "nas-2026010100000a", "nas2-20260101000000", "nas-", "nas" } do
    it("are not those of others: " .. name, function() assert.is_nil(utc:time(name)) end)
  end

  it("of the old form with seconds since the epoch are ours", function()
    assert.equal(1446236218, utc:time "nas-1446236218")
    assert.is_nil(utc:time "nas-144623621800")
  end)

  for format, text in pairs { ["{}-%Y%m%d%H"] = "nas-2026112310", ["{}-%y%m%d%H%M"] = "nas-2611231011", ["{}-%Y%j%H"] = "nas-202632710" } do
    it("of a format with as many digits as an epoch are read by the format: " .. format, function()
      local other = names.new(format, "nas", true)
      local now = 1795428000 + (format:find "M" and 660 or 0)
      assert.equal(text, other:name(now))
      assert.equal(now, other:time(text))
    end)
  end

  it("of the old form are ours beside such a format, if they are no date of it that could be meant", function()
    local other = names.new("{}-%Y%m%d%H", "nas", true)
    assert.equal(1446236218, other:time "nas-1446236218")
    assert.equal(1512113000, other:time "nas-1512113000") -- not 30 November 1512
  end)

  it("may have the seconds since the epoch by a format", function()
    local other = names.new("%s.{}", "nas", false)
    assert.equal("1795428672.nas_weekly", other:name(1795428672.5, "weekly"))
    assert.equal(1795428672, other:time "1795428672.nas_weekly")
  end)

  it("take a backup name literally, whatever characters it has", function()
    local odd = names.new("{}-%Y%m%d%H%M%S", "a.b-c", true)
    assert.equal(0, odd:time "a.b-c-19700101000000")
    assert.is_nil(odd:time "axb-c-19700101000000")
  end)

  it("follow another format", function()
    local other = names.new("auto_%Y-%m-%d_%H.%M:%S_{}", "nas", true)
    assert.equal("auto_2026-11-23_10.11:12_nas", other:name(1795428672))
    assert.equal(1795428672, other:time "auto_2026-11-23_10.11:12_nas")
  end)

  for _, case in ipairs { { "{}-%B%Y", "%%B can't be read back" }, { "{}", "has no time" }, { "{}-%%-%Y", "can't contain '%%'" } } do
    it("refuse the format " .. case[1], function()
      local ok, err = pcall(names.new, case[1], "nas", true)
      assert.is_false(ok)
      assert.is_true(errors.is(err, "usage"))
      assert.matches(case[2], tostring(err))
    end)
  end
end)
