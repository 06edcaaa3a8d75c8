-- The stock policy on two simulated machines.

local helper = require "helper"
local sim = require "moonpool.sim"

local function has_line(lines, pattern)
  for _, line in ipairs(lines) do
    if line:find(pattern) then return true end
  end
end

-- All the holds of a dataset's snapshots: "name tag", sorted.
local function holds(host, dataset)
  local list = {}
  for _, name in ipairs(helper.snapshots(host, dataset)) do
    for tag in host:run({ "zfs", "holds", "-H", dataset .. "@" .. name }).out:gmatch "\t([^\t]+)\t" do list[#list + 1] = name .. " " .. tag end
  end
  table.sort(list)
  return list
end

describe("a first backup", function()
  it("sends everything and holds it on both sides", function()
    local world = helper.world()
    local status, lines = helper.backup(world)
    assert.are.equal(0, status, table.concat(lines, "\n"))
    local src, dst = world:host "src", world:host "dst"
    assert.are.same(helper.snapshots(src, "tank/a"), helper.snapshots(dst, "back/nas/tank/a"))
    assert.are.equal(1, #helper.snapshots(dst, "back/nas/tank/a/b"))
    assert.are.equal(1, #holds(src, "tank/a"))
    assert.are.equal(1, #holds(dst, "back/nas/tank/a"))
  end)

  it("says nothing when all is well", function()
    local _, lines = helper.backup(helper.world())
    assert.are.same({}, lines)
  end)

  it("as a test changes nothing", function()
    local world = helper.world()
    local status = helper.backup(world, { test = true })
    assert.are.equal(0, status)
    assert.are.same({}, helper.snapshots(world:host "src", "tank/a"))
    assert.are.equal(1, world:host("dst"):run({ "zfs", "list", "back/nas" }, { check = false }).status)
  end)

  it("fails with 'nothing' if no dataset has the property", function()
    local _, _, err = helper.backup(helper.world(), { backup_name = "other" })
    assert.are.equal("nothing", err.code)
    assert.matches("autobackup:other", tostring(err))
  end)
end)

describe("a second backup", function()
  local world, src, dst
  before_each(function()
    world = helper.world()
    src, dst = world:host "src", world:host "dst"
    helper.backup(world)
    world:tick(86400)
  end)

  it("with nothing written makes no snapshot", function()
    assert.are.equal(0, (helper.backup(world)))
    assert.are.equal(1, #helper.snapshots(src, "tank/a"))
  end)

  it("is incremental, and the hold moves on to the new snapshot on both sides", function()
    world:write("tank/a", 5000)
    local before = #world.commands
    assert.are.equal(0, (helper.backup(world)))
    local sent
    for i = before + 1, #world.commands do
      local argv = world.commands[i].argv
      if argv[2] == "send" then sent = table.concat(argv, " ") end
    end
    assert.matches(" %-i ", sent)
    local names = helper.snapshots(src, "tank/a")
    assert.are.equal(2, #names)
    assert.are.same(names, helper.snapshots(dst, "back/nas/tank/a"))
    for _, list in ipairs { holds(src, "tank/a"), holds(dst, "back/nas/tank/a") } do
      assert.are.equal(1, #list)
      assert.are.equal(names[2], list[1]:match "^%S+")
    end
  end)

  it("goes on from a bookmark when the snapshot is gone from the source", function()
    local name = helper.snapshots(src, "tank/a")[1]
    src:run { "zfs", "release", holds(src, "tank/a")[1]:match " (.+)$", "tank/a@" .. name }
    src:run { "zfs", "destroy", "tank/a@" .. name }
    world:write("tank/a", 5000)
    local status, lines = helper.backup(world)
    assert.are.equal(0, status, table.concat(lines, "\n"))
    assert.are.equal(2, #helper.snapshots(dst, "back/nas/tank/a"))
  end)

  it("refuses a target that went on by itself, with what would mend it, and backs up the rest", function()
    dst:run { "zfs", "snapshot", "back/nas/tank/a@mine" }
    world:write("tank/a", 5000)
    world:write("tank/a/b", 5000)
    local status, lines = helper.backup(world)
    assert.are.equal(1, status)
    assert.is_true(has_line(lines, "newer than the common .*mine"))
    assert.are.equal(2, #helper.snapshots(dst, "back/nas/tank/a/b"))
  end)

  it("leaves such a target out with --ignore-new", function()
    dst:run { "zfs", "snapshot", "back/nas/tank/a@mine" }
    world:write("tank/a", 5000)
    assert.are.equal(0, (helper.backup(world, { ignore_new = true })))
  end)

  it("never destroys the common snapshot, whatever is to be kept", function()
    for _ = 1, 5 do
      world:tick(86400 * 40)
      world:write("tank/a", 5000)
      assert.are.equal(0, (helper.backup(world, { keep_source = "0", keep_target = "0" })))
      local here, there = helper.snapshots(src, "tank/a"), helper.snapshots(dst, "back/nas/tank/a")
      assert.are.equal(here[#here], there[#there])
    end
    assert.are.equal(1, #helper.snapshots(src, "tank/a"))
  end)

  it("destroys nothing when the clock is earlier than the newest snapshot", function()
    local status, lines = helper.backup(world, { now = world.now - 86400 * 365, no_snapshot = true, keep_source = "0" })
    assert.is_true(status > 0)
    assert.is_true(has_line(lines, "clock is earlier"))
    assert.are.equal(1, #helper.snapshots(src, "tank/a"))
  end)
end)

describe("a hook that fails", function()
  it("in keep destroys nothing, and is named", function()
    local world = helper.world()
    helper.backup(world)
    world:tick(86400 * 90)
    world:write("tank/a", 1000)
    helper.backup(world, { no_send = true })
    world:tick(86400 * 90)
    local broken = require("policies.autobackup"):extend { name = "broken", keep = function() error "oh" end }
    local status, lines = helper.backup(world, {}, broken)
    assert.is_true(status > 0)
    assert.is_true(has_line(lines, "hook 'keep' of policy 'broken' failed"))
    assert.are.equal(2, #helper.snapshots(world:host "src", "tank/a"))
  end)

  it("that answers a list instead of a set destroys nothing", function()
    local world = helper.world()
    helper.backup(world)
    local broken = require("policies.autobackup"):extend { name = "broken", keep = function(_, snapshots) return snapshots end }
    local status, lines = helper.backup(world, {}, broken)
    assert.is_true(status > 0)
    assert.is_true(has_line(lines, "its keys must be snapshots"))
  end)
end)

-- What both sides share, by GUID, and what protects it on the source.
local function shared(host, other)
  local there, found = {}, {}
  local args = { "zfs", "list", "-Hp", "-t", "snapshot,bookmark", "-d", "1", "-o", "name,guid,userrefs" }
  local function rows(h, dataset)
    local argv = table.move(args, 1, #args, 1, {})
    argv[#argv + 1] = dataset
    return h:run(argv, { check = false }).out:gmatch "([^\t\n]+)\t(%d+)\t([^\n]*)"
  end
  for _, guid in rows(other, "back/nas/tank/a") do there[guid] = true end
  for name, guid, refs in rows(host, "tank/a") do
    if there[guid] and (name:find "#" or tonumber(refs) and tonumber(refs) > 0) then found[#found + 1] = name end
  end
  return found
end

describe("a run that is killed", function()
  -- How many commands a second backup takes, counted once.
  local function second_backup()
    local world = helper.world()
    helper.backup(world, { keep_source = "1", keep_target = "1" })
    world:tick(86400 * 3)
    world:write("tank/a", 9000)
    world:write("tank/a/b", 9000)
    return world
  end

  local counting = second_backup()
  local before = #counting.commands
  helper.backup(counting, { keep_source = "1", keep_target = "1" })
  local commands = #counting.commands - before

  for _, moment in ipairs { "before", "after" } do
    it(("%s any of its commands leaves a protected common base, and the next run puts all right"):format(moment), function()
      for n = 1, commands do
        local world = second_backup()
        world:kill_at(n, { after = moment == "after" })
        helper.backup(world, { keep_source = "1", keep_target = "1" })
        world.kill = nil -- a pipe counts as one command there, and as two here
        local src, dst = world:host "src", world:host "dst"
        assert.is_true(#shared(src, dst) > 0, ("killed %s command %d"):format(moment, n))
        world:tick(60)
        local status, lines = helper.backup(world, { keep_source = "1", keep_target = "1" })
        assert.are.equal(0, status, ("killed %s command %d: %s"):format(moment, n, table.concat(lines, "\n")))
        local here, there = helper.snapshots(src, "tank/a"), helper.snapshots(dst, "back/nas/tank/a")
        assert.are.equal(here[#here], there[#there])
        assert.are.equal(1, #holds(src, "tank/a"))
        assert.are.equal(1, #holds(dst, "back/nas/tank/a"))
      end
    end)
  end

  it("in the middle of a stream is resumed by the next one", function()
    local world = second_backup()
    world:fail { verb = "receive", after_bytes = 3000, code = "killed" }
    helper.backup(world)
    world:tick(60)
    local first = #world.commands
    assert.are.equal(0, (helper.backup(world)))
    local resumed
    for i = first + 1, #world.commands do
      resumed = resumed or table.concat(world.commands[i].argv, " "):find "^zfs send %-t"
    end
    assert.is_truthy(resumed)
    assert.are.same(helper.snapshots(world:host "src", "tank/a"), helper.snapshots(world:host "dst", "back/nas/tank/a"))
  end)
end)

describe("a snapshot of somebody else of which a part was received", function()
  local function said_after(options)
    local world = helper.world()
    world:host("src"):run { "zfs", "snapshot", "tank/a@theirs" }
    world:fail { verb = "receive", dataset = "back/nas/tank/a", after_bytes = 900, code = "killed" }
    helper.backup(world, { other_snapshots = true })
    local first = #world.commands
    world:tick(60)
    assert.are.equal(0, (helper.backup(world, options)))
    local said = {}
    for i = first + 1, #world.commands do said[#said + 1] = table.concat(world.commands[i].argv, " ") end
    return table.concat(said, "\n")
  end

  it("is gone on with while such ones are sent, else dropped", function()
    assert.is_nil(said_after({ other_snapshots = true }):find("receive -A", 1, true))
    assert.matches("receive %-A", said_after {})
    assert.matches("receive %-A", said_after { other_snapshots = true, exclude_snapshot_pattern = { "^theirs" } })
  end)
end)

describe("a clone", function()
  local world, src, origin
  before_each(function()
    world = helper.world()
    src = world:host "src"
    assert(helper.backup(world) == 0)
    origin = helper.snapshots(src, "tank/a/b")[1]
    src:run { "zfs", "clone", "tank/a/b@" .. origin, "tank/a/k" }
  end)

  it("of which a part was received is gone on with", function()
    world:tick(60)
    world:write("tank/a/k", 50000)
    world:fail { verb = "receive", dataset = "back/nas/tank/a/k", after_bytes = 30000, code = "killed" }
    helper.backup(world)
    local first = #world.commands
    world:tick(60)
    assert.are.equal(0, (helper.backup(world)))
    local said = {}
    for i = first + 1, #world.commands do said[#said + 1] = table.concat(world.commands[i].argv, " ") end
    said = table.concat(said, "\n")
    assert.matches("zfs send %-t", said)
    assert.is_nil(said:find("receive -A", 1, true))
    local there = world:host("dst"):run({ "zfs", "get", "-H", "-o", "value", "origin", "back/nas/tank/a/k" }).out
    assert.are.equal("back/nas/tank/a/b@" .. origin .. "\n", there)
  end)

  it("with several snapshots is one on the target too", function()
    for _ = 1, 3 do
      world:tick(60)
      world:write("tank/a/k", 50000)
      assert(helper.backup(world, { no_send = true }) == 0)
    end
    assert.are.equal(0, (helper.backup(world, { no_snapshot = true })))
    assert.are.same(helper.snapshots(src, "tank/a/k"), helper.snapshots(world:host "dst", "back/nas/tank/a/k"))
  end)
end)

describe("the number of commands", function()
  it("does not depend on how many datasets have nothing new", function()
    local function commands_for(count)
      local world = sim.new { now = 1795392000 }
      local src, dst = world:host "src", world:host "dst"
      src:run { "zpool", "create", "tank" }
      dst:run { "zpool", "create", "back" }
      src:run { "zfs", "set", "autobackup:nas=true", "tank" }
      for i = 1, count do src:run { "zfs", "create", "tank/d" .. i } end
      assert.are.equal(0, (helper.backup(world)))
      world:tick(60)
      local before = #world.commands
      assert.are.equal(0, (helper.backup(world)))
      return #world.commands - before
    end
    local few = commands_for(10)
    assert.are.equal(few, commands_for(60))
    assert.is_true(few <= 10, few .. " commands")
  end)
end)

describe("a hook that raises about one dataset", function()
  local function run_with(hooks)
    local world = helper.world()
    hooks.name = "broken"
    local status, lines = helper.backup(world, {}, require("policies.autobackup"):extend(hooks))
    return status, lines, world
  end

  it("in select costs this dataset, and the others are backed up", function()
    local status, lines, world = run_with { select = function(_, ds) if ds.name == "tank/a/b" then error "oh" end end }
    assert.are.equal(1, status)
    assert.is_true(has_line(lines, "tank/a/b: hook 'select' of policy 'broken' failed: .*autobackup_spec%.lua:%d+: oh"))
    assert.are.equal(1, #helper.snapshots(world:host "dst", "back/nas/tank/a"))
  end)

  it("in send_options or after_dataset does the same", function()
    for _, hook in ipairs { "send_options", "after_dataset", "before_dataset" } do
      local status, _, world = run_with { [hook] = function(_, ds) if ds.name == "tank/a/b" then error "oh" end end }
      assert.are.equal(1, status, hook)
      assert.are.equal(1, #helper.snapshots(world:host "dst", "back/nas/tank/a"))
    end
  end)
end)

describe("the bookmarks of many datasets", function()
  -- A first backup of twelve datasets; returns the world and how many commands of zfs made bookmarks.
  local function backed_up(fault)
    local world = helper.world()
    for i = 1, 10 do world:host("src"):run { "zfs", "create", "tank/a/many" .. i } end
    if fault then world:fail(fault) end
    local status, lines = helper.backup(world)
    assert.are.equal(0, status, table.concat(lines, "\n"))
    local count = { program = 0, bookmark = 0 }
    for _, command in ipairs(world.commands) do
      if count[command.argv[2]] then count[command.argv[2]] = count[command.argv[2]] + 1 end
    end
    assert.are.same({}, lines)
    local made = world:host("src"):run({ "zfs", "list", "-Hr", "-t", "bookmark", "-o", "name", "tank/a" }).out
    assert.are.equal(12, select(2, made:gsub("\n", "")))
    return count
  end

  it("are made by one command", function() assert.are.same({ program = 1, bookmark = 0 }, backed_up()) end)

  it("are made one by one where channel programs are refused", function()
    local refused = { verb = "program", message = "cannot run: must be root" }
    assert.are.same({ program = 1, bookmark = 12 }, backed_up(refused))
  end)

  it("of few datasets need no channel program", function()
    local world = helper.world()
    helper.backup(world)
    for _, command in ipairs(world.commands) do assert.are_not.equal("program", command.argv[2]) end
  end)
end)
