-- What a transfer that ended early leaves behind, and what other runs may do to it meanwhile.

local helper = require "helper"

local DAY = 86400

-- A world with tank/a alone, backed up to back/nas (A) and to bk2/nas (B), and then the source alone for four days.
local function behind()
  local world = helper.world()
  world:host("src"):run { "zfs", "set", "autobackup:nas=parent", "tank/a" }
  world:host("dst2"):run { "zpool", "create", "bk2" }
  return world
end
local B = { ssh_target = "dst2", target_path = "bk2/nas", keep_source = "0" }

local function next_day(world)
  world:tick(DAY)
  world:write("tank/a", 5000)
end

local function source_only(world, days)
  for _ = 1, days do
    next_day(world)
    assert.are.equal(0, (helper.backup(world, { no_send = true })))
  end
end

local function run(world, options)
  local status, lines = helper.backup(world, options)
  return status, table.concat(lines, "\n")
end

-- How many commands with such a verb were run on a host from a moment on.
local function count(world, host, verb, from)
  local n = 0
  for i = from + 1, #world.commands do
    local command = world.commands[i]
    if command.host == host and command.argv[2] == verb then n = n + 1 end
  end
  return n
end

local function userrefs(host, dataset)
  return host:run { "zfs", "list", "-Hp", "-t", "snapshot", "-d", "1", "-o", "userrefs", dataset }.out:gsub("\n", " ")
end

