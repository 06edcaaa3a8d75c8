-- The simulator does and says what OpenZFS 2.3 did and said: each script beside a record of what happened on real pools.
-- The records are made, and held to other versions, by tests/zfs/sim_agrees.lua.

local agrees = dofile "tests/zfs/sim_agrees.lua"

local FOLDER = "tests/lua/scripts/"
local SCRIPTS = {
  "bookmark", "clone", "create", "destroy_datasets", "destroy_held", "destroy_snapshots", "encryption", "hold", "list", "properties", "receive_diverged",
  "receive_full", "receive_incremental", "receive_properties", "rename", "replicate", "resume_full", "resume_incremental", "rollback",
  "send", "snapshot", "space",
}

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

describe("the simulator agrees with OpenZFS 2.3 in", function()
  for _, name in ipairs(SCRIPTS) do
    it(name:gsub("_", " "), function()
      assert.are.equal(read(FOLDER .. name .. ".out"), agrees.run(agrees.simulated(), read(FOLDER .. name .. ".txt")))
    end)
  end
end)
