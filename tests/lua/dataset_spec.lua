-- What a side knows of its datasets, and what a run notes on them.

local dataset = require "moonpool.dataset"
local helper = require "helper"
local names = require "moonpool.names"

-- A dataset with five snapshots, of which the second is held and the fourth is not of this backup, and a bookmark.
local function seen()
  local world = helper.world()
  local host = world:host "src"
  for i = 1, 5 do
    world:tick(60)
    local name = i == 4 and "by-hand" or names.new("{}-%Y%m%d%H%M%S", "nas", true):name(world.now)
    host:run { "zfs", "snapshot", "tank/a@" .. name }
  end
  host:run { "zfs", "bookmark", "tank/a@by-hand", "tank/a#mark" }
  local side = dataset.side(host, "source", names.new("{}-%Y%m%d%H%M%S", "nas", true))
  dataset.load_all(side, { "tank/a" })
  local ds = side.datasets["tank/a"]
  ds:set_userrefs(ds:snapshots()[2].name, 1)
  return ds, host, side
end

-- What is told without a table of all snapshots must be what the table of all tells.
local function agrees(ds)
  ds:forget()
  local newest, held = ds:newest(), ds:held()
  ds:forget()
  local all, expected = ds:snapshots(), {}
  assert.are.same(all[#all], newest)
  assert.are.equal(all[#all] and all[#all].own, newest and newest.own)
  for _, s in ipairs(all) do
    if s.userrefs > 0 then expected[#expected + 1] = s end
    assert.is_true(ds:has("@", s.name))
  end
  assert.are.same(expected, held)
  assert.is_false(ds:has("@", "nothing"))
end

describe("the newest snapshot and the held ones", function()
  it("are those of the listing", function() agrees((seen())) end)

  it("are the same when they were listed with their holds", function()
    local ds, host, side = seen()
    host:run { "zfs", "hold", "keep", "tank/a@by-hand" }
    ds = dataset.reload(side, ds.name)
    assert.are.equal("by-hand", ds:held()[1].name)
    agrees(ds)
  end)

  it("know what the run has made", function()
    local ds = seen()
    ds:add("@", { name = "newer", guid = 7 })
    assert.are.equal("newer", ds:newest().name)
    agrees(ds)
    ds:add("@", { name = "older", guid = 8, createtxg = 1 })
    assert.are.equal("newer", ds:newest().name)
    agrees(ds)
  end)

  it("know what the run has destroyed", function()
    local ds = seen()
    local all = ds:snapshots()
    ds:remove("@", all[5].name)
    assert.are.equal("by-hand", ds:newest().name)
    assert.is_false(ds:has("@", all[5].name))
    agrees(ds)
    for i = 1, 4 do ds:remove("@", all[i].name) end
    assert.is_nil(ds:newest())
    assert.are.same({}, ds:held())
  end)

  it("know what the run has held and let go", function()
    local ds = seen()
    local all = ds:snapshots()
    ds:set_userrefs(all[5].name, 2)
    ds:set_userrefs(all[2].name, 0)
    assert.are.same({ all[5].name, 2 }, { ds:held()[1].name, ds:newest().userrefs })
    agrees(ds)
  end)

  it("of this backup is told from somebody else's newer one", function()
    local ds = seen()
    local all = ds:snapshots()
    assert.are.same({ all[5].name, true }, { (ds:newest_own()).name, select(2, ds:newest_own()) })
    ds:remove("@", all[5].name)
    assert.are.same({ all[3].name, false }, { (ds:newest_own()).name, select(2, ds:newest_own()) })
  end)

  it("are none of a dataset without snapshots", function()
    local _, _, side = seen()
    dataset.load_all(side, { "tank/a/b" })
    local ds = side.datasets["tank/a/b"]
    assert.is_nil(ds:newest())
    assert.are.same({}, ds:held())
    assert.is_false(ds:has("@", "x"))
  end)
end)

describe("an entry", function()
  it("tells its dataset and its kind, and whether it is of this backup", function()
    local ds = seen()
    local all = ds:snapshots()
    assert.are.same({ "tank/a", "@", true, false }, { all[1].dataset, all[1].kind, all[1].own, all[4].own })
    assert.are.equal(all[4].creation, all[4].time)
    local mark = ds:bookmarks()[1]
    assert.are.same({ true, false }, { ds:has("#", "mark"), ds:has("@", "mark") })
    assert.are.same({ "tank/a", "#", "mark", false }, { mark.dataset, mark.kind, mark.name, mark.own })
  end)
end)
