--- Bookmarks of what is sent, from which an incremental can start even when the snapshot is gone. A pool that can't have them does without.

local dataset = require "moonpool.dataset"
local failure = require "moonpool.failure"
local log = require "moonpool.log"
local plan = require "moonpool.plan"
local zfs = require "moonpool.zfs"

local bookmark = {}

-- So many are worth a channel program, which only root may run.
local MANY = 8

-- The bookmark that a snapshot is to have; nil if it has it already, or can't or shall not have one.
local function wanted(run, pair, s)
  if run.options.no_bookmarks or not dataset.has_feature(run.source, pair.name, "bookmarks") then return nil end
  local name = plan.bookmark_name(run, s.name)
  return not pair.source:has("#", name) and name or nil
end

local function note_made(pair, s, name)
  pair.source:add("#", { name = name, guid = s.guid, createtxg = s.createtxg, creation = s.creation, time = s.time })
end

--- Makes the bookmark of one snapshot, if there is none. What stands in the way is said, and no failure.
-- @param run the run; @param pair the pair; @param s a snapshot of its source; @raise a host that can't be asked
function bookmark.make(run, pair, s)
  local name = wanted(run, pair, s)
  if not name then return end
  local made = run.source.host:run(zfs.bookmark_argv(pair.name .. "@" .. s.name, pair.name .. "#" .. name), { check = false })
  if made.status == 0 then
    note_made(pair, s, name)
  else
    log.info("%s: no bookmark: %s", pair.name, tostring(made.error))
  end
end

local function make_of_pool(run, pool, list)
  local items = {}
  for i, item in ipairs(list) do
    items[i] = { item.pair.name .. "@" .. item.snapshot.name, item.pair.name .. "#" .. item.name }
  end
  -- Where it is not possible, each one is made by itself when its turn comes.
  if not failure.try(run.source.host.run, run.source.host, zfs.program_argv(pool), { input = zfs.bookmark_program(items) }) then return end
  for _, item in ipairs(list) do note_made(item.pair, item.snapshot, item.name) end
end

--- Makes those of many datasets, with one command a pool where that is possible. Others are left to `bookmark.make`.
-- @param run the run; @param list array of { pair, snapshot }
function bookmark.make_all(run, list)
  local by_pool = {}
  for _, item in ipairs(list) do
    local name = wanted(run, item.pair, item.snapshot)
    if name then
      local pool = zfs.pool(item.pair.name)
      by_pool[pool] = by_pool[pool] or {}
      table.insert(by_pool[pool], { pair = item.pair, snapshot = item.snapshot, name = name })
    end
  end
  for pool, items in pairs(by_pool) do
    if #items >= MANY then make_of_pool(run, pool, items) end
  end
end

return bookmark
