-- The rules of policies/: what each keeps, selects, leaves out, and why.

local calendar = require "policies.calendar"
local errors = require "moonpool.error"
local filters = require "policies.filter_property"
local helper = require "helper"
local notify = require "policies.notify"
local retention = require "policies.retention"
local selection = require "policies.select"
local send = require "policies.send"
local windows = require "policies.windows"

local DAY = 86400

-- A time of UTC. @param text "2026-11-23" or "2026-11-23 13:00"
local function at(text)
  local year, month, day, hour, min = text:match "^(%d+)%-(%d+)%-(%d+) ?(%d*):?(%d*)$"
  local names = require "moonpool.names"
  return names.day_number(math.tointeger(year), math.tointeger(month), math.tointeger(day)) * DAY + (tonumber(hour) or 0) * 3600 + (tonumber(min) or 0) * 60
end

-- One snapshot a day at 23:30 UTC. @param first, last days as text; @return snapshots, ctx at the end of the last day
local function daily(first, last)
  local list = {}
  for time = at(first) + 84600, at(last) + 84600, DAY do
    list[#list + 1] = { name = os.date("!nas-%Y%m%d", time), time = time, userrefs = 0, used = 10 }
  end
  return list, { now = at(last) + DAY - 1, utc = true, properties = {} }
end

-- What a rule keeps, as names in order.
local function kept(rule, snapshots, ctx)
  local map, names = rule(snapshots, ctx), {}
  for _, s in ipairs(snapshots) do
    if map[s] then
      assert.is_string(map[s])
      names[#names + 1] = s.name:gsub("^nas%-", "")
    end
  end
  return table.concat(names, " ")
end

local function refusal(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err, "usage"))
  return tostring(err)
end

describe("a rule of the calendar keeps", function()
  local snapshots, ctx = daily("2026-01-01", "2026-07-31")

  it("the first and the last day of each month", function()
    assert.are.equal("20260101 20260201 20260301 20260401 20260501 20260601 20260701", kept(calendar.month_begins(), snapshots, ctx))
    assert.are.equal("20260131 20260228 20260331 20260430 20260531 20260630 20260731", kept(calendar.month_ends(), snapshots, ctx))
  end)

  it("the last business day, which is before a weekend that ends a month", function()
    assert.are.equal("20260130 20260227 20260331 20260430 20260529 20260630 20260731", kept(calendar.last_business_days(), snapshots, ctx))
  end)

  it("the ends of quarters and years", function()
    assert.are.equal("20260331 20260630", kept(calendar.quarter_ends(), snapshots, ctx))
    local long, then_ = daily("2025-12-30", "2026-01-02")
    assert.are.equal("20251231", kept(calendar.year_ends(), long, then_))
  end)

  it("a day of the week, for so many years back", function()
    local long, then_ = daily("2025-12-20", "2026-01-05")
    assert.are.equal("20251221 20251228 20260104", kept(calendar.weekdays("sunday"), long, then_))
    assert.are.equal("20260104", kept(calendar.weekdays("sunday", 0), long, then_))
  end)

  it("the newest snapshot of a day", function()
    local list = { { name = "nas-a", time = at "2026-01-31 08:00" }, { name = "nas-b", time = at "2026-01-31 20:00" } }
    assert.are.equal("b", kept(calendar.month_ends(), list, ctx))
  end)
end)

describe("rules of retention", function()
  local snapshots, ctx = daily("2026-01-01", "2026-01-10")

  it("are combined to what all, the first alone, and the others keep", function()
    local five, odd = retention.last(5), retention.where(function(s) return s.name:find "[13579]$" ~= nil end, "odd")
    assert.are.equal("20260107 20260109", kept(retention.intersection(five, odd), snapshots, ctx))
    assert.are.equal("20260106 20260108 20260110", kept(retention.difference(five, odd), snapshots, ctx))
    assert.are.equal("20260101 20260102 20260103 20260104 20260105", kept(retention.others(five, "old"), snapshots, ctx))
    assert.are.equal("last 5 and odd", retention.intersection(five, odd)(snapshots, ctx)[snapshots[9]])
  end)

  it("keep all, none, by name and what is held", function()
    assert.are.equal(10, #(kept(retention.all "x", snapshots, ctx):gsub("%d+ ?", "x")))
    assert.are.equal("", kept(retention.none(), snapshots, ctx))
    assert.are.equal("20260110", kept(retention.matching "10$", snapshots, ctx))
    snapshots[3].userrefs = 1
    assert.are.equal("20260103", kept(retention.held(), snapshots, ctx))
  end)

  it("keep everything while a property says so", function()
    local rule = retention.while_property("org:keep", "all")
    assert.are.equal("", kept(rule, snapshots, ctx))
    assert.are.equal(10, select(2, kept(rule, snapshots, { properties = { ["org:keep"] = "all" } }):gsub("%d+", "")))
  end)

  it("let the oldest go until so much is free", function()
    ctx.pool = { free = 75 }
    assert.are.equal("20260104 20260105 20260106 20260107 20260108 20260109 20260110", kept(retention.until_free(100), snapshots, ctx))
    ctx.pool = nil
    assert.are.equal(10, select(2, kept(retention.until_free(100), snapshots, ctx):gsub("%d+", "")))
  end)
end)

describe("a rule of selection", function()
  local ctx = {
    type = "volume", now = at "2026-01-10", properties = { used = "5000000000", ["org:tier"] = "gold" }, snapshots = { { creation = at "2026-01-01" } },
  }
  local function asked(rule, name) return (rule({ name = name or "tank/vm/disk-1" }, ctx)) end

  it("takes names by patterns of components", function()
    assert.is_true(asked(selection.glob "tank/*/disk-?"))
    assert.is_true(asked(selection.glob "tank/**"))
    assert.is_nil(asked(selection.glob "tank/*"))
    assert.is_nil(asked(selection.glob "tank/vm/disk.1"))
    assert.is_true(asked(selection.tree "tank/vm"))
    assert.is_nil(asked(selection.tree "tank/v"))
  end)

  it("takes kinds, sizes, ages and properties", function()
    assert.is_true(asked(selection.kind "volume"))
    assert.is_nil(asked(selection.kind "filesystem"))
    assert.is_true(asked(selection.larger_than(4e9)))
    assert.is_nil(asked(selection.larger_than(6e9)))
    assert.is_true(asked(selection.older_than(8 * DAY)))
    assert.is_nil(asked(selection.older_than(10 * DAY)))
    assert.is_true(asked(selection.has("org:tier", "gold")))
    assert.is_nil(asked(selection.has("org:tier", "tin")))
    assert.is_nil(asked(selection.has "org:other"))
  end)

  it("is combined with others, and tells all reasons", function()
    local yes, why = selection.all(selection.kind "volume", selection.has "org:tier")({ name = "x" }, ctx)
    assert.is_true(yes)
    assert.are.equal("a volume, org:tier is gold", why)
    assert.is_true(asked(selection.any(selection.kind "filesystem", selection.kind "volume")))
    assert.is_nil(asked(selection.none(selection.kind "volume")))
    assert.is_true(asked(selection.none(selection.kind "filesystem")))
  end)

  it("becomes a hook that takes only that, or leaves it out", function()
    assert.are.same({ false, "not asked for" }, { selection.only(selection.kind "filesystem")(nil, {}, ctx) })
    assert.are.same({ false, "a volume" }, { selection.without(selection.kind "volume")(nil, {}, ctx) })
    assert.is_nil((selection.without(selection.kind "filesystem")(nil, {}, ctx)))
  end)
end)

describe("a rule of properties", function()
  local hook = filters.hook(filters.no_mounts(), filters.drop_matching "^com%.sun:", filters.set("compression", "gzip"), filters.for_system "freebsd",
    filters.user("^org:", string.upper))
  local function asked(name, value) return hook(nil, {}, name, value, "local") end

  it("leaves out, sets, translates, changes, and lets the rest be", function()
    assert.is_false(asked("mountpoint", "/srv"))
    assert.is_false(asked("com.sun:auto-snapshot", "true"))
    assert.are.equal("gzip", asked("compression", "lz4"))
    assert.is_false(asked("acltype", "posix"))
    assert.is_nil(asked("volmode", "dev"))
    assert.are.equal("on", asked("xattr", "sa"))
    assert.are.equal("GOLD", asked("org:tier", "gold"))
    assert.is_nil(asked("atime", "off"))
  end)
end)

describe("rules of sending", function()
  it("are put over one another", function()
    local hook = send.hook(send.for_old_targets(), send.when(selection.tree "tank/db", { embed = true }), send.plain())
    assert.are.same({ large_blocks = false, compressed = false, embed = false }, hook(nil, { name = "tank/a" }, {}))
    local database = { name = "tank/db", encrypted = true }
    assert.are.same({ large_blocks = false, compressed = false, embed = true, raw = false, props = false }, hook(nil, database, {}))
    assert.is_nil(send.hook(send.plain())(nil, { name = "tank/a" }, {}))
  end)
end)

describe("a window of time", function()
  -- The time of day is local; the tests' zone is UTC.
  it("has days, and goes over midnight to the morning after", function()
    local night = windows.parse "mon-fri 22:00-06:00, sat 00:00-24:00"
    assert.is_true(night(at "2026-11-23 23:00")) -- a Monday
    assert.is_true(night(at "2026-11-28 05:00")) -- the morning after Friday, and a Saturday
    assert.is_false(night(at "2026-11-23 05:00")) -- the morning after a Sunday
    assert.is_false(night(at "2026-11-23 12:00"))
    assert.is_true(night(at "2026-11-28 12:00"))
  end)

  it("that is none is refused by name", function()
    assert.matches("'mo 08:00%-09:00' in 'mo 08:00%-09:00' names no day", refusal(windows.parse, "mo 08:00-09:00"))
    assert.matches("' 25:00%-26:00' in .* is no time of day", refusal(windows.parse, "08:00-09:00, 25:00-26:00"))
    assert.matches("is not of the form", refusal(windows.parse, "always"))
    assert.matches("no window", refusal(windows.parse, ""))
  end)

  it("keeps a run from beginning at other times, and nothing is changed", function()
    local world = helper.world() -- at midnight
    local p = require "policies.autobackup":extend { before = windows.only "08:00-18:00" }
    local _, _, err = helper.backup(world, nil, p)
    assert.are.equal("window", err.code)
    assert.are.same({}, helper.snapshots(world:host "src", "tank/a"))
    world:tick(9 * 3600)
    assert.are.equal(0, (helper.backup(world, nil, p)))
  end)

  it("sets the rate of what begins in it", function()
    local run = {}
    windows.rates { { "08:00-18:00", "5M" }, { "18:00-20:00", "20M" } }(nil, run)
    assert.are.same({ 5 << 20, 20 << 20 }, { run.rate(at "2026-11-23 09:00"), run.rate(at "2026-11-23 19:00") })
    assert.is_nil(run.rate(at "2026-11-23 21:00"))
  end)
end)

describe("a notification", function()
  local dir
  -- Programs that write down how they were called and what they read.
  before_each(function()
    dir = os.tmpname()
    os.remove(dir)
    local host = require "moonpool.host".open()
    host:run { "mkdir", dir }
    for _, name in ipairs { "sendmail", "curl", "zabbix_sender", "tell" } do
      local file <close> = assert(io.open(dir .. "/" .. name, "w"))
      file:write(("#!/bin/sh\n{ printf '%%s|' \"$@\"; echo; cat; } >%s/%s.out\n"):format(dir, name))
    end
    host:run { "sh", "-c", "chmod 755 " .. dir .. "/*" }
    host:close()
  end)
  after_each(function() require "moonpool.host".open():run { "rm", "-r", dir } end)

  local function told(name)
    local file = io.open(dir .. "/" .. name .. ".out")
    return file and file:read "a"
  end

  -- A run that ends as asked, with a hook.
  local function run_with(after, options, world)
    return helper.backup(world or helper.world(), options, require "policies.autobackup":extend { after = after })
  end

  it("goes out by mail, with one line a header", function()
    local world = helper.world()
    world:fail { verb = "receive", dataset = "back/nas/tank/a", message = "cannot receive: oh" }
    run_with(notify.mail { to = "root\nBcc: all", sendmail = dir .. "/sendmail" }, nil, world)
    local mail = told "sendmail"
    assert.matches("^%-t|%-i|\nTo: root Bcc: all\nSubject: moonpool: backup nas had %d failures?\n", mail)
    assert.matches("\n\nmoonpool: backup nas had .*tank/a: .*cannot receive: oh", mail)
  end)

  it("by a command, with the number of failures", function()
    run_with(notify.command { dir .. "/tell", "now" })
    assert.matches("^now|0|moonpool: backup nas is well\n", told "tell")
  end)

  it("only of failures, when that is asked for", function()
    run_with(notify.on_failure(notify.command { dir .. "/tell" }))
    assert.is_nil(told "tell")
  end)

  it("in a dry run goes to nobody", function()
    run_with(notify.command { dir .. "/tell" }, { test = true })
    assert.is_nil(told "tell")
  end)

  it("that can't go out is a warning, and costs nothing", function()
    local status, lines = run_with(notify.command { dir .. "/missing" })
    assert.are.equal(0, status)
    assert.matches("warn: nobody was told: .*missing", table.concat(lines, "\n"))
  end)

  it("to a webhook has the report, and no address on the command line", function()
    -- The programs are found by name: here those of the directory.
    local host = require "moonpool.host"
    local open = host.open
    host.open = function()
      local here = open()
      return setmetatable({ run = function(_, argv, options)
        return here:run({ dir .. "/" .. argv[1], table.unpack(argv, 2) }, options)
      end }, { __close = function() here:close() end })
    end
    run_with(notify.all(notify.webhook "https://example.org/secret", notify.zabbix { server = "z", host = "nas" }))
    local hook, zabbix = told "curl", told "zabbix_sender"
    run_with(notify.ping "https://example.org/check")
    local ping = told "curl"
    host.open = open
    assert.is_nil(hook:match "^[^\n]*secret")
    assert.matches('\nurl = "https://example.org/secret"\n', hook)
    assert.matches('data%-binary = "{.*\\"backup\\":\\"nas\\"', hook)
    assert.matches("^%-z|z|%-s|nas|%-k|moonpool.nas|%-o|0|", zabbix)
    assert.matches('url = "https://example.org/check"\n', ping)
  end)
end)
