-- Hosts: real commands of this machine, through the core.

local errors = require "moonpool.error"
local host = require "moonpool.host"
local log = require "moonpool.log"

-- What is logged while a function runs.
local function said(level, fn)
  local lines, sink, before = {}, log.sink, log.level
  log.sink, log.level = function(_, line) lines[#lines + 1] = line end, level
  local ok, err = pcall(fn)
  log.sink, log.level = sink, before
  assert(ok, err)
  return table.concat(lines, "\n")
end

describe("this machine", function()
  local here
  before_each(function() here = host.open() end)
  after_each(function() here:close() end)

  it("runs commands with input, and gives output, errors and status", function()
    local result = here:run({ "sh", "-c", "cat; echo oops >&2; exit 3" }, { input = "text", check = false })
    assert.are.same({ "text", "oops\n", 3 }, { result.out, result.err, result.status })
    assert.are.equal("exit", result.error.code)
  end)

  it("raises what failed, as one line with the command and what it said last", function()
    local ok, err = pcall(here.run, here, { "sh", "-c", "echo a >&2; echo b >&2; exit 3" })
    assert.is_false(ok)
    assert.are.equal("local: sh: exit 3: b", tostring(err))
    assert.are.same({ "exit", 3, "local" }, { err.code, err.status, err.host })
  end)

  it("names a program that is not there", function()
    local ok, err = pcall(here.run, here, { "no-such-program" })
    assert.is_false(ok)
    assert.are.equal("spawn", err.code)
    assert.matches("no%-such%-program", tostring(err))
  end)

  it("ends a command when its time is over", function()
    local ok, err = pcall(here.run, here, { "sleep", "30" }, { timeout = 0.05 })
    assert.is_false(ok)
    assert.are.equal("timeout", err.code)
  end)

  it("pipes programs, and counts bytes", function()
    local result = here:pipe { { host = here, argv = { "printf", "12345" } }, { host = here, argv = { "sh", "-c", "cat >/dev/null" } } }
    assert.are.equal(5, result.bytes)
  end)

  it("takes a number or a throttle as a pipe's rate, and nothing else", function()
    local stages = { { host = here, argv = { "head", "-c", "200000", "/dev/zero" } }, { host = here, argv = { "sh", "-c", "cat >/dev/null" } } }
    local throttle = require "moonpool".throttle(400000)
    for _, rate in ipairs { 400000, throttle } do assert.is_true(here:pipe(stages, { rate = rate }).seconds > 0.15) end
    local ok, err = pcall(here.pipe, here, stages, { rate = "fast" })
    assert.are.same({ false, "usage" }, { ok, err.code })
  end)

  it("blames the stage of a pipe that failed", function()
    local ok, err = pcall(here.pipe, here, { { host = here, argv = { "printf", "12345" } }, { host = here, argv = { "sh", "-c", "cat >/dev/null; exit 9" } } })
    assert.is_false(ok)
    assert.are.same({ 2, 9 }, { err.stage, err.status })
  end)

  it("lists into a catalog", function()
    local catalog = here:list({ "printf", "tank\\t1\\ntank@a\\t2\\n" }, "u")
    assert.are.equal(1, catalog:datasets())
    assert.are.equal("tank", catalog:name(1))
    assert.are.same({ 1, 2 }, { catalog:rows(1)[1][1], catalog:rows(1)[2][1] })
  end)

  it("shows with --debug each command as it can be typed, its host and its status", function()
    local text = said("debug", function() here:run({ "sh", "-c", "exit 4" }, { check = false }) end)
    assert.matches("^sh %-c 'exit 4'\n# %[local%] exit 4 after", text)
    assert.matches("%[local%] exit 4 after %d", text)
  end)

  it("refuses options that do not exist, with the nearest", function()
    local ok, err = pcall(here.run, here, { "true" }, { chek = false })
    assert.is_false(ok)
    assert.matches("run: no option 'chek', did you mean 'check'", tostring(err))
  end)

  it("refuses a destination that can be no host", function()
    local ok, err = pcall(host.open, "-oProxyCommand=x")
    assert.is_false(ok)
    assert.is_true(errors.is(err, "usage"))
  end)
end)

describe("what debug shows of a command", function()
  it("can be typed as it is", function()
    local here <close> = host.open()
    local argv = { "printf", "%s\n", "it's a b", "$HOME" }
    local text = said("debug", function() here:run(argv) end)
    assert.are.equal("it's a b\n$HOME\n", here:run({ "sh", "-c", text:match "^[^\n]*" }).out)
  end)

  it("on another host is what ssh runs there", function()
    local there <close> = host.open("root@nas.invalid", { ssh_config = "/dev/null", ssh_program = "false" })
    local text = said("debug", function() there:run({ "zfs", "list", "tank/a b" }, { check = false }) end)
    assert.are.equal([[false -F /dev/null root@nas.invalid 'zfs list '\''tank/a b'\''']], (text:match "^[^\n]*"))
  end)
end)

describe("a dry host", function()
  it("runs what reads, and shows what writes", function()
    local dry <close> = host.open(nil, { dry = true })
    assert.are.equal("x\n", dry:run({ "echo", "x" }).out)
    local text = said("verbose", function() assert.is_true(dry:run({ "zfs", "destroy", "tank/a b@x" }).dry) end)
    assert.are.equal("would run: zfs destroy 'tank/a b@x'", text)
  end)

  it("refuses a pipe of which one end writes", function()
    local dry <close> = host.open(nil, { dry = true })
    local text = said("verbose", function()
      assert.is_true(dry:pipe({ { host = dry, argv = { "zfs", "send", "a@x" } }, { host = dry, argv = { "zfs", "receive", "b" } } }).dry)
    end)
    assert.are.equal("would run: zfs send a@x | zfs receive b", text)
  end)
end)
