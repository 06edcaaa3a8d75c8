--- Verbs of snapshots, bookmarks and holds in the simulator.

local columns = require "moonpool.sim.columns"
local machines = require "moonpool.sim.machine"
local properties = require "moonpool.sim.properties"
local zfs = require "moonpool.zfs"

local verbs = {}

-- ---- snapshot -------------------------------------------------------------------------------------------

-- The properties of `-o`.
local function given_properties(c)
  local props = {}
  for _, text in ipairs(c.opts.o or {}) do
    local name, value = text:match "^([^=]+)=(.*)$"
    if not name then c:usage("missing '=' for property=value argument") end
    local checked, fault = properties.check(c.machine, "s", name, value)
    if fault then c:fail(1, "cannot create snapshots : %s", fault) end
    props[name] = { ["local"] = checked }
  end
  return props
end

-- Which snapshots the arguments ask for: array of { ds, short }, with -r also those of all datasets below; and whether it can't be
-- one transaction.
local function wanted(c)
  local list, by_dataset, mixed = {}, {}, false
  for _, name in ipairs(c.args) do
    local owner, sep, short = zfs.split_snapshot(name)
    if sep ~= "@" then c:usage() end
    local ds = c.machine.datasets[owner]
    if not ds then
      local _, fault = zfs.valid_name(owner)
      c:warn("cannot open '%s': %s", owner, fault or "dataset does not exist")
      c:usage()
    end
    local valid, fault = zfs.valid_name(name, "snapshot")
    if not valid then c:fail(1, "cannot create snapshot '%s': %s", name, fault) end
    local all = c.opts.r and c.machine:below(ds) or {}
    table.insert(all, 1, ds)
    for _, each in ipairs(all) do
      local known = by_dataset[each]
      -- Neither several snapshots of one dataset nor several pools fit into one transaction.
      mixed = mixed or (known and known ~= short) or (list[1] and list[1].ds.pool ~= each.pool)
      if not known then list[#list + 1] = { ds = each, short = short } end
      by_dataset[each] = short
    end
  end
  return list, mixed
end

local function snapshot(c)
  c:expect(1, nil, "snapshot")
  local props = given_properties(c)
  local list, mixed = wanted(c)
  if mixed then
    c:warn "cannot create snapshots : multiple snapshots of same fs not allowed"
    c:fail(1, "no snapshots were created")
  end
  for _, w in ipairs(list) do
    local fault = w.ds.snapshot[w.short] and "dataset already exists" or (w.ds.partial and w.ds.partial.first and "dataset is busy")
    if fault then c:complain("cannot create snapshot '%s@%s': %s", w.ds.name, w.short, fault) end
  end
  if c.status ~= 0 then
    if #list > 1 then c:warn "no snapshots were created" end
    return
  end
  local txg = c.world:next_txg()
  for _, w in ipairs(list) do
    local own = {}
    for name, set in pairs(props) do own[name] = { ["local"] = set["local"] } end
    c.machine:add_snapshot(w.ds, w.short, txg, { props = own })
  end
end

verbs.snapshot = { options = "ro:", usage = "snapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...", run = snapshot }
verbs.snap = "snapshot"

-- ---- bookmark -------------------------------------------------------------------------------------------

local function bookmark(c)
  c:expect(2, 2, "source")
  local from, to = c.args[1], c.args[2]
  if not from:find "[@#]" then c:usage("invalid source name '%s': must contain a '@' or '#'", from) end
  if not to:find "#" then c:usage("invalid bookmark name '%s': must contain a '#'", to) end
  -- One of the two may be written without its dataset.
  if from:find "^[@#]" then from = zfs.split_snapshot(to) .. from end
  if to:find "^#" then to = zfs.split_snapshot(from) .. to end
  local source = c.machine:find(from)
  if not source then
    c:warn("cannot open '%s': dataset does not exist", from)
    c:usage()
  end
  local owner, _, short = zfs.split_snapshot(to)
  local ds, valid, name_fault = c.machine.datasets[owner], zfs.valid_name(to, "bookmark")
  local fault = not valid and name_fault or not ds and "dataset does not exist"
    or ds.pool.features.bookmarks == nil and "bookmark feature not enabled"
    or ds.bookmarks[short] and "bookmark exists" or source.dataset ~= ds and "invalid argument"
  if fault then c:fail(1, "cannot create bookmark '%s': %s", to, fault) end
  ds.pool.features.bookmarks = "active"
  c.machine:add_bookmark(ds, short, source)
end

verbs.bookmark = { options = "", usage = "bookmark <snapshot|bookmark> <newbookmark>", run = bookmark }

-- ---- holds ----------------------------------------------------------------------------------------------

-- The snapshots that an argument means: with -r those of the same name below, too. Nothing, said aloud, if it means none.
local function meant(c, name, what)
  local owner, sep, short = zfs.split_snapshot(name)
  if sep ~= "@" then return c:complain("'%s' is not a snapshot", name) end
  local ds, list = c.machine.datasets[owner], {}
  local all = ds and c.opts.r and c.machine:below(ds) or {}
  table.insert(all, 1, ds)
  for _, each in ipairs(all) do list[#list + 1] = each.snapshot[short] end
  if not ds or #list == 0 then return c:complain("cannot %s '%s': dataset does not exist", what, name) end
  return list
end

-- Every argument is an operation of its own: one that fails does not keep the others from being done.
-- @param fn function(list of snapshots, tag, argument)
local function each_argument(c, what, fn)
  c:expect(2)
  local tag = table.remove(c.args, 1)
  local valid, fault = zfs.valid_tag(tag)
  if not valid then c:usage("%s", fault) end
  for _, name in ipairs(c.args) do
    local list = meant(c, name, what)
    if list then fn(list, tag, name) end
  end
end

local function hold(c)
  each_argument(c, "hold snapshot", function(list, tag)
    -- What -r means is held together or not at all.
    for _, s in ipairs(list) do
      if s.holds[tag] then
        return c:complain("cannot hold snapshot '%s': tag already exists on this dataset", machines.full_name(s))
      end
    end
    for _, s in ipairs(list) do
      s.holds[tag] = math.floor(c.world.now)
      s.userrefs = s.userrefs + 1
    end
  end)
end

local function release(c)
  each_argument(c, "release hold from snapshot", function(list, tag, name)
    local held = {}
    for _, s in ipairs(list) do
      if s.holds[tag] then held[#held + 1] = s end
    end
    -- With -r the real one says "dataset does not exist" instead if the last one it came by, in the order of a hash table, has no such snapshot.
    if #held == 0 then return c:complain("cannot release hold from snapshot '%s': no such tag on this dataset", name) end
    for _, s in ipairs(held) do
      s.holds[tag] = nil
      s.userrefs = s.userrefs - 1
      c.machine:reap(s)
    end
  end)
end

local function tags_of(s)
  local tags = {}
  for tag in pairs(s.holds) do tags[#tags + 1] = tag end
  table.sort(tags)
  return tags
end

local function holds(c)
  c:expect(1)
  local rows = {}
  for _, name in ipairs(c.args) do
    local is_snapshot = name:find("@", 1, true)
    if is_snapshot and not c.machine:find(name) and not c.opts.r then
      c:complain("cannot open '%s': dataset does not exist", name)
    else
      for _, s in ipairs(meant(c, name, "open") or {}) do
        for _, tag in ipairs(tags_of(s)) do
          local time = c.opts.p and ("%d"):format(s.holds[tag]) or os.date("%a %b %e %H:%M %Y", s.holds[tag])
          rows[#rows + 1] = { machines.full_name(s), tag, time }
        end
      end
    end
  end
  columns.print(c, { "NAME", "TAG", "TIMESTAMP" }, rows, c.opts.H)
  if c.status ~= 0 and #rows == 0 then c:warn "no datasets available" end
end

verbs.hold = { options = "r", usage = "hold [-r] <tag> <snapshot> ...", run = hold }
verbs.release = { options = "r", usage = "release [-r] <tag> <snapshot> ...", run = release }
verbs.holds = { options = "rHp", usage = "holds [-rHp] <snapshot> ...", reads = true, run = holds }

return verbs
