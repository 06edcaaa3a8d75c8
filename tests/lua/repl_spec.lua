-- The interactive loop, with lines from a table.

local repl = require "moonpool.repl"

-- Runs lines; false is an interrupt at the prompt. @return what was shown, what was complained about, prompts
local function session(lines, live)
  local shown, complaints, prompts = {}, {}, {}
  local at = 0
  local status = repl.run {
    live = live,
    read = function(prompt)
      at = at + 1
      prompts[#prompts + 1] = prompt
      return lines[at]
    end,
    write = function(text) shown[#shown + 1] = text end,
    complain = function(text) complaints[#complaints + 1] = text end,
  }
  return table.concat(shown), table.concat(complaints), prompts, status
end

describe("the loop", function()
  it("shows every value of an expression", function() assert.equal("3\n\"x\"\n", (session { "1 + 2, ('x')" })) end)

  it("shows nothing of a statement", function() assert.equal("", (session { "x = 1", "local y = 2" })) end)

  it("keeps what a line has set for the next ones", function() assert.equal("5\n", (session { "x = 5", "x" })) end)

  it("has the last value as _", function() assert.equal("7\n8\n", (session { "7", "_ + 1" })) end)

  it("goes on in the next line when a statement is not complete", function()
    local shown, _, prompts = session { "for i = 1, 2 do", "x = i", "end", "x" }
    assert.equal("2\n", shown)
    assert.equal("            -> ", prompts[2])
  end)

  it("forgets a statement when it is interrupted in it", function()
    local shown, complaints = session { "for i = 1, 2 do", false, "3" }
    assert.same({ "3\n", "" }, { shown, complaints })
  end)

  it("complains in one line, and goes on", function()
    local shown, complaints, _, status = session { "error 'broken'", "x = = 1", "4" }
    assert.equal("4\n", shown)
    assert.equal("repl:1: broken\nrepl:1: unexpected symbol near '='\n", complaints)
    assert.equal(1, status)
  end)

  it("suggests the name that was meant", function()
    local _, complaints = session { "polcy" }
    assert.equal("no global 'polcy', did you mean 'policy'?\n", complaints)
  end)

  it("tells the command and what it said when one fails", function()
    local _, complaints = session({ "host():run { 'sh', '-c', 'echo no >&2; exit 3' }" }, true)
    assert.equal(1, select(2, complaints:gsub("\n", "")))
    assert.is_truthy(complaints:find("no", 1, true) and complaints:find("[sh -c 'echo no >&2; exit 3']", 1, true), complaints)
  end)
end)

describe("hosts of the loop", function()
  local name = os.tmpname()
  os.remove(name)
  after_each(function() os.remove(name) end)
  local lines = {
    ("host(nil, { dry = false }):run { 'touch', '%s' }; return nil"):format(name),
    ("mp.host():run { 'touch', '%s' }; return nil"):format(name),
    ("require 'moonpool.host'.open():run { 'touch', '%s' }; return nil"):format(name),
  }

  it("are dry, however they are opened, and the prompt says so", function()
    local _, complaints, prompts = session(lines)
    assert.is_nil(io.open(name))
    assert.same({ "", "moonpool(dry)> " }, { complaints, prompts[1] })
  end)

  it("write when the loop is live, and the prompt says so", function()
    local _, complaints, prompts = session(lines, true)
    assert(io.open(name)):close()
    assert.same({ "", "moonpool> " }, { complaints, prompts[1] })
  end)
end)

describe("a value is shown", function()
  it("with its keys sorted", function() assert.equal("{\n  a = 1,\n  b = 2,\n  c = { 3 }\n}", repl.show { c = { 3 }, b = 2, a = 1 }) end)

  it("up to a number of lines", function()
    local big = {}
    for i = 1, 100000 do big["key" .. i] = { i } end
    local _, lines = repl.show(big):gsub("\n", "")
    assert.is_true(lines < 70)
    assert.is_truthy(repl.show(big):find "more lines$")
  end)

  it("also if it contains itself", function()
    local loop = {}
    loop.loop = loop
    assert.is_string(repl.show(loop))
  end)

  it("by its own text, if it has one", function()
    assert.equal("host local", repl.show(require "moonpool".host()))
  end)

  it("without control characters", function() assert.is_nil(repl.show("\27[2J"):find "\27") end)
end)

describe("completion", function()
  it("finishes a name", function() assert.equal("mat", (repl.complete(_G, "x = string.for"))) end)

  it("finishes what is common to all names that fit", function()
    local insert, names = repl.complete({ nas_one = 1, nas_two = 2 }, "print(na")
    assert.same({ "s_", { "nas_one", "nas_two" } }, { insert, names })
  end)

  it("knows the methods of an object", function()
    local _, names = repl.complete({ nas = require "moonpool".host() }, "nas:re")
    assert.same({ "release", "resume_token" }, names)
  end)

  it("finds nothing behind what does not exist", function()
    assert.same({ "", {} }, { repl.complete({}, "nothing.here.") })
  end)
end)
