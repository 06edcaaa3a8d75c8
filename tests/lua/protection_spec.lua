-- What a hook can't bring about, whatever it does to the tables that it is given.

local helper = require "helper"

local stock = require "policies.autobackup"

-- Runs the stock policy with hooks of its own.
local function run_with(world, hooks, options) return helper.backup(world, options, stock:extend(hooks)) end

describe("a hook that changes what it was given", function()
  local PLAIN = { no_holds = true, no_bookmarks = true, keep_source = "0", keep_target = "0" }

  -- A world with somebody's snapshot and two backups of which only the first one was sent; then `keep` is asked.
  local function after(keep)
    local world = helper.world()
    local src = world:host "src"
    src:run { "zfs", "snapshot", "tank/a@precious" }
    assert(helper.backup(world, PLAIN) == 0)
    local base = helper.snapshots(src, "tank/a")[2]
    for i = 1, 2 do
      world:tick(86400)
      world:write("tank/a", 1000)
      PLAIN.no_send = true
      assert(run_with(world, i == 2 and { keep = keep } or {}, PLAIN) == 0)
      PLAIN.no_send = nil
    end
    local left = helper.snapshots(src, "tank/a")
    -- The snapshot of somebody else, the newest common one, and what is still to be sent.
    assert.are.same({ "precious", base }, { left[1], left[2] })
    assert.are.equal(4, #left)
    world:tick(86400)
    assert.are.equal(0, (helper.backup(world)))
  end

  it("can add no snapshot to those that may be destroyed", function()
    after(function(_, snapshots, ctx)
      for _, s in ipairs(ctx.snapshots) do
        if not s.own then table.insert(snapshots, 1, s) end
      end
      return {}
    end)
  end)

  it("takes no protection away", function()
    after(function(_, snapshots)
      for _, s in ipairs(snapshots) do s.guid, s.userrefs, s.createtxg = -1, 0, 0 end
      return {}
    end)
    after(function(_, snapshots)
      for i = #snapshots, 1, -1 do snapshots[i] = nil end
      return {}
    end)
  end)

  it("destroys no snapshot of another name", function()
    local world = helper.world()
    local src = world:host "src"
    src:run { "zfs", "snapshot", "tank/a@precious" }
    helper.backup(world)
    world:tick(86400)
    world:write("tank/a", 1000)
    assert.are.equal(0, (run_with(world, { keep = function(_, snapshots)
      for _, s in ipairs(snapshots) do s.name = "precious" end
      return {}
    end })))
    local left = helper.snapshots(src, "tank/a")
    assert.are.equal(2, #left)
    assert.are.equal("precious", left[1])
  end)
end)
