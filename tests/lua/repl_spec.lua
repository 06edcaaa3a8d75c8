-- The interactive loop, with lines from a table.

local complete = require "moonpool.repl.complete"
local log = require "moonpool.log"
local names = require "moonpool.repl.names"
local repl = require "moonpool.repl"
local show = require "moonpool.repl.show"

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
    assert.equal("repl:1: broken\nrepl:2: unexpected symbol near '='\n", complaints)
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
  it("with its keys sorted", function() assert.equal("{\n  a = 1,\n  b = 2,\n  c = { 3 }\n}", show { c = { 3 }, b = 2, a = 1 }) end)

  it("up to a number of lines", function()
    local big = {}
    for i = 1, 100000 do big["key" .. i] = { i } end
    local _, lines = show(big):gsub("\n", "")
    assert.is_true(lines < 70)
    assert.is_truthy(show(big):find "more lines$")
  end)

  it("also if it contains itself", function()
    local loop = {}
    loop.loop = loop
    assert.is_string(show(loop))
  end)

  it("by its own text, if it has one", function()
    assert.equal("host local", show(require "moonpool".host()))
  end)

  it("as a table, if it is a list of records with names", function()
    local list = { { name = "daily-1", used = 1536, userrefs = 0, creation = 0 }, { name = "d2", used = 0, userrefs = 12, guid = "17" } }
    local text = show(list)
    assert.equal(("NAME     USED   USERREFS  CREATION             GUID\ndaily-1  1.50K  0         %s  -\nd2       0B     12        -                    17")
      :format(os.date("%Y-%m-%d %H:%M:%S", 0)), text)
    local _, lines = show(table.move(list, 1, 2, 1, setmetatable({}, nil))):gsub("\n", "")
    assert.equal(2, lines)
    local many = {}
    for i = 1, 1000 do many[i] = { name = "s" .. i } end
    assert.matches("s60\n… 940 more lines$", show(many))
  end)

  it("not as a table, if its records have more in them than words", function() assert.matches("a = { 1 }", show { { name = "x", a = { 1 } } }) end)

  it("without control characters", function() assert.is_nil(show("\27[2J"):find "\27") end)
end)

describe("completion", function()
  it("finishes a name", function() assert.equal("mat", (complete.find(_G, "x = string.for"))) end)

  it("finishes what is common to all names that fit", function()
    local insert, fitting = complete.find({ nas_one = 1, nas_two = 2 }, "print(na")
    assert.same({ "s_", { "nas_one", "nas_two" } }, { insert, fitting })
  end)

  it("knows the methods of an object", function()
    local _, fitting = complete.find({ nas = require "moonpool".host() }, "nas:re")
    assert.same({ "release", "resume_token" }, fitting)
  end)

  it("finds nothing behind what does not exist", function()
    assert.same({ "", {} }, { complete.find({}, "nothing.here.") })
  end)
end)

describe("completion in a string", function()
  it("knows the datasets that were seen", function()
    complete.saw "tank/home/alice"
    complete.saw "tank/home/albert"
    assert.same({ "", { "tank/home/albert", "tank/home/alice" } }, { complete.find({}, 'snapshots("tank/home/al') })
    assert.equal("ce", (complete.find({}, "x = 'it\\'s', \"tank/home/ali")))
    assert.equal("", (complete.find({}, 'x = "tank/home/ali" ')))
  end)

  it("is shown in columns, bounded", function()
    assert.equal("a    b    \ncde", complete.columns({ "a", "b", "cde" }, 10))
    local many = {}
    for i = 1, 100 do many[i] = "n" .. i end
    assert.matches("… and 40 more$", complete.columns(many, 80))
  end)
end)

describe("help", function()
  local function helped(...)
    local lines, saved = {}, log.sink
    log.sink = function(_, line) lines[#lines + 1] = line .. "\n" end
    local ok, err = pcall(names.help, ...)
    log.sink = saved
    assert.is_true(ok, err)
    return table.concat(lines)
  end

  it("tells the comment of a function, also of a host's method without a host", function()
    local env = names.environment()
    local text = helped(env.host.hold)
    assert.matches("^[%w_.:]+%b()\n", text)
    assert.matches("@param", text)
    assert.matches("hold.lua:%d+%)", text)
  end)

  it("lists what a module, a host and a policy have", function()
    assert.matches("\nrun +Runs a command%.", helped(require("moonpool").host()))
    assert.matches("valid_name +%u", helped(require "moonpool.zfs"))
    assert.matches("a policy: Back up", helped(require "policies.autobackup"))
  end)

  it("has an overview, and something to say of anything", function()
    assert.matches("help%(host.hold%)", helped())
    assert.matches("a number", helped(3))
    assert.matches("of C or of Lua's own", helped(print))
  end)
end)

describe("plan and explain", function()
  local function words_of(name, ...)
    local seen
    local p = { declarations = require "policies.autobackup".declarations, values = {}, run = function(_, values) seen = values end }
    assert.equal(0, names[name](p, ...))
    return seen
  end

  it("run a policy with the words of its command line, and change nothing", function()
    local values = words_of("plan", "--ssh-source", "far", "nas", "back/nas")
    assert.same({ true, true, "far", "nas", "back/nas" }, { values.test, values.verbose, values.ssh_source, values.backup_name, values.target_path })
    values = words_of("explain", "nas", "back/nas", "tank/a@x")
    assert.same({ "nas", "tank/a@x" }, { values.backup_name, values.explain })
  end)
end)
