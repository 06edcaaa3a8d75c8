-- Quotas of targets, which hold more than their sources.

local helper = require "helper"

local MB = 1 << 20

local function quota_of(world, name)
  return tonumber((world:host("dst"):run({ "zfs", "get", "-Hp", "-o", "value", "quota", name }).out:gsub("\n", "")))
end

local function run(world, options, hooks)
  local p = require("policies.autobackup"):extend { name = "test", filter_property = hooks }
  local status, lines = helper.backup(world, options, p)
  return status, table.concat(lines, "\n")
end

describe("the quota of a dataset", function()
  -- Its child changes all the time, so that its target comes to hold more than the source may.
  local function days(count, options, also_parent)
    local world = helper.world()
    world:host("src"):run { "zfs", "set", "quota=100M", "tank/a" }
    world:write("tank/a/b", 20 * MB)
    for day = 1, count do
      assert.are.same({ 0, "" }, { run(world, options) }, "day " .. day)
      if day < 5 then assert.are.equal(100 * MB, quota_of(world, "back/nas/tank/a")) end
      world:tick(86400)
      world:write("tank/a/b", 20 * MB, { replaced = 20 * MB })
      if also_parent then world:write("tank/a", 1000) end
    end
    return world
  end

  it("does not stop what is received below its target", function()
    for _, also_parent in ipairs { true, false } do
      local world = days(8, { keep_source = "last1" }, also_parent)
      assert.are.equal(8, #helper.snapshots(world:host "dst", "back/nas/tank/a/b"))
    end
  end)

  it("does not stop it when it is itself left out, and is set again all the same", function()
    local world = days(4, { keep_source = "last1", exclude_unchanged = "10000" })
    for _ = 1, 3 do
      assert.are.same({ 0, "" }, { run(world, { exclude_unchanged = "10000" }) })
      world:tick(86400)
      world:write("tank/a/b", 20 * MB, { replaced = 20 * MB })
    end
    assert.are.equal(7, #helper.snapshots(world:host "dst", "back/nas/tank/a/b"))
  end)

  it("is lifted and set with one command each", function()
    local world = days(2, {})
    local from = #world.commands
    assert.are.same({ 0, "" }, { run(world) })
    local set = {}
    for i = from + 1, #world.commands do
      local argv = world.commands[i].argv
      if argv[2] == "set" then set[#set + 1] = table.concat(argv, " ") end
    end
    assert.are.same({ "zfs set quota=none back/nas/tank/a", "zfs set quota=104857600 back/nas/tank/a" }, set)
  end)

  it("is on the target what the hook filter_property says", function()
    local world = helper.world()
    world:host("src"):run { "zfs", "set", "quota=1G", "tank/a" }
    local function hook(answer)
      return function(_, _, name)
        if name == "quota" then return answer end
      end
    end
    assert.are.same({ 0, "" }, { run(world, {}, hook "20G") })
    assert.are.equal(20 * 1024 * MB, quota_of(world, "back/nas/tank/a"))
    for _, written in ipairs { "tank/a", "tank/a/b" } do
      world:tick(86400)
      world:write(written, 5000)
      assert.are.same({ 0, "" }, { run(world, {}, hook(false)) })
      assert.are.equal(20 * 1024 * MB, quota_of(world, "back/nas/tank/a"))
    end
  end)
end)
