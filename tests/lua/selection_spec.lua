-- Which datasets a run takes and leaves out, on two simulated machines.

local helper = require "helper"

-- A world after one backup, a day later, with something written.
local function backed_up()
  local world = helper.world()
  assert(helper.backup(world) == 0)
  world:tick(86400)
  world:write("tank/a", 5000)
  return world, world:host "src", world:host "dst"
end

local function run(world, options)
  local status, lines = helper.backup(world, options)
  return status, table.concat(lines, "\n")
end

describe("selection", function()
  for _, options in ipairs { { exclude_unchanged = "100" }, { ignore_replicated = true } } do
    it(("with --%s goes on with what could not be sent"):format(next(options):gsub("_", "-")), function()
      local world, src, dst = backed_up()
      world:fail { verb = "receive", dataset = "back/nas/tank/a", code = "disconnect" }
      assert.are.equal(1, (run(world, options)))
      world:tick(86400)
      assert.are.same({ 0, "" }, { run(world, options) })
      assert.are.same(helper.snapshots(src, "tank/a"), helper.snapshots(dst, "back/nas/tank/a"))
      -- Then there is nothing new.
      world:tick(86400)
      local from = #world.commands
      assert.are.same({ 0, "" }, { run(world, options) })
      for i = from + 1, #world.commands do assert.are_not.equal("send", world.commands[i].argv[2]) end
    end)
  end

  it("with --ignore-replicated leaves out what another machine's runs made", function()
    local world, src = backed_up()
    assert.are.equal(0, (run(world)))
    local other = world:host "other"
    other:run { "zpool", "create", "tank" }
    for _, name in ipairs(helper.snapshots(src, "tank/a")) do
      src:pipe({ { host = src, argv = { "zfs", "send", "tank/a@" .. name } }, { host = other, argv = { "zfs", "receive", "-u", "tank/" .. name } } }, {})
      other:run { "zfs", "set", "autobackup:nas=true", "tank/" .. name }
    end
    local options = { ssh_source = "other", target_path = "back/other", ignore_replicated = true }
    assert.are.equal(0, (run(world, options)))
    assert.are.equal("", world:host("dst"):run({ "zfs", "list", "-H", "-t", "snapshot", "-r", "back/other" }).out)
  end)

  it("counts a bad value that was received only if such values select", function()
    local world, src = backed_up()
    src:run { "zpool", "create", "p2" }
    src:run { "zfs", "snapshot", "tank/a@z" }
    src:run { "zfs", "set", "autobackup:nas=yes", "tank/a" }
    src:pipe({ { host = src, argv = { "zfs", "send", "-p", "tank/a@z" } }, { host = src, argv = { "zfs", "receive", "-u", "p2/r" } } }, {})
    src:run { "zfs", "create", "p2/r/below" }
    src:run { "zfs", "set", "autobackup:nas=true", "tank/a" }
    assert.are.equal(0, (run(world)))
    local status, said = run(world, { include_received = true })
    assert.are.equal(1, status)
    assert.matches("error: p2/r: property autobackup:nas has the value 'yes'", said)
  end)
end)
