-- Policies: inheritance, hooks that have no opinion, and what does not exist.

local errors = require "moonpool.error"
local policy = require "moonpool.policy"

local function base(fields)
  fields.name = fields.name or "base"
  fields.options = { { name = "keep-source", default = "30" }, { name = "name", positional = true } }
  return policy.new(fields)
end

local function refusal(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err))
  return tostring(err)
end

describe("a hook", function()
  it("that answers nil leaves the question to the policy that was extended", function()
    local p = base { on_diverged = function() return "base" end }:extend { on_diverged = function() return nil end }
    assert.are.equal("base", policy.call(p, "on_diverged"))
  end)

  it("answers false as an opinion", function()
    local p = base { select = function() return true end }:extend { select = function() return false, "no" end }
    assert.are.same({ false, "no" }, { policy.call(p, "select") })
  end)

  it("may answer nil first and something behind it", function()
    local p = base { select = function() return nil, nil, "bad value" end }
    assert.are.same({ n = 3, nil, nil, "bad value" }, table.pack(policy.call(p, "select")))
  end)

  it("asks the one it replaces through self.super, over several levels", function()
    local one = base { target_name = function(_, x) return x .. "1" end }
    local two = one:extend { target_name = function(self, x) return self.super:target_name(x) .. "2" end }
    local three = two:extend { target_name = function(self, x) return self.super:target_name(x) .. "3" end }
    assert.are.equal("x123", policy.call(three, "target_name", "x"))
  end)

  it("sees the options of the policy that runs", function()
    local p = base { on_diverged = function(self) return self.options.keep_source end }
    assert.are.equal("7", policy.call(p:with { keep_source = 7 }, "on_diverged"))
    assert.are.equal("30", policy.call(p, "on_diverged"))
  end)

  it("that raises is named with its policy, file and line", function()
    local p = base { keep = function() error "oh" end }
    assert.matches("hook 'keep' of policy 'base' failed: .*policy_spec%.lua:%d+: oh", refusal(policy.call, p, "keep"))
  end)
end)

describe("a hook that does not end", function()
  local allowed = policy.max_instructions
  before_each(function() policy.max_instructions = 3000000 end)
  after_each(function() policy.max_instructions = allowed end)

  it("is ended, with its policy, file and line", function()
    local p = base { keep = function() while true do end end }
    assert.matches("hook 'keep' did not end within 3 million instructions of Lua, at .*policy_spec%.lua:%d+", refusal(policy.call, p, "keep"))
  end)

  it("is ended although it catches errors", function()
    local p = base { keep = function() while true do pcall(function() while true do end end) end end }
    assert.matches("did not end", refusal(policy.call, p, "keep"))
  end)

  it("leaves the hook of the debugger as it was", function()
    local before = debug.gethook()
    refusal(policy.call, base { keep = function() while true do end end }, "keep")
    assert.are.equal(before, debug.gethook())
  end)
end)

describe("an answer that can't be meant", function()
  local function refused(hook, value)
    return refusal(policy.call, base { [hook] = function() return value end }, hook)
  end

  it("is refused with what it can be, and where the hook is", function()
    assert.matches("^hook 'keep' of policy 'base' %(.*policy_spec%.lua:%d+%) returned 'all', not table$", refused("keep", "all"))
    assert.matches("returned 'yes', not boolean$", refused("select", "yes"))
    assert.matches("returned true, not nil %(as it is%), false %(left out%) or a string$", refused("filter_property", true))
    assert.matches("returned 12, not string$", refused("target_name", 12))
  end)

  it("of send_options is named with the nearest one that exists", function()
    assert.matches("did you mean 'raw'", refused("send_options", { rwa = true }))
    assert.matches("not true or false for raw", refused("send_options", { raw = "yes" }))
  end)
end)

describe("what does not exist", function()
  it("as a hook is refused, with the nearest and the place", function()
    local p = base {}
    assert.matches("policy_spec%.lua:%d+: policy 'x': no hook 'kep', did you mean 'keep'", refusal(p.extend, p, { name = "x", kep = print }))
  end)

  it("as an option is refused", function()
    local p = base {}
    assert.matches("no option 'keep_sorce', did you mean 'keep_source'", refusal(p.extend, p, { name = "x", options = { keep_sorce = "1" } }))
  end)

  it("as a type of an option is refused", function()
    assert.matches("no such type as 'sting'", refusal(policy.new, { name = "x", options = { { name = "a", type = "sting" } } }))
  end)

  it("a hook that is no function is refused", function()
    assert.matches("keep is a function, not a string", refusal(policy.new, { name = "x", keep = "10" }))
  end)
end)

describe("a function that is no hook", function()
  local function asked(name, fn, ...) return refusal(policy.ask, base { [name] = fn }, name, ...) end

  it("and raises is named with its place", function()
    assert.matches("'names' of policy '.*' %(.*policy_spec.lua:%d+%) failed: .*: oh", asked("names", function() error "oh" end))
  end)

  it("and answers what can't be meant is refused", function()
    assert.matches("'names' of .* returned nil, not an object of moonpool.names", asked("names", function() end))
    assert.matches("'nothing' of .* returned a table, not string or nil", asked("nothing", function() return {} end))
    assert.is_nil((policy.ask(base { nothing = function() end }, "nothing")))
  end)
end)

describe("running", function()
  it("checks the options first, those of all levels", function()
    local checked = {}
    local p = base { check = function() checked[#checked + 1] = 1 end, run = function(_, values) return #checked, values.name end }
    local q = p:extend { check = function() checked[#checked + 1] = 2 end }
    assert.are.same({ 2, "n" }, { q:run { name = "n" } })
  end)

  it("of a policy that says nothing does not run the one it extends", function()
    local ran = false
    local p = base { run = function() ran = true end }:extend { run = function() end }
    p:run {}
    assert.is_false(ran)
  end)

  it("a policy without `run` is refused", function() assert.matches("without `run`", refusal(base({}).run, base {}, {})) end)
end)
