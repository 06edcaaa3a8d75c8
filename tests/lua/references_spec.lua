-- The references that `make docs` writes have everything in them, and can't be made while something is not explained.

local references = dofile "docs/references.lua"

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

describe("the references", function()
  local folder = os.tmpname()
  os.remove(folder)
  require "moonpool.core".mkdir(folder, 448)
  references.write(folder)
  local lua, options, manual = read(folder .. "/lua.md"), read(folder .. "/options.md"), read(folder .. "/moonpool.1")
  for _, file in ipairs { "lua.md", "options.md", "moonpool.1" } do os.remove(folder .. "/" .. file) end
  os.remove(folder)

  it("have every option of every stock policy", function()
    for _, name in ipairs { "autobackup", "snapshot", "prune", "replicate", "fleet", "monitor", "restore", "verify" } do
      local section = options:match("\n## " .. name .. "\n(.-)\n\n\n?## ") or options:match("\n## " .. name .. "\n(.*)$")
      for _, d in ipairs(require("policies." .. name).declarations) do
        local shown = d.positional and d.name:upper() or "--" .. d.name
        assert.is_truthy(section:find("`" .. shown .. "`", 1, true) or section:find("`" .. shown .. " ", 1, true), name .. " " .. shown)
      end
    end
  end)

  it("have every command and every option in the manual page, as roff", function()
    assert.is_truthy(manual:find("^%.TH MOONPOOL 1"))
    assert.is_truthy(manual:find("\n\\fBsimulate\\fR POLICY [\\-\\-every TIME]", 1, true))
    assert.is_truthy(manual:find("\n\\fB\\-\\-keep\\-source\\fR \\fIK\\fR", 1, true))
    for line in manual:gmatch "[^\n]+" do assert.is_truthy(line:find "^%.%u" or not line:find "^[.']", line) end
  end)

  it("have what the modules and the files of rules give", function()
    local some = {
      "Host:run(argv, options)", "hold.place(", "sched.each(", "retention.parse(text)", "calendar.", "testing.world(", "World:fail(fault)",
    }
    for _, name in ipairs(some) do
      assert.is_truthy(lua:find("### `" .. name, 1, true), name)
    end
  end)

  it("are refused while a function has no comment or an option no help", function()
    assert.has_error(function() references.of_module("--- What it is for.\n\n---\nfunction m.add(a, b) end\n", "m") end)
    local bare = require "moonpool.policy".new { name = "bare", summary = "Nothing", options = { { name = "depth", type = "integer" } } }
    assert.has_error(function() references.of_policy(bare, "bare") end)
  end)
end)
