-- Which datasets are backed up.
local select = require "policies.select"

local function ask(value, source) return select.property { name = "tank/a", value = value, source = source } end

describe("selection by property", function()
  for _, case in ipairs {
    { "true", "local", true, "direct selection" },
    { "true", "inherited", true, "inherited selection" },
    { "child", "local", false, "only its children" },
    { "child", "inherited", true, "inherited selection" },
    { "parent", "local", true, "direct selection" },
    { "parent", "inherited", false, "only its parent" },
    { "false", "local", false, "disabled" },
    { "false", "inherited", false, "disabled" },
    { "true", "received", false, "received property" },
  } do
    it(("takes %s, %s as %s"):format(case[1], case[2], case[4]), function()
      local verdict, reason = ask(case[1], case[2])
      assert.equal(case[3], verdict)
      assert.equal(case[4], reason)
    end)
  end

  it("has no opinion on a dataset without the property", function() assert.is_nil(ask("-", "none")) end)

  it("names any other value as a fault", function()
    local verdict, _, fault = ask("yes", "local")
    assert.is_nil(verdict)
    assert.matches("has the value 'yes'", fault)
  end)

  it("leaves out the target by component", function()
    assert.is_false(select.not_below({ name = "tank/a" }, "tank/a"))
    assert.is_false(select.not_below({ name = "tank/a/b" }, "tank/a"))
    assert.is_nil(select.not_below({ name = "tank/ab" }, "tank/a"))
  end)
end)
