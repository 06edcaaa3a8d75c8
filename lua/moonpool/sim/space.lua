--- Which bytes belong to what: datasets of the simulator own extents, each born in one transaction group and freed in a later one.
--
-- A snapshot refers to the extents that were alive when it was taken, so `referenced`, `written` and `used` of all snapshots
-- follow from the extents and are computed together, once after each change.

local space = {}

-- What an empty dataset takes on a real pool of 512-byte sectors.
space.EMPTY = { filesystem = 24576, volume = 12288 }

--- Gives a new dataset its space.
-- @param ds dataset; @param txg when it was made; @param inherited bytes of the origin of a clone
function space.init(ds, txg, inherited)
  ds.extents = inherited and {} or { { bytes = space.EMPTY[ds.type], born = txg } }
  ds.inherited = inherited or 0
  ds.stats = nil
end

-- The transaction group of the newest snapshot or bookmark: what is written after it is told apart from what was before.
local function newest_mark(ds)
  local newest = ds.snapshots[#ds.snapshots]
  local txg = newest and newest.createtxg or 0
  for _, bookmark in pairs(ds.bookmarks) do txg = math.max(txg, bookmark.createtxg) end
  return txg
end

--- Adds bytes. @param ds dataset; @param bytes how many; @param txg when
function space.write(ds, bytes, txg)
  local last = ds.extents[#ds.extents]
  if last and not last.died and last.born > newest_mark(ds) then
    last.bytes = last.bytes + bytes
  else
    ds.extents[#ds.extents + 1] = { bytes = bytes, born = txg }
  end
  ds.stats = nil
end

--- Frees the oldest bytes that are alive; snapshots that refer to them keep them.
-- @param ds dataset; @param bytes how many, at most; @param txg when
function space.free(ds, bytes, txg)
  local kept = {}
  for _, e in ipairs(ds.extents) do
    if not e.died and bytes > 0 then
      local part = math.min(bytes, e.bytes)
      bytes = bytes - part
      kept[#kept + 1] = { bytes = part, born = e.born, died = txg }
      e.bytes = e.bytes - part
    end
    if e.bytes > 0 then kept[#kept + 1] = e end
  end
  ds.extents = kept
  space.sweep(ds)
end

-- The first snapshot at or after a transaction group: its place in the array, which may be one behind the last.
local function first_from(snapshots, txg)
  local low, high = 1, #snapshots + 1
  while low < high do
    local middle = (low + high) // 2
    if snapshots[middle].createtxg >= txg then high = middle else low = middle + 1 end
  end
  return low
end

--- Drops freed extents that no snapshot refers to any more.
-- @param ds dataset whose snapshots changed
function space.sweep(ds)
  local kept = {}
  for _, e in ipairs(ds.extents) do
    local snapshot = e.died and ds.snapshots[first_from(ds.snapshots, e.born)]
    if not e.died or (snapshot and snapshot.createtxg < e.died) then kept[#kept + 1] = e end
  end
  ds.extents = kept
  ds.stats = nil
end

--- Goes back to what was there at a snapshot. @param ds dataset; @param snapshot its newest one; @param txg when
function space.rollback(ds, snapshot, txg)
  for _, e in ipairs(ds.extents) do
    if e.born > snapshot.createtxg then e.bytes = 0 end
    if e.died and e.died > snapshot.createtxg then e.died = nil end
  end
  space.free(ds, 0, txg)
end

local function zeros(n)
  local array = {}
  for i = 1, n do array[i] = 0 end
  return array
end

local function compute(ds)
  local n = #ds.snapshots
  local change, written, used = zeros(n + 1), zeros(n + 1), zeros(n)
  local live, held = 0, 0
  for _, e in ipairs(ds.extents) do
    local first = first_from(ds.snapshots, e.born)
    local behind = e.died and first_from(ds.snapshots, e.died) or n + 1
    if e.died then held = held + e.bytes else live = live + e.bytes end
    written[first] = written[first] + e.bytes
    change[first] = change[first] + e.bytes
    if e.died then change[behind] = change[behind] - e.bytes end
    if behind == first + 1 and e.died then used[first] = used[first] + e.bytes end
  end
  local sum, referenced = ds.inherited, {}
  for i = 1, n do
    sum = sum + change[i]
    referenced[i] = sum
  end
  local by = {}
  for i, s in ipairs(ds.snapshots) do by[s] = { referenced = referenced[i], written = written[i], used = used[i] } end
  return { referenced = live + ds.inherited, written = written[n + 1], live = live, by_snapshots = held, snapshot = by }
end

--- The numbers of a dataset and its snapshots, in bytes.
-- @param ds dataset
-- @return { referenced, written = since the newest snapshot, live = its own, by_snapshots = kept by snapshots alone,
--   snapshot = { [snapshot] = { referenced, written, used } } }
function space.stats(ds)
  ds.stats = ds.stats or compute(ds)
  return ds.stats
end

--- Bytes written to a dataset since a snapshot or bookmark of it.
-- @param ds dataset; @param since its snapshot or bookmark; @param to a later snapshot, or nil for now; @return bytes
function space.written_between(ds, since, to)
  local sum = 0
  for _, e in ipairs(ds.extents) do
    local alive = not e.died or (to and e.died > to.createtxg)
    if e.born > since.createtxg and alive and (not to or e.born <= to.createtxg) then sum = sum + e.bytes end
  end
  return sum
end

return space
