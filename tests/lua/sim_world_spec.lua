-- The world of the simulator: hosts, time, faults and kills.

local errors = require "moonpool.error"
local sim = require "moonpool.sim"
local unsigned = require "moonpool.sim.properties".unsigned
local zfs = require "moonpool.zfs"

local world, src, dst

local function words(text)
  local argv = {}
  for word in text:gmatch "%S+" do argv[#argv + 1] = word end
  return argv
end

local function run(host, text, opts) return host:run(words(text), opts) end

local function pipe(send, receive, from, to)
  from, to = from or src, to or dst
  return from:pipe { { host = from, argv = words(send) }, { host = to, argv = words(receive) } }
end

local function caught(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function names(host) return run(host, "zfs list -H -t all -o name").out end

before_each(function()
  world = sim.new { now = 1000000 }
  src, dst = world:host "src", world:host "dst"
  run(src, "zpool create tank")
  run(dst, "zpool create back")
  run(src, "zfs create tank/a")
  world:write("tank/a", 1000000)
  run(src, "zfs snapshot tank/a@1")
end)

describe("a host", function()
  it("is one of the machine of that name, with pools of its own", function()
    assert.are.equal("tank/a", run(world:host "src", "zfs list -H -o name tank/a").out:match "%S+")
    assert.matches("dataset does not exist", caught(run, dst, "zfs list tank/a").stderr)
  end)

  it("raises what a command met", function()
    local err = caught(run, src, "zfs destroy tank/nope")
    assert.is_true(errors.is(err, "exit"))
    assert.are.equal(1, err.status)
    assert.are.equal("src", err.host)
    assert.are.same({ "zfs", "destroy", "tank/nope" }, err.argv)
    assert.are.equal("cannot open 'tank/nope': dataset does not exist\n", err.stderr)
  end)

  it("gives what a command met as a result if asked to", function()
    local result = run(src, "zfs list tank/nope", { check = false })
    assert.are.equal(1, result.status)
    assert.is_true(errors.is(result.error, "exit"))
  end)

  it("has no programs but those of the test", function()
    assert.is_true(errors.is(caught(run, src, "frobnicate"), "spawn"))
    world:program("frobnicate", function(argv) return { out = argv[2] .. "\n", err = "", status = 0 } end)
    assert.are.equal("now\n", run(src, "frobnicate now").out)
  end)

  it("remembers what ran on it", function()
    src.commands = {}
    run(src, "zfs list tank/nope", { check = false })
    assert.are.same({ { "zfs", "list", "tank/nope" } }, src.commands)
  end)

  it("is of no use when it is closed", function()
    do
      local scoped <close> = world:host "src"
      run(scoped, "zfs list")
      dst = scoped
    end
    assert.is_true(errors.is(caught(run, dst, "zfs list"), "invalid"))
  end)

  it("lists into a catalog", function()
    run(src, "zfs snapshot tank/a@2")
    run(src, "zfs bookmark tank/a@1 tank/a#b")
    local argv = zfs.list_argv { types = { "all" }, columns = { "name", "guid", "userrefs", "type" }, datasets = { "tank" }, recursive = true }
    local catalog = src:list(argv, "uus")
    assert.are.equal(2, catalog:datasets())
    assert.are.equal("tank/a", catalog:name(2))
    assert.are.equal(2, catalog:find "tank/a")
    assert.is_nil(catalog:find "tank/b")
    local rows = catalog:rows(2)
    assert.are.same({ "", "@", "@", "#" }, { rows[1].kind, rows[2].kind, rows[3].kind, rows[4].kind })
    assert.are.same({ "", "1", "2", "b" }, { rows[1].name, rows[2].name, rows[3].name, rows[4].name })
    assert.are.equal("integer", math.type(rows[2][1]))
    assert.are.equal(rows[2][1], rows[4][1])
    assert.are.same({ 0, "snapshot" }, { rows[2][2], rows[2][3] })
  end)

  it("holds and releases, what is done already being no failure", function()
    src:hold("keep", { "tank/a@1" })
    src:hold("keep", { "tank/a@1" })
    assert.are.equal("1\n", run(src, "zfs get -H -o value userrefs tank/a@1").out)
    src:release("keep", { "tank/a@1" })
    src:release("keep", { "tank/a@1" })
    assert.is_true(errors.is(caught(src.hold, src, "keep", { "tank/a@1", "tank/a@nope" }), "exit"))
  end)
end)

describe("a dry host", function()
  it("runs what reads and refuses the rest, changing nothing", function()
    local dry = world:host("src", { dry = true })
    local before = names(src)
    assert.matches("tank/a@1", run(dry, "zfs list -t snapshot").out)
    for _, command in ipairs { "zfs destroy -r tank/a", "zfs snapshot tank/a@x", "zpool destroy tank", "sh -c true", "zfs set a:b=c tank/a" } do
      assert.is_true(run(dry, command).dry)
    end
    dry:hold("keep", { "tank/a@1" })
    assert.are.equal(before, names(src))
    assert.are.equal(6, #dry.refused)
    assert.are.equal(1, #dry.commands)
  end)

  it("runs what only says what it would do", function()
    local dry = world:host("src", { dry = true })
    assert.are.equal("would destroy tank/a@1\nwould reclaim 0B\n", run(dry, "zfs destroy -nv tank/a@1").out)
    assert.matches("size\t%d+", run(dry, "zfs send -nvP tank/a@1").out)
  end)

  it("refuses a pipe into it", function()
    local dry = world:host("dst", { dry = true })
    assert.is_true(pipe("zfs send tank/a@1", "zfs receive back/a", src, dry).dry)
    assert.is_true(errors.is(caught(run, dst, "zfs list back/a"), "exit"))
  end)
end)

describe("time", function()
  it("passes when the test says so", function()
    world:tick(3600)
    run(src, "zfs snapshot tank/a@later")
    assert.are.equal("1000000\n1003600\n", run(src, "zfs get -Hp -o value creation tank/a@1 tank/a@later").out)
  end)

  it("gives all snapshots of one command one transaction group, and later ones a later one", function()
    run(src, "zfs create tank/b")
    run(src, "zfs snapshot tank/a@x tank/b@x")
    run(src, "zfs snapshot tank/a@y")
    local x1, x2, y = run(src, "zfs list -Hp -o createtxg tank/a@x tank/a@y tank/b@x").out:match "(%d+)\n(%d+)\n(%d+)"
    assert.are.equal(x1, y)
    assert.is_true(tonumber(x2) > tonumber(x1))
  end)
end)

describe("space", function()
  local function number(host, property, name)
    return math.tointeger(tonumber((run(host, ("zfs get -Hp -o value %s %s"):format(property, name)).out)))
  end

  it("is written since the newest snapshot", function()
    assert.are.equal(0, number(src, "written", "tank/a"))
    world:write("tank/a", 5000)
    assert.are.equal(5000, number(src, "written", "tank/a"))
    assert.are.equal(5000, number(src, "written@1", "tank/a"))
  end)

  it("that is replaced is used by the snapshots that refer to it, until they go", function()
    run(src, "zfs snapshot tank/a@2")
    local before = number(src, "used", "tank/a")
    world:write("tank/a", 300000, { replaced = 300000 })
    assert.are.equal(before + 300000, number(src, "used", "tank/a"))
    assert.are.equal(300000, number(src, "usedbysnapshots", "tank/a"))
    assert.are.equal(0, number(src, "used", "tank/a@1"))
    run(src, "zfs destroy tank/a@2")
    assert.are.equal(300000, number(src, "used", "tank/a@1"))
    run(src, "zfs destroy tank/a@1")
    assert.are.equal(before, number(src, "used", "tank/a"))
  end)

  it("is the same on the target", function()
    world:write("tank/a", 300000, { replaced = 200000 })
    run(src, "zfs snapshot tank/a@2")
    pipe("zfs send tank/a@1", "zfs receive back/a")
    pipe("zfs send -i @1 tank/a@2", "zfs receive back/a")
    for _, property in ipairs { "referenced", "written" } do
      assert.are.equal(number(src, property, "tank/a@2"), number(dst, property, "back/a@2"))
    end
  end)
end)

describe("a pipe", function()
  it("moves a snapshot with its GUID and tells how many bytes", function()
    local result = pipe("zfs send tank/a@1", "zfs receive -u back/a")
    assert.is_true(result.bytes > 1000000)
    assert.are.equal(run(src, "zfs get -H -o value guid tank/a@1").out, run(dst, "zfs get -H -o value guid back/a@1").out)
  end)

  it("goes through programs that the world does not know", function()
    src:pipe {
      { host = src, argv = words "zfs send tank/a@1" }, { host = src, argv = { "zstd" } }, { host = dst, argv = words "zfs receive back/a" },
    }
    assert.matches("back/a@1", names(dst))
  end)

  it("says which stage failed", function()
    local err = caught(pipe, "zfs send tank/a@nope", "zfs receive back/a")
    assert.are.same({ 1, "src" }, { err.stage, err.host })
    pipe("zfs send tank/a@1", "zfs receive back/a")
    err = caught(pipe, "zfs send tank/a@1", "zfs receive back/a")
    assert.are.same({ 2, "dst" }, { err.stage, err.host })
  end)
end)

describe("a fault", function()
  it("meets the commands that it names, as often as it says", function()
    world:fail { verb = "destroy", dataset = "tank/a", message = "no", times = 2 }
    run(src, "zfs create tank/b")
    run(src, "zfs destroy tank/b")
    for _ = 1, 2 do assert.are.equal("no\n", caught(run, src, "zfs destroy tank/a@1").stderr) end
    run(src, "zfs destroy tank/a@1")
  end)

  it("has the code that it is given, and is of the host that it is given", function()
    world:fail { host = "dst", code = "connect", message = "refused" }
    run(src, "zfs list")
    assert.is_true(errors.is(caught(run, dst, "zfs list"), "connect"))
  end)

  it("after the command leaves what the command did", function()
    world:fail { verb = "snapshot", at = "after", code = "disconnect" }
    assert.is_true(errors.is(caught(run, src, "zfs snapshot tank/a@2"), "disconnect"))
    assert.matches("tank/a@2", names(src))
  end)

  it("that cuts a stream leaves nothing without -s", function()
    world:fail { verb = "receive", after_bytes = 500000, code = "disconnect" }
    local err = caught(pipe, "zfs send tank/a@1", "zfs receive back/a")
    assert.is_true(errors.is(err, "disconnect"))
    assert.are.equal(2, err.stage)
    assert.are.equal("back\n", names(dst))
  end)

  it("that cuts a stream leaves a token with -s, from which it goes on", function()
    world:fail { verb = "receive", after_bytes = 5e5, code = "disconnect" }
    caught(pipe, "zfs send tank/a@1", "zfs receive -s back/a")
    local token = dst:resume_token "back/a"
    local fields = zfs.parse_token(run(src, "zfs send -nvt " .. token).out)
    assert.are.equal("tank/a@1", fields.toname)
    assert.are.equal(run(src, "zfs get -Hp -o value guid tank/a@1").out, unsigned(fields.toguid) .. "\n")
    assert.is_true(fields.bytes > 400000 and fields.bytes <= 500000)
    local rest = pipe("zfs send -t " .. token, "zfs receive -s back/a")
    assert.is_true(rest.bytes < 600000)
    assert.is_nil(dst:resume_token "back/a")
    assert.matches("back/a@1", names(dst))
  end)

  it("of a sender that dies is the sender's, and the receiver keeps what came", function()
    world:fail { verb = "send", after_bytes = 500000, message = "warning: cannot send 'tank/a@1': Input/output error" }
    local err = caught(pipe, "zfs send tank/a@1", "zfs receive -s back/a")
    assert.are.equal(1, err.stage)
    assert.is_string(dst:resume_token "back/a")
  end)

  it("with a field that there is not is refused", function()
    assert.is_true(errors.is(caught(world.fail, world, { verbs = "send" }), "invalid"))
  end)
end)

describe("a kill", function()
  local function program()
    local host <close> = world:host "src"
    run(host, "zfs snapshot tank/a@k1")
    run(host, "zfs snapshot tank/a@k2")
    pcall(run, host, "zfs list")
    run(host, "zfs snapshot tank/a@k3")
  end

  local function made()
    local list = {}
    for name in names(world:host "src"):gmatch "@(k%d)" do list[#list + 1] = name end
    return table.concat(list, " ")
  end

  it("before a command leaves what was done until then", function()
    world:kill_at(2)
    assert.is_true(errors.is(caught(program), "killed"))
    assert.are.equal("k1", made())
  end)

  it("after a command leaves what it did too", function()
    world:kill_at(2, { after = true })
    assert.is_true(errors.is(caught(program), "killed"))
    assert.are.equal("k1 k2", made())
  end)

  it("can't be caught and gone on from", function()
    world:kill_at(3)
    assert.is_true(errors.is(caught(program), "killed"))
    assert.are.equal("k1 k2", made())
  end)

  it("that is not reached does nothing", function()
    world:kill_at(100)
    program()
    assert.are.equal("k1 k2 k3", made())
  end)

  it("in the middle of a pipe leaves a token", function()
    world:kill_at(1, { after_bytes = 500000 })
    assert.is_true(errors.is(caught(pipe, "zfs send tank/a@1", "zfs receive -s back/a"), "killed"))
    assert.is_string(world:host "dst":resume_token "back/a")
  end)

  it("after a pipe leaves what it brought", function()
    world:kill_at(1, { after = true })
    caught(pipe, "zfs send tank/a@1", "zfs receive -s back/a")
    assert.matches("back/a@1", names(world:host "dst"))
  end)

  it("as a fault meets the command that it names", function()
    world:fail { verb = "snapshot", dataset = "tank/a", at = "after", code = "killed" }
    assert.is_true(errors.is(caught(program), "killed"))
    assert.are.equal("k1", made())
  end)
end)

describe("destroying a tree", function()
  it("stops at what is held, and has destroyed the rest by then", function()
    for _, name in ipairs { "b", "c", "b/d" } do run(src, "zfs create tank/a/" .. name) end
    run(src, "zfs snapshot -r tank/a@2")
    run(src, "zfs hold keep tank/a/b@2")
    assert.matches("tank/a/b@2: it's being held", caught(run, src, "zfs destroy -r tank/a").stderr)
    assert.are.equal("tank\ntank/a\ntank/a/b\ntank/a/b@2\n", names(src))
  end)
end)

describe("many snapshots", function()
  it("are listed in little time", function()
    for i = 1, 10 do run(src, "zfs create tank/d" .. i) end
    for i = 1, 1000 do
      world:write("tank/d1", 1000)
      run(src, "zfs snapshot -r tank@s" .. i)
    end
    local started = os.clock()
    local out = run(src, "zfs list -Hp -t snapshot -o name,guid,createtxg,creation,userrefs").out
    local seconds = os.clock() - started
    assert.are.equal(12001, select(2, out:gsub("\n", "")))
    -- On an idle machine 0.05 s; the limit is there to notice what grows with the square.
    assert.is_true(seconds < 1, ("took %.3f s"):format(seconds))
  end)
end)

describe("a channel program", function()
  local function program(host, text) return host:run(zfs.program_argv "tank", { input = text, check = false }) end
  local function listed(host)
    return (host:run({ "zfs", "list", "-H", "-t", "snapshot,bookmark", "-o", "name", "-r", "tank" }).out:gsub("\n", " "))
  end
  local function machine()
    local new = sim.new()
    new:pool "tank"
    local host = new:host "local"
    host:run { "zfs", "create", "tank/a" }
    return host
  end

  it("takes all snapshots, or none", function()
    local host = machine()
    assert.are.equal(0, program(host, zfs.snapshot_program { "tank@x", "tank/a@x" }).status)
    assert.are.equal("tank@x tank/a@x ", listed(host))
    local failed = program(host, zfs.snapshot_program { "tank@y", "tank/a@x" })
    assert.are.equal(1, failed.status)
    assert.matches("tank/a@x: error 17", failed.err)
    assert.matches("error 2", program(host, zfs.snapshot_program { "tank@y", "tank/no@y" }).err)
    assert.are.equal("tank@x tank/a@x ", listed(host))
  end)

  it("makes all bookmarks, or none", function()
    local host = machine()
    host:run { "zfs", "snapshot", "tank@x", "tank/a@x" }
    assert.are.equal(0, program(host, zfs.bookmark_program { { "tank@x", "tank#m" }, { "tank/a@x", "tank/a#m" } }).status)
    assert.are.equal("tank@x tank#m tank/a@x tank/a#m ", listed(host))
    assert.matches("tank@x: error 17", program(host, zfs.bookmark_program { { "tank/a@x", "tank/a#n" }, { "tank@x", "tank#m" } }).err)
    assert.matches("tank@y: error 2", program(host, zfs.bookmark_program { { "tank/a@x", "tank/a#n" }, { "tank@y", "tank#n" } }).err)
    assert.matches("error 22", program(host, zfs.bookmark_program { { "tank/a@x", "tank#n" } }).err)
    assert.are.equal("tank@x tank#m tank/a@x tank/a#m ", listed(host))
  end)

  it("that is no program, or of no pool, fails", function()
    local host = machine()
    assert.matches("Channel program execution failed", program(host, "for").err)
    assert.matches("no such pool", host:run({ "zfs", "program", "none", "-" }, { input = "", check = false }).err)
  end)
end)
