-- Simulated runs decide what whole runs on the simulated ZFS do.

local helper = require "helper"
local picture = require "moonpool.picture"
local retention = require "policies.retention"
local simulate = require "moonpool.simulate"

local START = 1795392000
local stock = require "policies.autobackup"

-- What whole runs keep of tank/data1 … on both sides.
local function whole(p, every, count, datasets)
  local world = require "moonpool.sim".new { now = START }
  local src = world:host "src"
  src:run { "zpool", "create", "tank" }
  world:host("dst"):run { "zpool", "create", "back" }
  for i = 1, datasets do
    src:run { "zfs", "create", "tank/data" .. i }
    src:run { "zfs", "set", "autobackup:nas=true", "tank/data" .. i }
  end
  for _ = 1, count do
    local status, lines = helper.backup(world, { allow_empty = true, utc = true }, p)
    assert.are.equal(0, status, table.concat(lines, "\n"))
    world.now = START + (math.floor((world.now - START) / every + 0.5) + 1) * every
  end
  local kept = {}
  for i = 1, datasets do
    kept["tank/data" .. i] = { helper.snapshots(src, "tank/data" .. i), helper.snapshots(world:host "dst", "back/nas/tank/data" .. i) }
  end
  return kept
end

local function names(list)
  local words = {}
  for i, s in ipairs(list) do words[i] = s.name end
  return words
end

-- What simulated runs keep.
local function quick(p, every, count, datasets)
  local bound = p:with { backup_name = "nas", target_path = "back/nas", utc = true }
  local result = simulate.run(bound, bound.options, { start = START, every = every, count = count, datasets = datasets })
  local kept = {}
  for _, history in ipairs(result.histories) do
    for _, name in ipairs(history.names) do kept[name] = { names(history.source.list), names(history.target.list) } end
  end
  return kept, result
end

local POLICIES = {
  ["days"] = stock:with { keep_source = "3", keep_target = "7" },
  ["periods of the calendar"] = stock:with { keep_source = "5,1d1w", keep_target = "24,1h2d,1d2w,1w2m" },
  ["nothing that a rule can let go"] = stock:extend { keep = function() return {} end },
  ["more on one side"] = stock:extend { keep = function(_, snapshots, ctx) return retention.last(ctx.side == "source" and 2 or 9)(snapshots, ctx) end },
  ["one dataset differently"] = stock:extend {
    keep = function(_, snapshots, ctx) return retention.last(ctx.dataset:find "data2" and 3 or 5)(snapshots, ctx) end,
  },
}

describe("a simulation keeps what whole runs keep:", function()
  for title, p in pairs(POLICIES) do
    it(title .. ", every day", function() assert.are.same(whole(p, 86400, 45, 3), (quick(p, 86400, 45, 3))) end)
    it(title .. ", every three hours", function() assert.are.same(whole(p, 10800, 60, 2), (quick(p, 10800, 60, 2))) end)
  end
end)

describe("a simulation", function()
  it("tells what a policy fails with, how often, and destroys nothing on its account", function()
    local p = stock:extend { keep = function(_, snapshots) if #snapshots > 1 then error "oh" end return {} end }
    local kept, result = quick(p, 86400, 10, 2)
    assert.are.equal(1, #result.failures)
    assert.matches("hook 'keep' of policy 'autobackup' failed: .*oh", result.failures[1].text)
    assert.is_true(#kept["tank/data1"][1] >= 1)
  end)

  it("has datasets that come and go", function()
    local p = stock:with { backup_name = "nas", target_path = "back" }
    local result = simulate.run(p, p.options, { start = START, every = 86400, count = 20, datasets = 2, churn = 5 * 86400 })
    local all = {}
    for _, history in ipairs(result.histories) do table.move(history.names, 1, #history.names, #all + 1, all) end
    assert.are.equal(2, #all)
    assert.matches("^tank/new", all[1])
  end)

  it("takes what is due only, on one side if there is no target", function()
    local p = require "policies.snapshot"
    local values = p:with(simulate.bound(p)).options
    local result = simulate.run(p, values, { start = START, every = 600, count = 6 * 50, datasets = 2 })
    assert.are.equal(100, result.taken)
    assert.is_nil(result.histories[1].target)
    assert.matches("source .*destroyed\n", picture.text(result, 80))
  end)

  it("is a picture with both sides, the ages, and what failed", function()
    local _, result = quick(POLICIES["periods of the calendar"], 10800, 200, 2)
    local text = picture.text(result, 80)
    assert.matches("age +.*1w .*1d .*1h", text)
    assert.matches("source  kept", text)
    assert.matches("target  kept", text)
    assert.matches("up to a day +6 +9 h +170 +8 +3 h +0", text)
    assert.matches("200 runs, 2 datasets", text)
    for line in text:gmatch "[^\n]+" do assert.is_true(utf8.len(line) <= 100, line) end
    local svg = picture.svg(result, "a <b>")
    assert.matches("^<svg .*</svg>\n$", svg)
    assert.matches("a &lt;b&gt;", svg)
  end)
end)
