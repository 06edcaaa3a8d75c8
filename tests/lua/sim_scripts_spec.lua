-- The simulator does and says what OpenZFS 2.3 and 2.1 did and said: each script beside a record of what happened on real pools.
-- The records are made, and held to other versions, by tests/zfs/sim_agrees.lua, as tests/zfs/sim_test.sh does.

local agrees = dofile "tests/zfs/sim_agrees.lua"

local FOLDER = "tests/lua/scripts/"
local function read(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

local function scripts()
  local names = {}
  for _, file in ipairs(require "moonpool.core".readdir(FOLDER)) do names[#names + 1] = file:match "^(.*)%.txt$" end
  table.sort(names)
  return names
end

local function agree(name, version, record)
  it((name:gsub("_", " ")), function() assert.are.equal(record, agrees.run(agrees.simulated(version), read(FOLDER .. name .. ".txt"))) end)
end

describe("the simulator agrees with OpenZFS 2.3 in", function()
  it("at least sixty scripts", function() assert.is_true(#scripts() >= 60) end)
  for _, name in ipairs(scripts()) do agree(name, "2.3.2", assert(read(FOLDER .. name .. ".out"))) end
end)

-- Where 2.1 does as 2.3 there is one record for both.
describe("the simulator agrees with OpenZFS 2.1 in", function()
  for _, name in ipairs(scripts()) do agree(name, "2.1.11", read(FOLDER .. name .. ".2.1.out") or read(FOLDER .. name .. ".out")) end
end)
