-- Old targets that are kept aside for new ones (--on-diverged rename and full), whenever a run is cut off.

local helper = require "helper"

local TARGET = "back/nas/tank/a"

-- A world in which the target of tank/a went on by itself, a day after the first backup.
local function diverged()
  local world = helper.world()
  assert(helper.backup(world) == 0)
  world:tick(86400)
  world:write("tank/a", 5000)
  world:write("tank/a/b", 5000)
  world:host("dst"):run { "zfs", "snapshot", TARGET .. "@mine" }
  return world, world:host "dst"
end

local function listed(host, root)
  local names = {}
  for name in host:run({ "zfs", "list", "-H", "-r", "-o", "name", root }).out:gmatch "[^\n]+" do names[#names + 1] = name end
  return names
end

local function asides(host)
  local list = {}
  for _, name in ipairs(listed(host, "back/nas")) do
    if name:find "%.old" then list[#list + 1] = name end
  end
  return list
end

local function property(host, name, dataset) return (host:run({ "zfs", "get", "-Hp", "-o", "value", name, dataset }).out:gsub("\n", "")) end

-- Time goes on, and the same backup runs until all is well. @return how many runs that took
local function goes_on(world, options)
  for runs = 1, 3 do
    world:tick(3600)
    world:write("tank/a", 100)
    local status, lines, err = helper.backup(world, options)
    if status == 0 then return runs end
    if runs == 3 then error(tostring(err or table.concat(lines, "\n"))) end
  end
end

-- What is there in the end: the new target with what the source has, the same dataset below it, and the old one, once or not at all.
local function check_end(world, action, below)
  local src, dst = world:host "src", world:host "dst"
  local here, there = helper.snapshots(src, "tank/a"), helper.snapshots(dst, TARGET)
  assert.are.equal(here[#here], there[#there])
  assert.are.equal(below, property(dst, "guid", TARGET .. "/b"))
  local old = asides(dst)
  if action == "full" then return assert.are.same({}, old) end
  assert.are.equal(1, #old)
  assert.are.equal("mine", helper.snapshots(dst, old[1])[2])
end

for _, action in ipairs { "rename", "full" } do
  describe("a target that is replaced with --on-diverged " .. action, function()
    local options = { on_diverged = action }

    it("may be cut off by the network, and goes on in the same run", function()
      local world, dst = diverged()
      local below = property(dst, "guid", TARGET .. "/b")
      world:fail { verb = "receive", dataset = TARGET, after_bytes = 3000, code = "disconnect" }
      local sched = require "moonpool.sched"
      local sleep = sched.sleep
      sched.sleep = function() end
      local status, lines = helper.backup(world, { on_diverged = action, retries = 1 })
      sched.sleep = sleep
      assert.are.equal(0, status, table.concat(lines, "\n"))
      check_end(world, action, below)
    end)

    it("has its name again if nothing could be received, and what is below it is backed up", function()
      local world, dst = diverged()
      local guid = property(dst, "guid", TARGET)
      world:fail { verb = "receive", dataset = TARGET, message = "cannot receive: out of space" }
      assert.are.equal(1, (helper.backup(world, options)))
      assert.are.equal(guid, property(dst, "guid", TARGET))
      assert.are.same({}, asides(dst))
      assert.are.equal("-", property(dst, "moonpool:aside", TARGET))
      assert.are.equal(2, #helper.snapshots(dst, TARGET .. "/b"))
    end)

    for _, moment in ipairs { "before", "after" } do
      it(("is there in the end, wherever a run was killed: %s a command"):format(moment), function()
        local n = 0
        repeat
          n = n + 1
          local world, dst = diverged()
          local below = property(dst, "guid", TARGET .. "/b")
          world:kill_at(n, { after = moment == "after" })
          helper.backup(world, options)
          local ended = world.kill ~= nil
          world.kill = nil
          goes_on(world, options)
          check_end(world, action, below)
        until ended
        assert.is_true(n > 20)
      end)
    end

    it("is resumed after a run that was killed in the stream, and has below it what was there", function()
      local world, dst = diverged()
      local below = property(dst, "guid", TARGET .. "/b")
      world:fail { verb = "receive", dataset = TARGET, after_bytes = 3000, code = "killed" }
      helper.backup(world, options)
      assert.are.equal(1, goes_on(world, options))
      check_end(world, action, below)
    end)
  end)
end

describe("what is kept aside", function()
  it("is neither thinned nor destroyed as one whose source is gone, nor taken for a renamed one", function()
    local world, dst = diverged()
    -- One that could be a backup's.
    dst:run { "zfs", "rename", TARGET .. "@mine", TARGET .. "@nas-20261123120000" }
    assert.are.equal(0, (helper.backup(world, { on_diverged = "rename" })))
    local old = asides(dst)[1]
    world:tick(86400 * 90)
    world:write("tank/a", 100)
    assert.are.equal(0, (helper.backup(world, { destroy_missing = "30d" })))
    assert.are.same({ old }, asides(dst))
    assert.are.equal(2, #helper.snapshots(dst, old))
    -- Its source gets another name: the one that is up to date is meant.
    world:host("src"):run { "zfs", "rename", "tank/a", "tank/z" }
    local _, lines = helper.backup(world)
    assert.matches("it is still back/nas/tank/a %(", table.concat(lines, "\n"))
  end)
end)

describe("what would be destroyed for a new target, but is held by somebody", function()
  it("is told once, and kept", function()
    local world, dst = diverged()
    dst:run { "zfs", "hold", "me", TARGET .. "@mine" }
    local status, lines = helper.backup(world, { on_diverged = "full" })
    assert.are.equal(1, status)
    assert.matches("is held by 'me', so back/nas/tank/a.old%-%d+ stays", table.concat(lines, "\n"))
    assert.are.equal(1, goes_on(world, { destroy_missing = "1d" }))
    assert.are.equal(1, #asides(dst))
  end)
end)

describe("a target that came from another pool", function()
  it("is not destroyed by --on-diverged full for one of the same name, but kept aside if told so", function()
    local world = helper.world()
    assert.are.equal(0, (helper.backup(world)))
    local other = world:host "other"
    other:run { "zpool", "create", "tank" }
    other:run { "zfs", "create", "tank/a" }
    other:run { "zfs", "set", "autobackup:nas=true", "tank/a" }
    local status, lines = helper.backup(world, { ssh_source = "other", on_diverged = "full" })
    assert.are.equal(1, status)
    assert.matches("back/nas/tank/a was received from another pool.*zfs set moonpool:source=%x+ back/nas/tank/a", table.concat(lines, "\n"))
    assert.are.equal(1, #helper.snapshots(world:host "dst", TARGET .. "/b"))
    world:host("dst"):run(({ table.concat(lines, "\n"):match "(zfs) (set) (moonpool:source=%x+) (back/nas/tank/a)" }))
    assert.are.equal(0, (helper.backup(world, { ssh_source = "other", on_diverged = "rename" })))
  end)
end)
