-- The options of the stock policy, each seen to act on two simulated machines.

local helper = require "helper"

local function sent_commands(world, from)
  local list = {}
  for i = from + 1, #world.commands do
    local line = table.concat(world.commands[i].argv, " ")
    if line:find "^zfs send" or line:find "^zfs receive" then list[#list + 1] = line end
  end
  return table.concat(list, "\n")
end

-- A world after one backup, a day later, with something written.
local function backed_up(options)
  local world = helper.world()
  assert(helper.backup(world, options) == 0)
  world:tick(86400)
  world:write("tank/a", 5000)
  return world, world:host "src", world:host "dst"
end

local function run(world, options)
  local before = #world.commands
  local status, lines, err = helper.backup(world, options)
  return status, table.concat(lines, "\n"), err, sent_commands(world, before)
end

describe("selection", function()
  it("with --exclude-unchanged leaves out what has changed too little", function()
    local world, src = backed_up()
    assert.are.equal(0, (run(world, { exclude_unchanged = 10000000 })))
    assert.are.equal(1, #helper.snapshots(src, "tank/a"))
    assert.are.equal(0, (run(world, { exclude_unchanged = 10 })))
    assert.are.equal(2, #helper.snapshots(src, "tank/a"))
    assert.are.equal(1, #helper.snapshots(src, "tank/a/b"))
  end)

  it("with --include-received takes what was received with the property", function()
    local world, _, dst = backed_up()
    dst:run { "zpool", "create", "third" }
    local again = { ssh_source = "dst", target_path = "third/x" }
    assert.are.equal(0, (run(world, again)))
    assert.are.same({}, helper.snapshots(dst, "third/x/back/nas/tank/a"))
    again.include_received = true
    assert.are.equal(0, (run(world, again)))
    assert.are.equal(1, #helper.snapshots(dst, "third/x/back/nas/tank/a"))
  end)
end)

describe("snapshots", function()
  it("have --tag at the end of their names, and are own all the same", function()
    local world, src = backed_up()
    assert.are.equal(0, (run(world, { tag = "weekly" })))
    local names = helper.snapshots(src, "tank/a")
    assert.matches("_weekly$", names[2])
    world:tick(86400 * 60)
    world:write("tank/a", 1)
    assert.are.equal(0, (run(world)))
    assert.are.equal(1, #helper.snapshots(src, "tank/a"))
  end)

  it("are made only of what has changed by --min-change", function()
    local world, src = backed_up()
    run(world, { min_change = 1000000000 })
    assert.are.equal(1, #helper.snapshots(src, "tank/a"))
  end)

  it("get --set-snapshot-properties", function()
    local world, src = backed_up()
    run(world, { set_snapshot_properties = "org:reason=nightly" })
    local names = helper.snapshots(src, "tank/a")
    assert.matches("nightly", src:run({ "zfs", "get", "-H", "org:reason", "tank/a@" .. names[2] }).out)
  end)

  it("come between the commands before and after them", function()
    local world, src = backed_up()
    local order = {}
    world:program("sh", function(argv)
      order[#order + 1] = argv[3] .. " " .. #helper.snapshots(src, "tank/a")
      return { out = "", err = "", status = 0 }
    end)
    assert.are.equal(0, (run(world, { pre_snapshot_cmd = { "lock, all", "sync" }, post_snapshot_cmd = "unlock" })))
    assert.are.same({ "lock, all 1", "sync 1", "unlock 2" }, order)
  end)

  it("are not made if a command before them fails; those afterwards run", function()
    local world, src = backed_up()
    local order = {}
    world:program("sh", function(argv)
      order[#order + 1] = argv[3]
      return { out = "", err = "no\n", status = argv[3] == "lock" and 1 or 0 }
    end)
    local status, _, err = run(world, { pre_snapshot_cmd = "lock", post_snapshot_cmd = "unlock" })
    assert.is_nil(status)
    assert.are.equal("exit", err.code)
    assert.are.same({ "lock", "unlock" }, order)
    assert.are.equal(1, #helper.snapshots(src, "tank/a"))
  end)
end)

describe("a transfer", function()
  it("with --other-snapshots takes foreign snapshots along, and lets their holds go later", function()
    local world, src, dst = backed_up()
    src:run { "zfs", "snapshot", "tank/a@mine" }
    assert.are.equal(0, (run(world, { other_snapshots = true, no_snapshot = true })))
    assert.are.equal("mine", helper.snapshots(dst, "back/nas/tank/a")[2])
    world:tick(60)
    world:write("tank/a", 100)
    assert.are.equal(0, (run(world, { other_snapshots = true })))
    assert.are.equal("", src:run({ "zfs", "holds", "-H", "tank/a@mine" }).out)
    assert.are.equal(3, #helper.snapshots(dst, "back/nas/tank/a"))
  end)

  it("with --other-snapshots takes the newest own one along, though a foreign one is newer and the target would keep little", function()
    local world, src, dst = backed_up()
    world:host("src"):run { "zfs", "set", "autobackup:nas=parent", "tank/a" }
    assert.are.equal(0, (run(world, { no_send = true })))
    world:tick(86400 * 9)
    src:run { "zfs", "snapshot", "tank/a@foreign" }
    assert.are.equal(0, (run(world, { other_snapshots = true, no_snapshot = true, keep_target = "1h1d" })))
    local there = helper.snapshots(dst, "back/nas/tank/a")
    assert.are.same({ helper.snapshots(src, "tank/a")[2], "foreign" }, { there[#there - 1], there[#there] })
  end)

  it("makes no bookmarks with --no-bookmarks, and no holds on the source with --no-holds", function()
    local world = helper.world()
    run(world, { no_bookmarks = true, no_holds = true })
    local src = world:host "src"
    assert.are.equal("", src:run({ "zfs", "list", "-H", "-t", "bookmark", "-r", "tank" }).out)
    assert.are.equal("", src:run({ "zfs", "holds", "-H", "tank/a@" .. helper.snapshots(src, "tank/a")[1] }).out)
  end)

  it("sends compressed blocks unless --no-zfs-compressed", function()
    local world = backed_up()
    local _, _, _, sent = run(world, { no_zfs_compressed = true })
    assert.is_nil(sent:find " %-c ")
    world:write("tank/a", 100)
    world:tick(60)
    _, _, _, sent = run(world)
    assert.is_truthy(sent:find " %-c ")
  end)

  it("sets --set-properties, and leaves out --filter-properties", function()
    local world, _, dst = backed_up()
    run(world, { set_properties = "readonly=on,org:x=y", filter_properties = { "compression" } })
    assert.matches("on", dst:run({ "zfs", "get", "-H", "-o", "value", "readonly", "back/nas/tank/a" }).out)
  end)

  it("that the network cuts off is tried again with --retries, resuming", function()
    local world, _, dst = backed_up()
    world:fail { verb = "receive", after_bytes = 1000, code = "disconnect" }
    local status, lines, _, sent = run(world, { retries = 1 })
    assert.are.equal(0, status, lines)
    assert.matches("trying again in", lines)
    assert.matches("zfs send %-t", sent)
    assert.are.equal(2, #helper.snapshots(dst, "back/nas/tank/a"))
  end)

  it("with --jobs brings parents before their children", function()
    local world = helper.world()
    local src, dst = world:host "src", world:host "dst"
    for i = 1, 5 do src:run { "zfs", "create", "-p", ("tank/a/c%d/x/y"):format(i) } end
    local status, lines = run(world, { jobs = 4 })
    assert.are.equal(0, status, lines)
    assert.are.equal(1, #helper.snapshots(dst, "back/nas/tank/a/c5/x/y"))
  end)

  it("of a clone whose origin is backed up is one of a clone", function()
    local world, src, dst = backed_up()
    src:run { "zfs", "clone", "tank/a/b@" .. helper.snapshots(src, "tank/a/b")[1], "tank/a/0clone" }
    assert.are.equal(0, (run(world)))
    local origin = dst:run({ "zfs", "get", "-H", "-o", "value", "origin", "back/nas/tank/a/0clone" }).out
    assert.matches("^back/nas/tank/a/b@", origin)
  end)

  it("of a clone is one in full with --clones never", function()
    local world, src, dst = backed_up()
    src:run { "zfs", "clone", "tank/a/b@" .. helper.snapshots(src, "tank/a/b")[1], "tank/a/0clone" }
    assert.are.equal(0, (run(world, { clones = "never" })))
    assert.matches("^%-", dst:run({ "zfs", "get", "-H", "-o", "value", "origin", "back/nas/tank/a/0clone" }).out)
  end)
end)

describe("a target that went on by itself", function()
  local world, dst
  before_each(function()
    local _
    world, _, dst = backed_up()
    dst:run { "zfs", "snapshot", "back/nas/tank/a@mine" }
  end)

  it("loses its newer snapshots with --destroy-incompatible, and goes on", function()
    assert.are.equal(0, (run(world, { destroy_incompatible = true })))
    local names = helper.snapshots(dst, "back/nas/tank/a")
    assert.are.equal(2, #names)
    assert.are_not.equal("mine", names[2])
  end)

  it("keeps a newer snapshot that is held, whatever was asked for", function()
    dst:run { "zfs", "hold", "me", "back/nas/tank/a@mine" }
    assert.are.equal(1, (run(world, { destroy_incompatible = true })))
    assert.are.equal("mine", helper.snapshots(dst, "back/nas/tank/a")[2])
  end)

  it("is rolled back with --on-diverged rollback", function()
    assert.are.equal(0, (run(world, { on_diverged = "rollback" })))
    assert.are.equal(2, #helper.snapshots(dst, "back/nas/tank/a"))
  end)

  it("is kept aside with --on-diverged rename; what lies below it stays in its place", function()
    local status, lines = run(world, { on_diverged = "rename" })
    assert.are.equal(0, status, lines)
    local listed = dst:run({ "zfs", "list", "-H", "-r", "-o", "name", "back/nas/tank" }).out
    assert.matches("back/nas/tank/a%.old%-%d+\n", listed)
    assert.matches("back/nas/tank/a/b\n", listed)
    assert.is_nil(listed:find "old%-%d+/b")
    assert.is_nil(table.concat(helper.snapshots(dst, "back/nas/tank/a"), " "):find "mine")
  end)

  it("is replaced with --on-diverged full", function()
    assert.are.equal(0, (run(world, { on_diverged = "full" })))
    assert.is_nil(dst:run({ "zfs", "list", "-H", "-r", "-o", "name", "back/nas" }).out:find "old")
  end)
end)

describe("a target without a common snapshot", function()
  it("is received over with --force, if it has no snapshots", function()
    local world = helper.world()
    world:host("dst"):run { "zfs", "create", "-p", "back/nas/tank/a" }
    assert.are.equal(1, (run(world)))
    assert.are.equal(0, (run(world, { force = true })))
    assert.are.equal(1, #helper.snapshots(world:host "dst", "back/nas/tank/a"))
  end)
end)

describe("thinning", function()
  it("is left out with --no-thinning", function()
    local world, src = backed_up()
    run(world)
    world:tick(86400 * 90)
    run(world, { no_thinning = true })
    assert.are.equal(2, #helper.snapshots(src, "tank/a"))
  end)

  it("that would destroy more than --max-destroy is refused for that dataset", function()
    local world, src = backed_up()
    run(world)
    world:tick(86400 * 90)
    local status, lines = run(world, { max_destroy = 20, no_snapshot = true })
    assert.is_true(status > 0)
    assert.matches("1 of 2 snapshots of tank/a would be destroyed, more than %-%-max%-destroy 20 allows", lines)
    assert.are.equal(2, #helper.snapshots(src, "tank/a"))
    assert.are.equal(0, (run(world, { max_destroy = 50, no_snapshot = true })))
    assert.are.equal(1, #helper.snapshots(src, "tank/a"))
  end)
end)

describe("a volume", function()
  it("gets those of --set-properties that a volume has", function()
    local world, src, dst = backed_up()
    src:run { "zfs", "create", "-V", "1M", "tank/a/v" }
    local function value(name, property) return dst:run({ "zfs", "get", "-H", "-o", "value", property, name }).out:gsub("\n", "") end
    local status, said = run(world, { set_properties = "canmount=noauto,mountpoint=none,quota=1G,readonly=on" })
    assert.are.same({ 0, "" }, { status, said })
    assert.are.equal("on", (value("back/nas/tank/a/v", "readonly")))
    assert.are.equal("noauto", (value("back/nas/tank/a", "canmount")))
  end)
end)

describe("options that can't be meant", function()
  it("are refused before anything is done", function()
    local world = helper.world()
    for option, values in pairs { tag = { "a b", "a@b", "é" }, hold_format = { ".x", ("x"):rep(250), "a\tb" } } do
      for _, value in ipairs(values) do
        local _, _, err = run(world, { [option] = value })
        assert.are.equal("usage", err.code)
        assert.matches("^%-%-" .. option:gsub("_", "%%-") .. ": '", tostring(err))
      end
    end
    assert.are.same({}, helper.snapshots(world:host "src", "tank/a"))
  end)
end)

describe("options that exclude each other", function()
  it("are refused", function()
    local _, _, err = run(helper.world(), { ignore_replicated = true, allow_empty = true })
    assert.are.equal("usage", err.code)
    assert.matches("%-%-ignore%-replicated and %-%-allow%-empty", tostring(err))
  end)
end)

describe("a dataset whose source is gone", function()
  local world, src, dst
  before_each(function()
    world, src, dst = backed_up()
    world:write("tank/a/b", 100)
    run(world)
    src:run { "zfs", "release", src:run({ "zfs", "holds", "-H", "tank/a/b@" .. helper.snapshots(src, "tank/a/b")[2] }).out:match "\t([^\t]+)\t",
      "tank/a/b@" .. helper.snapshots(src, "tank/a/b")[2] }
    src:run { "zfs", "destroy", "-r", "tank/a/b" }
  end)

  it("ages out on the target, but for the last snapshot", function()
    world:tick(86400 * 90)
    assert.are.equal(0, (run(world)))
    assert.are.equal(1, #helper.snapshots(dst, "back/nas/tank/a/b"))
  end)

  it("is destroyed by --destroy-missing once it is old enough, and not before", function()
    world:tick(86400 * 10)
    assert.are.equal(0, (run(world, { destroy_missing = "20d" })))
    assert.are.equal(2, #helper.snapshots(dst, "back/nas/tank/a/b"))
    world:tick(86400 * 11)
    local status, lines = run(world, { destroy_missing = "20d" })
    assert.are.equal(0, status, lines)
    assert.are.equal(1, dst:run({ "zfs", "list", "back/nas/tank/a/b" }, { check = false }).status)
  end)

  it("stays if somebody else's snapshot is in it", function()
    dst:run { "zfs", "snapshot", "back/nas/tank/a/b@mine" }
    world:tick(86400 * 90)
    assert.are.equal(0, (run(world, { destroy_missing = "20d" })))
    assert.are.equal("mine", helper.snapshots(dst, "back/nas/tank/a/b")[2])
  end)

  it("stays if somebody else holds a snapshot of it, and that is a failure that names them", function()
    dst:run { "zfs", "hold", "me", "back/nas/tank/a/b@" .. helper.snapshots(dst, "back/nas/tank/a/b")[2] }
    world:tick(86400 * 90)
    local status, lines = run(world, { destroy_missing = "20d" })
    assert.are.equal(1, status)
    assert.matches("held by 'me'", lines)
  end)

  it("is not taken for missing if it came from another source", function()
    world:host("other"):run { "zpool", "create", "tank" }
    local other = world:host "other"
    other:run { "zfs", "create", "tank/z" }
    other:run { "zfs", "set", "autobackup:nas=true", "tank/z" }
    world:tick(86400 * 90)
    local status, lines = run(world, { ssh_source = "other", destroy_missing = "1d" })
    assert.are.equal(0, status, lines)
    assert.are.equal(2, #helper.snapshots(dst, "back/nas/tank/a/b"))
  end)

  it("is not taken for missing if it was only deselected", function()
    src:run { "zfs", "set", "autobackup:nas=false", "tank/a" }
    src:run { "zfs", "create", "tank/c" }
    src:run { "zfs", "set", "autobackup:nas=true", "tank/c" }
    world:tick(86400 * 90)
    assert.are.equal(0, (run(world, { destroy_missing = "1d" })))
    assert.are.equal(2, #helper.snapshots(dst, "back/nas/tank/a"))
  end)
end)

describe("a dataset that was renamed on the source", function()
  local world, src, dst
  before_each(function()
    world, src, dst = backed_up()
    src:run { "zfs", "rename", "tank/a/b", "tank/a/c" }
  end)

  it("is a failure that says what to type, and is not sent anew", function()
    local status, lines = run(world)
    assert.are.equal(1, status)
    assert.matches("renamed on the source.*back/nas/tank/a/b", lines)
    assert.are.equal(1, dst:run({ "zfs", "list", "back/nas/tank/a/c" }, { check = false }).status)
  end)

  it("is followed with --follow-renames", function()
    world:write("tank/a/c", 100)
    local status, lines, _, sent = run(world, { follow_renames = true })
    assert.are.equal(0, status, lines)
    assert.are.equal(2, #helper.snapshots(dst, "back/nas/tank/a/c"))
    assert.matches(" %-i tank/a/c@", sent)
  end)

  it("with children is followed with them", function()
    src:run { "zfs", "rename", "tank/a", "tank/n" }
    local status, lines = run(world, { follow_renames = true })
    assert.are.equal(0, status, lines)
    assert.are.equal(2, #helper.snapshots(dst, "back/nas/tank/n"))
    assert.are.equal(1, #helper.snapshots(dst, "back/nas/tank/n/c"))
  end)
end)

describe("filters", function()
  it("stand in the stream in their order, and are undone in reverse", function()
    local world = helper.world()
    local before = #world.commands
    world:program("zstd", function(_, input) return { out = "", err = "", status = 0, stream = input } end)
    local status, lines = run(world, { compress = "zstd-fast", send_pipe = { "one", "two" }, recv_pipe = { "undo one", "undo two" } })
    assert.are.equal(0, status, lines)
    local seen = {}
    for i = before + 1, #world.commands do
      local command = world.commands[i]
      local line = command.host .. " " .. table.concat(command.argv, " ")
      if line:find "sh %-c" or line:find "zstd %-" and not line:find "version" then seen[#seen + 1] = line end
    end
    assert.are.same({
      "src sh -c one", "src sh -c two", "src zstd -T0 -3 -qc", "dst zstd -dqc", "dst sh -c undo two", "dst sh -c undo one",
    }, table.move(seen, 1, 6, 1, {}))
  end)

  it("of a program that is not there are left out with a warning", function()
    local world = helper.world()
    local status, lines = run(world, { compress = "lz4" })
    assert.are.equal(0, status)
    assert.matches("warn: src has no lz4: sending uncompressed", lines)
  end)
end)

describe("--explain", function()
  it("tells why, and changes nothing", function()
    local world, src, dst = backed_up()
    run(world)
    world:tick(86400 * 90)
    local before = { helper.snapshots(src, "tank/a"), helper.snapshots(dst, "back/nas/tank/a") }
    local status, lines = run(world, { explain = "", test = true })
    assert.are.equal(0, status)
    assert.matches("tank/a: selected %(direct selection%)", lines)
    assert.matches("tank/a/b: selected %(inherited selection%)", lines)
    assert.matches("tank/a@nas%-%d+ goes: no rule keeps it", lines)
    assert.matches("tank/a@nas%-%d+ stays: the newest", lines)
    assert.are.same(before, { helper.snapshots(src, "tank/a"), helper.snapshots(dst, "back/nas/tank/a") })
  end)

  it("tells of one snapshot only", function()
    local world, src = backed_up()
    local _, lines = run(world, { explain = "tank/a@" .. helper.snapshots(src, "tank/a")[1], test = true })
    assert.is_nil(lines:find("tank/a/b@", 1, true))
    assert.matches("tank/a@nas%-%d+ stays", lines)
  end)
end)

describe("a report that can't be written", function()
  it("is a failure of the run, and hides no other one", function()
    local world, _, dst = backed_up()
    local status, said = run(world, { json = "/nowhere/x.json" })
    assert.are.equal(1, status)
    assert.matches("report: %-%-json: /nowhere/x.json", said)
    assert.are.equal(2, #helper.snapshots(dst, "back/nas/tank/a"))
    world:fail { host = "dst", code = "connect", message = "no route", times = 99 }
    local _, _, err = run(world, { json = "/nowhere/x.json" })
    assert.matches("no route", tostring(err))
  end)
end)

describe("the report", function()
  local report = require "moonpool.report"

  it("tells of each dataset its base, snapshots, bytes and lag, and of failures code and hint", function()
    local world, _, dst = backed_up()
    dst:run { "zfs", "snapshot", "back/nas/tank/a@mine" }
    world:write("tank/a/b", 3000)
    local made
    local reporting = require("policies.autobackup"):extend { name = "reporting", after = function(_, r, err) made = report.make(r, err) end }
    assert.are.equal(1, (helper.backup(world, {}, reporting)))
    assert.are.same({ "failed", 1, 2 }, { made.result, made.failures, #made.datasets })
    local a, b = made.datasets[1], made.datasets[2]
    assert.are.same({ "tank/a", "failed", "diverged" }, { a.name, a.result, a.error.code })
    assert.matches("ignore%-new", a.error.hint)
    assert.are.same({ "sent", "@nas-20261123000000", { "nas-20261124000000" }, 0 }, { b.result, b.base, { b.snapshots[1] }, b.lag_seconds })
    assert.is_true(b.bytes > 3000)
    assert.matches('"lag_seconds": ?86400', report.json(made))
    assert.matches('moonpool_dataset_lag_seconds{backup="nas",source="src",target="dst",dataset="tank/a"} 86400\n', report.metrics(made))
    assert.matches("# EOF\n$", report.metrics(made))
  end)
end)
