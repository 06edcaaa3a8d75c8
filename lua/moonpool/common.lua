--- What two sides have in common: snapshots and bookmarks of the source that the target has too, by GUID. Names prove nothing.

local common = {}

--- Entries by their GUID; those without one (of a dry run) by themselves. @param list of snapshots or bookmarks; @return table
-- @example common.by_guid { { guid = 7 } }[7].guid --> 7
function common.by_guid(list)
  local found = {}
  for _, s in ipairs(list) do found[s.guid or s] = s end
  return found
end

--- Snapshots and bookmarks of the source that the target has too, newest first.
-- @param pair a pair, or { source, target }; @return array of { from = source entry, to = target snapshot }
function common.list(pair)
  if not pair.target or not pair.source then return {} end
  local on_target = common.by_guid(pair.target:snapshots())
  local list, seen = {}, {}
  local function consider(entries)
    for i = #entries, 1, -1 do
      local to = entries[i].guid and on_target[entries[i].guid]
      if to and not seen[to] then
        seen[to] = true
        list[#list + 1] = { from = entries[i], to = to }
      end
    end
  end
  -- A snapshot is the better base: an incremental of many snapshots at once can't start at a bookmark.
  consider(pair.source:snapshots())
  consider(pair.source:bookmarks())
  for i = 2, #list do
    if list[i].to.createtxg > list[i - 1].to.createtxg then
      table.sort(list, function(a, b) return a.to.createtxg > b.to.createtxg end)
      break
    end
  end
  return list
end

-- Where both sides are in step: the newest of the target is a snapshot of the source.
local function in_step(pair)
  local to, from = pair.target:newest(), pair.source:newest()
  if not to or not to.guid then return nil end
  if from and from.guid == to.guid then return { from = from, to = to } end
  local here = pair.source:snapshots()
  for i = #here, 1, -1 do
    if here[i].guid == to.guid then return { from = here[i], to = to } end
  end
end

--- The newest one. @param pair a pair, or { source, target }; @return { from, to }, or nil
function common.newest(pair)
  if not pair.target or not pair.source then return nil end
  return in_step(pair) or common.list(pair)[1]
end

return common
