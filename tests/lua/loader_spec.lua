-- Where policies are found, and which are refused.

local core = require "moonpool.core"
local errors = require "moonpool.error"
local host = require "moonpool.host"
local loader = require "moonpool.loader"
local lock = require "moonpool.lock"

local POLICY = [[return require "moonpool.policy".new { name = "%s", summary = "%s", run = function() return 7 end }]]

describe("the loader", function()
  local here, dir
  before_each(function()
    here = host.open()
    dir = here:run({ "mktemp", "-d" }).out:gsub("\n", "")
    here:run { "mkdir", "-p", dir .. "/policies" }
    loader.add(dir)
  end)
  after_each(function()
    here:run { "rm", "-rf", dir }
    here:close()
  end)

  local function write(name, text)
    assert(core.write_file(dir .. "/" .. name, text))
    here:run { "chmod", "644", dir .. "/" .. name }
  end

  local function refusal(name)
    local ok, err = pcall(loader.policy, name)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "policy"), tostring(err))
    assert.is_nil(tostring(err):find "\n")
    return tostring(err)
  end

  it("lets a hook yield in coroutines of its own, and not out of the run", function()
    write("yields.lua", [[
      local each = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
      return require "policies.autobackup":extend { name = "yields", keep = function()
        each()
        coroutine.yield()
      end }]])
    local status, lines = require "helper".backup(require "helper".world(), {}, loader.policy "yields")
    assert.are.equal(2, status)
    assert.matches("tank/a: .*/yields.lua:4: coroutine.yield: nothing would go on with it", lines[1])
  end)

  it("finds a policy by its name, and by its path", function()
    write("mine1.lua", POLICY:format("mine", "first"))
    assert.are.equal("first", loader.policy("mine1").summary)
    assert.are.equal("first", loader.policy(dir .. "/mine1.lua").summary)
  end)

  it("finds the stock policy inside the program", function() assert.are.equal("autobackup", loader.policy("autobackup").name) end)

  it("does not search the current directory", function()
    write("mine2.lua", POLICY:format("mine", "first"))
    assert.matches("no policy 'mine9'", refusal "mine9")
    assert.matches("did you mean 'autobackup'", refusal "autobakup")
  end)

  it("names file and line of a syntax error", function()
    write("broken.lua", "return {\n  keep = = 1\n}")
    assert.matches("broken%.lua:2:", refusal "broken")
  end)

  it("names file and line of an error at the top", function()
    write("raises.lua", "local x = nil\nreturn x.y")
    assert.matches("raises%.lua:2:", refusal "raises")
  end)

  it("refuses a file that returns no policy", function()
    write("number.lua", "return 1")
    assert.matches("number%.lua: returns number, not a policy", refusal "number")
  end)

  it("takes a broken file before a stock one as an error, and does not fall back", function()
    write("policies/autobackup.lua", "return {")
    assert.matches("policies/autobackup%.lua", refusal "autobackup")
  end)

  it("refuses as root a file that others can write", function()
    if core.uid() ~= 0 then pending "for root only" end
    write("open.lua", POLICY:format("open", ""))
    here:run { "chmod", "666", dir .. "/open.lua" }
    assert.matches("open%.lua: refused, as others than root can write it", refusal "open")
  end)

  it("refuses as root a file in a directory that others can write", function()
    if core.uid() ~= 0 then pending "for root only" end
    write("policies/there.lua", POLICY:format("there", ""))
    here:run { "chmod", "777", dir .. "/policies" }
    assert.matches("refused, as others than root can write .*/policies", refusal(dir .. "/policies/there.lua"))
  end)

  it("refuses compiled Lua", function()
    write("compiled.lua", string.dump(function() end))
    assert.matches("compiled Lua", refusal "compiled")
  end)

  it("lists what it finds", function()
    write("mine3.lua", POLICY:format("mine", "first"))
    local found = {}
    for _, p in ipairs(loader.list()) do found[p.name] = p.path end
    assert.are.equal(dir .. "/mine3.lua", found.mine3)
    assert.matches("autobackup%.lua$", found.autobackup)
  end)
end)

describe("a lock", function()
  it("can be taken once, until its scope ends", function()
    local key = "spec " .. core.monotonic()
    do
      local _ <close> = lock.acquire(key)
      local ok, err = pcall(lock.acquire, key)
      assert.is_false(ok)
      assert.are.equal("locked", err.code)
    end
    local again <close> = lock.acquire(key)
    assert.is_truthy(again)
  end)

  it("of a very long name is told from others", function()
    local key = ("x"):rep(500) .. core.monotonic()
    local _ <close> = lock.acquire(key .. "a")
    local other <close> = lock.acquire(key .. "b")
    assert.is_truthy(other)
  end)
end)
