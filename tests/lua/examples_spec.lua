-- Every @example above a function of policies/ runs, and gives what stands behind its arrow.

local MODULES = {
  retention = "retention", calendar = "calendar", select = "select", send = "send", windows = "windows", notify = "notify", filter_property = "rules",
}

local DAY = 86400
local NOW = 1795392000

-- The examples of a file: array of { line, code, expected }.
local function examples_of(path)
  local list, number = {}, 0
  for line in io.lines(path) do
    number = number + 1
    local text = line:match "^%-%- @example (.*)$"
    if text then
      local code, expected = text:match "^(.-)%s*%-%->%s*(.*)$"
      list[#list + 1] = { line = number, code = code or text, expected = expected }
    end
  end
  return list
end

local function environment(variable, module)
  local snapshots = {}
  for i = 1, 10 do
    snapshots[i] = { name = "nas-" .. i, time = NOW - (10 - i) * DAY, creation = NOW - (10 - i) * DAY, userrefs = 0, own = true, used = 100 }
  end
  local ctx = {
    now = NOW, utc = true, side = "source", properties = {}, snapshots = snapshots, pool = { free = 1, size = 2, capacity = 50 }, type = "filesystem",
  }
  local env = { snapshots = snapshots, ctx = ctx, policy = require "policies.autobackup", ds = { name = "tank/a" } }
  -- Rules of one file are used with those of another.
  env.select = require "policies.select"
  env[variable] = module
  return setmetatable(env, { __index = _G })
end

describe("an example of", function()
  local count = 0
  for name, variable in pairs(MODULES) do
    local path = "policies/" .. name .. ".lua"
    for _, example in ipairs(examples_of(path)) do
      count = count + 1
      it(("%s:%d runs: %s"):format(path, example.line, example.code), function()
        local env = environment(variable, require("policies." .. name))
        local chunk = load("return " .. example.code, path, "t", env) or assert(load(example.code, path, "t", env))
        local results = table.pack(chunk())
        if not example.expected then return end
        local expected = table.pack(assert(load("return " .. example.expected, path, "t", env))())
        for i = 1, expected.n do assert.are.same(expected[i], results[i]) end
      end)
    end
  end

  it("every function that a rule file gives is there", function()
    assert.is_true(count > 40)
    for name in pairs(MODULES) do
      local text = assert(io.open("policies/" .. name .. ".lua")):read "a"
      local functions = select(2, text:gsub("\nfunction [%l_]+%.[%l_]+%(", ""))
      local examples = select(2, text:gsub("\n%-%- @example ", ""))
      assert.is_true(examples >= functions, ("policies/%s.lua has %d functions and %d examples"):format(name, functions, examples))
    end
  end)
end)