describe("a transfer that is cut off", function()
  for title, more in pairs { ["with its token"] = {}, ["without a token"] = { no_resume = true } } do
    it(("amid many snapshots goes on %s, though another run has thinned the source"):format(title), function()
      local world = behind()
      assert.are.equal(0, (run(world, more)))
      assert.are.equal(0, (run(world, B)))
      source_only(world, 4)
      next_day(world)
      world:fail { verb = "receive", host = "dst", dataset = "back/nas/tank/a", after_bytes = 13000, code = "disconnect" }
      assert.are.equal(1, (run(world, more)))
      local there = helper.snapshots(world:host "dst", "back/nas/tank/a")
      assert.is_true(#there > 1 and #there < 6)
      next_day(world)
      assert.are.equal(0, (run(world, B)))
      next_day(world)
      assert.are.same({ 0, "" }, { run(world, more) })
      local src, dst = world:host "src", world:host "dst"
      local here = helper.snapshots(src, "tank/a")
      there = helper.snapshots(dst, "back/nas/tank/a")
      assert.are.equal(here[#here], there[#there])
      -- What was held is let go, and may be thinned by the same run.
      next_day(world)
      assert.are.equal(0, (run(world, B)))
      more.keep_source = "0"
      assert.are.equal(0, (run(world, more)))
      assert.is_true(#helper.snapshots(src, "tank/a") <= 2)
    end)
  end

  it("in its first full stream goes on, though another run has thinned the source", function()
    local world = behind()
    source_only(world, 4)
    world:fail { verb = "receive", dataset = "back/nas/tank/a", after_bytes = 500, code = "disconnect" }
    assert.are.equal(1, (run(world)))
    next_day(world)
    assert.are.equal(0, (run(world, B)))
    local from = #world.commands
    assert.are.equal(0, (run(world)))
    assert.are.equal(0, count(world, "dst", "receive -A", from))
    local resumed
    for i = from + 1, #world.commands do resumed = resumed or table.concat(world.commands[i].argv, " "):find "^zfs send %-t" end
    assert.is_truthy(resumed)
  end)
end)

describe("what lies between the holds of two targets that are in step", function()
  it("may go", function()
    local world = behind()
    assert.are.equal(0, (run(world)))
    for _ = 1, 4 do
      next_day(world)
      assert.are.equal(0, (run(world, B)))
    end
    assert.are.equal("1 1 ", userrefs(world:host "src", "tank/a"))
  end)
end)

describe("what is to be sent", function()
  it("is held at its ends with one command for all datasets, and let go with one", function()
    local world = helper.world()
    local src = world:host "src"
    assert.are.equal(0, (run(world)))
    source_only(world, 3)
    world:write("tank/a/b", 100)
    next_day(world)
    local from = #world.commands
    assert.are.same({ 0, "" }, { run(world) })
    assert.are.equal(1, count(world, "src", "hold", from))
    assert.are.equal(1, count(world, "src", "release", from))
    assert.are.equal("0 0 0 0 1 ", userrefs(src, "tank/a"))
    local held = {}
    for i = from + 1, #world.commands do
      local argv = world.commands[i].argv
      if world.commands[i].host == "src" and argv[2] == "hold" then table.move(argv, 4, #argv, 1, held) end
    end
    assert.are.equal(3, #held) -- of one dataset with four new ones, and of one with one
  end)

  it("is not held with --no-holds", function()
    local world = helper.world()
    source_only(world, 3)
    local from = #world.commands
    assert.are.same({ 0, "" }, { run(world, { no_holds = true }) })
    assert.are.equal(0, count(world, "src", "hold", from))
  end)

  it("may be thinned by the run that went on with it, as soon as it has arrived", function()
    local world = behind()
    assert.are.equal(0, (run(world)))
    source_only(world, 4)
    world:fail { verb = "receive", dataset = "back/nas/tank/a", after_bytes = 13000, code = "disconnect" }
    assert.are.equal(1, (run(world)))
    assert.are.equal(0, (run(world, { keep_source = "0" })))
    assert.are.equal("1 ", userrefs(world:host "src", "tank/a"))
  end)
end)

describe("a target that can't go on", function()
  it("has the common snapshot held for it all the same", function()
    local world = behind()
    local src, dst = world:host "src", world:host "dst"
    assert.are.equal(0, (run(world)))
    local name = helper.snapshots(src, "tank/a")[1]
    local tag = src:run({ "zfs", "holds", "-H", "tank/a@" .. name }).out:match "\t([^\t]+)\t"
    src:run { "zfs", "release", tag, "tank/a@" .. name }
    dst:run { "zfs", "snapshot", "back/nas/tank/a@mine" }
    next_day(world)
    assert.are.equal(1, (run(world)))
    assert.are.equal("1 0 ", userrefs(src, "tank/a"))
    -- Nothing is let go, and nothing is done again.
    local from = #world.commands
    next_day(world)
    assert.are.equal(1, (run(world)))
    assert.are.equal(0, count(world, "src", "hold", from) + count(world, "src", "release", from))
  end)
end)

describe("a dataset below one that was received in part", function()
  it("waits for it, so that the part can still be given up", function()
    local world = helper.world()
    world:write("tank/a", 50000)
    for _ = 1, 2 do
      world:fail { verb = "receive", dataset = "back/nas/tank/a", after_bytes = 5000, code = "disconnect" }
      local status, said = run(world)
      assert.are.equal(2, status)
      assert.matches("its parent tank/a was not received", said)
      world:tick(60)
    end
    assert.are.equal(1, world:host("dst"):run({ "zfs", "list", "back/nas/tank/a/b" }, { check = false }).status)
    assert.are.same({ 0, "" }, { run(world, { no_resume = true }) })
    assert.are.equal(1, #helper.snapshots(world:host "dst", "back/nas/tank/a/b"))
  end)
end)

describe("a second run in the same second", function()
  it("waits for the next one, which is its own then", function()
    local world = helper.world()
    assert.are.equal(0, (run(world)))
    for pretended = 0, 1 do
      world:write("tank/a", 5000)
      assert.are.same({ 0, "" }, { run(world, { now = pretended == 1 and world.now or nil }) })
      assert.are.equal(2 + pretended, #helper.snapshots(world:host "dst", "back/nas/tank/a"))
    end
  end)

  it("that could only have the same name for long is refused, and says why", function()
    local world = helper.world()
    local format = { snapshot_format = "{}-%Y%m%d" }
    assert.are.equal(0, (run(world, format)))
    world:tick(3600)
    world:write("tank/a", 5000)
    local status, _, err = helper.backup(world, format)
    assert.is_nil(status)
    assert.are.equal("exists", err.code)
    assert.matches("^tank/a@nas%-%d+ is there already", tostring(err))
    assert.matches("%-%-snapshot%-format", err.hint)
    local constant = require("policies.autobackup"):extend { name = "constant", snapshot_name = function() return "nas-20261123000000" end }
    world = helper.world()
    assert.are.equal(0, (helper.backup(world, {}, constant)))
    world:write("tank/a", 5000)
    _, _, err = helper.backup(world, {}, constant)
    assert.are.equal("exists", err.code)
  end)

  it("by such a format does without waiting where the name is free", function()
    local world = helper.world()
    local format = { snapshot_format = "{}-%Y%m%d" }
    assert.are.equal(0, (run(world, format)))
    world:host("src"):run { "zfs", "create", "tank/a/c" }
    world:tick(3600)
    assert.are.same({ 0, "" }, { run(world, format) })
    assert.are.equal(1, #helper.snapshots(world:host "dst", "back/nas/tank/a/c"))
  end)
end)
