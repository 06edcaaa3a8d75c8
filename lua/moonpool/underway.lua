--- Transfers to other targets that were cut off: two holds of one target's tag mark the first and the last snapshot that it is still to get, and nothing
--- between them may go. (Holding each of them would cost a transaction group each: zfs places one hold at a time, however many it is told of.)

local holds = require "moonpool.hold"

local underway = {}

-- Whether a tag is this backup's for another target than that of the run.
local function is_of_another_target(run, tag)
  return tag ~= run.source_tag and tag:sub(1, #run.target_tag + 1) == run.target_tag .. ":"
end

-- The snapshots of datasets that have more than one hold: { [full name] = snapshot }, and their names.
local function candidates(run)
  local snapshots, names = {}, {}
  for _, pair in ipairs(run.pairs) do
    local list = pair.source:held()
    for _, s in ipairs(#list > 1 and list or {}) do
      names[#names + 1] = pair.name .. "@" .. s.name
      snapshots[names[#names]] = s
    end
  end
  return snapshots, names
end

--- Finds them, with one command for all datasets, and none where no dataset has two snapshots that are held.
-- @param run the run
-- @return { [dataset] = array of { first, last }, two transaction groups }; @raise what the command met
function underway.find(run)
  local found = {}
  local snapshots, names = candidates(run)
  if #names == 0 then return found end
  for tag, list in pairs(holds.by_tag(run.source.host, names)) do
    local spans = {}
    for _, name in ipairs(is_of_another_target(run, tag) and list or {}) do
      local s = snapshots[name]
      local span = spans[s.dataset] or { first = s.createtxg, last = s.createtxg }
      span.first, span.last = math.min(span.first, s.createtxg), math.max(span.last, s.createtxg)
      spans[s.dataset] = span
    end
    for ds, span in pairs(spans) do
      found[ds] = found[ds] or {}
      if span.first < span.last then table.insert(found[ds], span) end
    end
  end
  return found
end

return underway
