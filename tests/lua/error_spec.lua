-- Errors as one line, suggestions, and names that do not exist.

local errors = require "moonpool.error"
local strict = require "moonpool.strict"
local suggest = require "moonpool.suggest"

describe("what zfs says before it tells how it is called", function()
  it("is what is shown", function()
    local err = errors.new { code = "exit", message = "zfs get: exit 2", stderr = "bad property list: invalid property 'x'\nusage:\n\tget ...\n    SMB SID\n" }
    assert.are.equal("zfs get: exit 2: bad property list: invalid property 'x'", tostring(err))
  end)
end)

describe("an error", function()
  it("as text is host, message and the last line that the program said", function()
    local e = errors.new { code = "exit", host = "nas", message = "zfs receive: exit 1", stderr = "one\ncannot receive: out of space\n" }
    assert.are.equal("nas: zfs receive: exit 1: cannot receive: out of space", tostring(e))
  end)

  it("that was caught as a text is raised again as one with that text", function()
    local ok, caught = pcall(error, "nas.lua:1: attempt to index a nil value", 0)
    local _, again = pcall(errors.raise, caught)
    assert.is_false(ok)
    assert.are.same({ "internal", "nas.lua:1: attempt to index a nil value" }, { again.code, tostring(again) })
  end)

  it("says nothing twice", function()
    local e = errors.new { code = "exit", host = "nas", message = "nas: zfs receive: exit 1: out of space", stderr = "out of space\n" }
    assert.are.equal("nas: zfs receive: exit 1: out of space", tostring(e))
  end)

  it("has a hint for what zfs is known to say", function()
    local e = errors.new { code = "exit", message = "x", stderr = "cannot receive incremental stream: destination back/a has been modified\n" }
    assert.matches("%(.*%-%-rollback.*%)$", errors.line(e))
  end)

  it("keeps a hint of its own", function()
    assert.are.equal("x (do y)", errors.line(errors.new { code = "usage", message = "x", hint = "do y" }))
  end)

  it("is told from other values", function()
    assert.is_true(errors.is(errors.new { code = "usage", message = "x" }, "usage"))
    assert.is_false(errors.is(errors.new { code = "usage", message = "x" }, "exit"))
    assert.is_false(errors.is({ code = "usage" }))
    assert.are.equal("internal", errors.wrap("oh").code)
  end)
end)

describe("a suggestion", function()
  it("is the nearest word", function()
    assert.are.equal("keep", suggest.nearest("kep", { "select", "keep", "base" }))
    assert.are.equal("keep_source", suggest.nearest("keep_suorce", { "keep_target", "keep_source" }))
  end)

  it("is none if nothing is near", function() assert.are.equal("", suggest.text("frobnicate", { "keep", "base" })) end)
end)

describe("the globals of a policy", function()
  local function run(text) return pcall(assert(load(text, "@p.lua", "t", strict.environment()))) end

  it("are those of Lua", function() assert.is_true((run "return string.format('%d', tonumber('1'))")) end)

  it("that do not exist are refused where they are read, with the nearest", function()
    local ok, err = run "local x = 1\nreturn tostrin(x)"
    assert.is_false(ok)
    assert.matches("^p%.lua:2: no global 'tostrin', did you mean 'tostring'", tostring(err))
  end)

  it("can't be made", function()
    local ok, err = run "kept = {}"
    assert.is_false(ok)
    assert.matches("^p%.lua:1: 'kept' is not declared: write `local kept`", tostring(err))
  end)
end)
