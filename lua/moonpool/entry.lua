--- What the table of one snapshot or bookmark tells only when it is asked: sizes, holds, the time in its name.

local holds = require "moonpool.hold"
local zfs = require "moonpool.zfs"

local entry = {}

-- Columns of sizes, which zfs has to add up for every snapshot: listed only for who asks, then for all datasets of the side.
local SIZE_COLUMNS, SIZE_LETTERS = { "name", "used", "written", "referenced" }, "uuu"
local SIZE_AT = { used = 1, written = 2, referenced = 3 }

local function list_sizes(side)
  local names = {}
  for name, ds in pairs(side.datasets) do
    -- In a dry run what it has made is not there.
    if not ds.size_catalog and (ds.guid or not side.host.dry) then names[#names + 1] = name end
  end
  table.sort(names)
  for batch in zfs.batches(names, zfs.MAX_ARGUMENT_BYTES) do
    local catalog = side.host:list(zfs.list_argv { types = { "snapshot" }, columns = SIZE_COLUMNS, datasets = batch, depth = 1 }, SIZE_LETTERS)
    for _, name in ipairs(batch) do side.datasets[name].size_catalog = catalog end
  end
end

-- Bytes of a snapshot; nil for one that is not there, as what a dry run has made.
local function size_of(ds, name, column)
  if not ds.size_catalog then list_sizes(ds.side) end
  if not ds.sizes then
    ds.sizes = {}
    local index = ds.size_catalog and ds.size_catalog:find(ds.name)
    for _, row in ipairs(index and ds.size_catalog:rows(index) or {}) do ds.sizes[row.name] = row end
  end
  return ds.sizes[name] and ds.sizes[name][column]
end

-- The tags of a snapshot's holds; all that a dataset's snapshots have are asked for at once.
local function tags_of(ds, s)
  if s.userrefs == 0 then return {} end
  if not ds.tags then
    ds.tags = {}
    local held = {}
    for _, other in ipairs(ds:snapshots()) do
      if other.userrefs > 0 then held[#held + 1] = ds.name .. "@" .. other.name end
    end
    for tag, names in pairs(holds.by_tag(ds.side.host, held)) do
      for _, full in ipairs(names) do
        ds.tags[full] = ds.tags[full] or {}
        table.insert(ds.tags[full], tag)
      end
    end
  end
  return ds.tags[ds.name .. "@" .. s.name] or {}
end

-- The time that a snapshot's name tells, and whether it is one of this backup: most decisions need neither.
local function read_name(ds, kind, s)
  local names = ds.side.names
  local time = kind == "@" and names and names:time(s.name, s.creation)
  if rawget(s, "time") == nil then rawset(s, "time", time or s.creation) end
  if rawget(s, "own") == nil then rawset(s, "own", time ~= nil and time ~= false) end
end

--- The metatable of the entries of one kind of a dataset: what is looked up when it is asked for, or is the same for all of them.
-- @param ds a dataset (moonpool.dataset); @param kind "@" or "#"; @return a metatable
function entry.meta(ds, kind)
  return { __index = function(s, key)
    if key == "time" or key == "own" then
      read_name(ds, kind, s)
      return rawget(s, key)
    end
    if key == "dataset" then return ds.name end
    if key == "kind" then return kind end
    if kind ~= "@" then return nil end
    if SIZE_AT[key] then return size_of(ds, s.name, SIZE_AT[key]) end
    if key == "holds" then return tags_of(ds, s) end
  end }
end

return entry
