-- docs/how-do-i.md: each policy as it stands there, on two simulated machines, does what its title says.

local helper = require "helper"
local loader = require "moonpool.loader"

local PAGE = "docs/how-do-i.md"
local DAY = 86400

-- The policies of the page, by title.
local function policies_of(path)
  local found, title, lines = {}, nil, nil
  for line in io.lines(path) do
    title = line:match "^## … (.*)$" or title
    if line:match "^```lua" then
      lines = {}
    elseif line == "```" and lines then
      found[title], lines = table.concat(lines, "\n") .. "\n", nil
    elseif lines then
      lines[#lines + 1] = line
    end
  end
  return found
end

local function loaded(text)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(text)
  file:close()
  local path = name .. ".lua"
  os.rename(name, path)
  local ok, p = pcall(loader.policy, path)
  os.remove(path)
  assert(ok, tostring(p))
  return p
end

local texts = policies_of(PAGE)
local tried = {}

-- Runs the policy of a title once a day for so many days, with something new each day; fails if a run fails.
local function days(title, count, options, world, each)
  tried[title] = true
  local p = loaded(assert(texts[title], "the page has no '" .. title .. "'"))
  world = world or helper.world()
  local lines
  for n = 1, count do
    local status, said, err = helper.backup(world, options, p)
    assert(err == nil, tostring(err))
    assert.are.equal(0, status, table.concat(said, "\n"))
    lines = said
    if each then each(n, world) end
    world:tick(DAY)
    world:write("tank/a", 1000)
    world:write("tank/a/b", 1000)
  end
  return world, lines
end

local function names(world, host, dataset) return helper.snapshots(world:host(host), dataset) end
local function exists(world, name) return world:host("dst"):run({ "zfs", "list", name }, { check = false }).status == 0 end
local function property(world, name, dataset) return (world:host("dst"):run({ "zfs", "get", "-H", "-o", "value", name, dataset }).out:gsub("\n", "")) end

local function create(world, ...)
  for _, name in ipairs { ... } do world:host("src"):run { "zfs", "create", name } end
  return world
end

describe("How do I", function()
  it("keep the first snapshot of a year for ever?", function()
    local world = days("keep the first snapshot of a year for ever?", 60) -- from 2026-11-23
    local list = names(world, "dst", "back/nas/tank/a")
    assert.matches("^nas%-20261123", list[1])
    assert.matches("nas%-20270101", table.concat(list, " "))
    assert.is_true(#list < 20)
  end)

  it("keep less on the laptop than on the server?", function()
    local world = days("keep less on the laptop than on the server?", 12)
    assert.are.equal(4, #names(world, "src", "tank/a"))
    assert.are.equal(12, #names(world, "dst", "back/nas/tank/a"))
  end)

  it("keep databases longer than the rest?", function()
    local world = create(helper.world(), "tank/a/db")
    days("keep databases longer than the rest?", 20, { allow_empty = true }, world)
    assert.are.equal(20, #names(world, "dst", "back/nas/tank/a/db"))
    assert.are.equal(8, #names(world, "dst", "back/nas/tank/a/b"))
  end)

  it("let a property of the dataset say how long?", function()
    local world = helper.world()
    world:host("src"):run { "zfs", "set", "org:keep=last2", "tank/a/b" }
    days("let a property of the dataset say how long?", 6, nil, world)
    assert.are.equal(2, #names(world, "src", "tank/a/b"))
    assert.are.equal(6, #names(world, "src", "tank/a"))
  end)

  it("destroy nothing on the target, ever?", function()
    local world = days("destroy nothing on the target, ever?", 40)
    assert.are.equal(40, #names(world, "dst", "back/nas/tank/a"))
    assert.are.equal(4, #names(world, "src", "tank/a"))
  end)

  it("keep less when the pool gets full?", function()
    local world = helper.world()
    days("keep less when the pool gets full?", 10, nil, world)
    assert.are.equal(10, #names(world, "src", "tank/a"))
    local out = world:host("src"):run({ "zpool", "get", "-Hp", "-o", "value", "free", "tank" }).out
    create(world, "tank/full")
    world:write("tank/full", math.floor(tonumber(out) * 0.85))
    days("keep less when the pool gets full?", 1, nil, world)
    assert.is_true(#names(world, "src", "tank/a") <= 4)
    assert.are.equal(11, #names(world, "dst", "back/nas/tank/a"))
  end)

  it("keep quarter ends for the accountants?", function()
    local world = days("keep quarter ends for the accountants?", 60)
    assert.matches("^nas%-20261231", names(world, "dst", "back/nas/tank/a")[1])
    assert.are.equal(9, #names(world, "dst", "back/nas/tank/a"))
  end)

  it("leave out swap and scratch, whatever is set on them?", function()
    local world = days("leave out swap and scratch, whatever is set on them?", 1, nil, create(helper.world(), "tank/a/swap", "tank/a/c"))
    assert.is_false(exists(world, "back/nas/tank/a/swap"))
    assert.is_true(exists(world, "back/nas/tank/a/c"))
  end)

  it("select by name, without properties?", function()
    local world = create(helper.world(), "tank/other")
    world:host("src"):run { "zfs", "inherit", "autobackup:nas", "tank/a" }
    days("select by name, without properties?", 1, nil, world)
    assert.is_true(exists(world, "back/nas/tank/a/b"))
    assert.is_false(exists(world, "back/nas/tank/other"))
  end)

  it("back up only what is smaller than 10 GB?", function()
    local world = helper.world()
    world:pool("big", { host = "src", size = 100 << 30 })
    create(world, "big/one", "big/two")
    world:host("src"):run { "zfs", "set", "autobackup:nas=true", "big/one", "big/two" }
    world:write("big/one", 11 << 30)
    world:write("big/two", 1 << 20)
    days("back up only what is smaller than 10 GB?", 1, nil, world)
    assert.is_false(exists(world, "back/nas/big/one"))
    assert.is_true(exists(world, "back/nas/big/two"))
  end)

  it("leave volumes to another tool?", function()
    local world = helper.world()
    world:host("src"):run { "zfs", "create", "-V", "8M", "tank/a/disk" }
    days("leave volumes to another tool?", 1, nil, world)
    assert.is_false(exists(world, "back/nas/tank/a/disk"))
    assert.is_true(exists(world, "back/nas/tank/a/b"))
  end)

  it("send what matters first?", function()
    local world = create(helper.world(), "tank/c", "tank/db")
    world:host("src"):run { "zfs", "set", "autobackup:nas=true", "tank/c", "tank/db" }
    days("send what matters first?", 1, nil, world)
    local sent = {}
    for _, command in ipairs(world.commands) do
      if command.argv[2] == "send" then sent[#sent + 1] = command.argv[#command.argv]:match "^[^@]*" end
    end
    assert.are.same({ "tank/db", "tank/a", "tank/a/b", "tank/c" }, sent)
  end)

  it("have all datasets side by side on the target?", function()
    local world = days("have all datasets side by side on the target?", 2)
    assert.are.equal(2, #names(world, "dst", "back/nas/tank_a_b"))
  end)

  it("not have mountpoints and shares on the backup server?", function()
    local world = helper.world()
    world:host("src"):run { "zfs", "set", "mountpoint=/srv/a", "sharenfs=on", "tank/a" }
    days("not have mountpoints and shares on the backup server?", 1, nil, world)
    assert.are.equal("off", property(world, "sharenfs", "back/nas/tank/a"))
    assert.are.equal("noauto", property(world, "canmount", "back/nas/tank/a"))
    assert.are_not.equal("/srv/a", property(world, "mountpoint", "back/nas/tank/a"))
  end)

  it("compress harder on the target, and have it read-only?", function()
    local world = helper.world()
    world:host("src"):run { "zfs", "set", "compression=lz4", "tank/a" }
    days("compress harder on the target, and have it read-only?", 2, nil, world)
    assert.are.equal("gzip-9", property(world, "compression", "back/nas/tank/a"))
    assert.are.equal("on", property(world, "readonly", "back/nas/tank/a"))
  end)

  it("take over a target that went its own way?", function()
    local world = days("take over a target that went its own way?", 2)
    world:host("dst"):run { "zfs", "snapshot", "back/nas/tank/a@by-hand" }
    days("take over a target that went its own way?", 1, nil, world)
    local out = world:host("dst"):run({ "zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", "back" }).out
    assert.matches("back/nas/tank/a%.old%-%d+@by%-hand", out)
    assert.are.same(names(world, "src", "tank/a"), names(world, "dst", "back/nas/tank/a"))
  end)

  it("stop a database while its snapshot is taken?", function()
    local world, order = helper.world(), {}
    world:program("sh", function(argv)
      order[#order + 1] = argv[3]
      return { out = "", err = "", status = 0 }
    end)
    days("stop a database while its snapshot is taken?", 1, nil, world)
    assert.are.same({ "systemctl stop db", "systemctl start db" }, order)
  end)

  it("mark the snapshots of Sundays?", function()
    local world = days("mark the snapshots of Sundays?", 14)
    local marked = {}
    for i, name in ipairs(names(world, "src", "tank/a")) do if name:find "_weekly$" then marked[#marked + 1] = i end end
    assert.are.equal(2, #marked)
    assert.are.equal(7, marked[2] - marked[1])
  end)

  it("not thin the source while the target is behind?", function()
    local world = days("not thin the source while the target is behind?", 10)
    assert.are.equal(4, #names(world, "src", "tank/a"))
    days("not thin the source while the target is behind?", 5, { no_send = true }, world)
    assert.are.equal(7, #names(world, "src", "tank/a"))
  end)

  it("be sure that a mistake in a rule does not empty a dataset?", function()
    local title = "be sure that a mistake in a rule does not empty a dataset?"
    local world = days("keep less on the laptop than on the server?", 6, { keep_source = "30" })
    tried[title] = true
    local status, lines = helper.backup(world, nil, loaded(texts[title]))
    assert.are.equal(2, status)
    assert.matches("more than %-%-max%-destroy 33 allows", table.concat(lines, "\n"))
    assert.are.equal(7, #names(world, "src", "tank/a"))
  end)

  it("has a test for each policy of the page", function()
    local count = 0
    for title in pairs(texts) do
      count = count + 1
      assert.is_true(tried[title], title)
    end
    assert.is_true(count >= 20)
  end)
end)
