-- Targets whose source has no dataset of that name any more, but still has what they are the backup of.

local helper = require "helper"

local B, C = "back/nas/tank/a/b", "back/nas/tank/a/c"

local world, src, dst
before_each(function()
  world = helper.world()
  src, dst = world:host "src", world:host "dst"
  assert(helper.backup(world) == 0)
  world:tick(86400)
end)

-- A backup every other day, for so many days.
local function days(count, options)
  for _ = 1, count, 2 do
    world:tick(86400 * 2)
    world:write("tank/a", 100)
    local _, _, err = helper.backup(world, options)
    assert.is_nil(err)
  end
end

describe("with --destroy-missing, the target of a dataset that was renamed", function()
  local options = { destroy_missing = "5d", keep_target = "1" }

  it("stays as long as it is the only backup", function()
    src:run { "zfs", "rename", "tank/a/b", "tank/a/c" }
    days(20, options)
    assert.are.equal(1, #helper.snapshots(dst, B))
    world:tick(60)
    world:write("tank/a/c", 100)
    assert.are.equal(0, (helper.backup(world, { follow_renames = true })))
    assert.is_true(#helper.snapshots(dst, C) > 1)
  end)

  it("stays if a run sends nothing, or leaves the dataset out", function()
    src:run { "zfs", "rename", "tank/a/b", "tank/a/c" }
    days(20, { destroy_missing = "5d", no_send = true })
    assert.are.equal(1, #helper.snapshots(dst, B))
    days(20, { destroy_missing = "5d", exclude_unchanged = "50", no_snapshot = true })
    assert.are.equal(1, #helper.snapshots(dst, B))
  end)

  it("stays if the dataset is no longer selected by its new name", function()
    src:run { "zfs", "rename", "tank/a/b", "tank/c" }
    days(20, options)
    assert.are.equal(1, #helper.snapshots(dst, B))
  end)

  it("stays if names on the target are others now", function()
    days(20, { destroy_missing = "5d", strip_path = 1 })
    assert.are.equal(1, #helper.snapshots(dst, B))
  end)

  it("goes if the new name has a backup of its own", function()
    local name = helper.snapshots(src, "tank/a/b")[1]
    src:run { "zfs", "clone", "tank/a/b@" .. name, "tank/a/c" }
    assert.are.equal(0, (helper.backup(world, { clones = "never" })))
    src:run { "zfs", "promote", "tank/a/c" }
    src:run { "zfs", "destroy", "-R", "tank/a/b" }
    days(20, options)
    assert.are.equal(1, dst:run({ "zfs", "list", B }, { check = false }).status)
  end)
end)

it("a missing dataset without a snapshot, whose age nothing tells, is not destroyed", function()
  for side, ds in pairs { [src] = "tank/a/b", [dst] = B } do
    local full = ds .. "@" .. helper.snapshots(side, ds)[1]
    side:run { "zfs", "release", side:run({ "zfs", "holds", "-H", full }).out:match "\t([^\t]+)\t", full }
  end
  dst:run { "zfs", "destroy", B .. "@" .. helper.snapshots(dst, B)[1] }
  src:run { "zfs", "destroy", "-r", "tank/a/b" }
  days(4, { destroy_missing = "1d" })
  assert.are.equal(0, dst:run({ "zfs", "list", B }, { check = false }).status)
end)
