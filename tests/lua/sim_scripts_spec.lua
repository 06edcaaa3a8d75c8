-- The simulator does and says what OpenZFS 2.3 did and said: each script beside a record of what happened on real pools.
-- The records are made, and held to other versions, by tests/zfs/sim_agrees.lua, as tests/zfs/sim_test.sh does.

local agrees = dofile "tests/zfs/sim_agrees.lua"

local FOLDER = "tests/lua/scripts/"
local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local function scripts()
  local names = {}
  for _, file in ipairs(require "moonpool.core".readdir(FOLDER)) do names[#names + 1] = file:match "^(.*)%.txt$" end
  table.sort(names)
  return names
end

describe("the simulator agrees with OpenZFS 2.3 in", function()
  it("at least sixty scripts", function() assert.is_true(#scripts() >= 60) end)

  for _, name in ipairs(scripts()) do
    it((name:gsub("_", " ")), function()
      assert.are.equal(read(FOLDER .. name .. ".out"), agrees.run(agrees.simulated(), read(FOLDER .. name .. ".txt")))
    end)
  end
end)
