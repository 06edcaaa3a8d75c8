--- Old targets that were renamed, so that a new one can be received in their place (--on-diverged rename and full).
--
-- What lies below goes along, and comes back when the new one is there. A run may end anywhere in between; the user property moonpool:aside tells the next
-- one what was to be done.

local common = require "moonpool.common"
local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local failure = require "moonpool.failure"
local log = require "moonpool.log"
local remove = require "moonpool.remove"
local zfs = require "moonpool.zfs"

local aside = {}

-- "rename" or "full" until the new target is there, then "kept".
local PROPERTY = "moonpool:aside"

-- Behind the name that it had; a number follows where several were set aside in one second.
local STAMP = "%.old%-" .. ("%d"):rep(14)

-- The name that a dataset had, if it was set aside.
local function original_of(name)
  if not name:find(".old-", 1, true) then return nil end
  return name:match("^(.+)" .. STAMP .. "$") or name:match("^(.+)" .. STAMP .. "%-%d+$")
end

--- Whether a dataset, or one above it, has the name of one that was set aside. @param name the dataset's; @return boolean
-- @example aside.covers "back/a.old-20260102030405/b" --> true
function aside.covers(name)
  while name do
    if original_of(name) then return true end
    name = zfs.parent(name)
  end
  return false
end

-- A name beside the old one that is not taken.
local function free_name(run, name)
  local stem = name .. ".old-" .. os.date("!%Y%m%d%H%M%S", run.now)
  local free, n = stem, 1
  while run.target.datasets[free] do
    n = n + 1
    free = stem .. "-" .. n
  end
  return free
end

--- Renames a target, with all that lies below it. @param run the run; @param old, new its names; @raise what the command met
function aside.rename(run, old, new)
  run.target.host:run { "zfs", "rename", old, new }
  dataset.note_renamed(run.target, old, new)
  for _, pair in ipairs(run.pairs) do pair.target = run.target.datasets[pair.target_name] end
end

--- Renames the target of a pair, with all that lies below it. @param run the run; @param pair the pair, which has no target then
-- @param action "rename" or "full": what is to become of it; @raise what the commands met
function aside.set(run, pair, action)
  local name = pair.target_name
  local old = free_name(run, name)
  log.info("Keeping %s aside as %s", name, old)
  -- First, so that there never is one of which nobody knows what it is for.
  run.target.host:run { "zfs", "set", PROPERTY .. "=" .. action, name }
  aside.rename(run, name, old)
  pair.aside = { name = old, action = action }
  run.asides[pair] = true
end

--- Refuses to receive something whose old target is aside with that of a dataset above it. @param run the run; @param pair a pair without a target
-- @raise parent
function aside.check_above(run, pair)
  for other in pairs(run.asides) do
    if zfs.is_below(pair.target_name, other.target_name) then
      errors.fail("parent", "its parent %s was not received, so there is no place for it", other.name)
    end
  end
end

local function forget(run, pair) pair.aside, run.asides[pair] = nil, nil end

-- Gives an old target its name again, as nothing came in its place.
local function put_back(run, pair)
  local old = pair.aside.name
  log.info("Renaming %s back to %s", old, pair.target_name)
  aside.rename(run, old, pair.target_name)
  forget(run, pair)
  run.target.host:run { "zfs", "inherit", PROPERTY, pair.target_name }
end

-- Brings back what lay below the old target.
local function bring_back(run, pair)
  local old, children = pair.aside.name, {}
  for name in pairs(run.target.datasets) do
    if zfs.parent(name) == old then children[#children + 1] = name end
  end
  table.sort(children)
  for _, name in ipairs(children) do aside.rename(run, name, pair.target_name .. name:sub(#old + 1)) end
end

-- Puts what is aside where it belongs until the transfer goes on: a target of which a part was received can have nothing below it yet.
local function recover(run, pair)
  if not pair.target then
    put_back(run, pair)
  elseif pair.target:newest() then
    bring_back(run, pair)
  end
end

local function try_to_recover(run, pair)
  local ok, err = failure.try(recover, run, pair)
  if not ok then log.warn("%s stays aside as %s: %s", pair.target_name, pair.aside and pair.aside.name or "?", tostring(err)) end
end

-- Finds what interrupted runs have set aside of this run's pairs, by the pairs' `aside`.
local function find(run)
  local by_target, names = {}, {}
  for _, pair in ipairs(run.pairs) do by_target[pair.target_name] = pair end
  for name in pairs(run.target.datasets) do
    local pair = by_target[original_of(name)]
    if pair then names[#names + 1] = name end
  end
  if #names == 0 then return {} end
  table.sort(names)
  local list = {}
  for _, row in ipairs(dataset.get(run.target, { properties = { PROPERTY } }, names)) do
    if row.source == "local" and (row.value == "rename" or row.value == "full") then
      local pair = by_target[original_of(row.name)]
      pair.aside = { name = row.name, action = row.value }
      run.asides[pair] = true
      list[#list + 1] = pair
    end
  end
  return list
end

--- Sees what interrupted runs have left aside, and puts it where it belongs: back in its place if nothing was received there, else what lay below it.
-- @param run the run, whose `asides` are the pairs with an `aside` from then on; @raise what the listings met
function aside.recover(run)
  run.asides = {}
  for _, pair in ipairs(find(run)) do
    local names = {}
    for name in pairs(run.target.datasets) do
      if name == pair.aside.name or zfs.is_below(name, pair.aside.name) then names[#names + 1] = name end
    end
    dataset.load_snapshots(run.target, names)
    try_to_recover(run, pair)
  end
end

--- The same for a pair whose transfer has failed for good. @param run the run; @param pair the pair
function aside.give_up(run, pair)
  if not pair.aside then return end
  if not run.target.host.dry then
    local ok, there = failure.try(dataset.reload, run.target, pair.target_name)
    if not ok then return end
    pair.target = there
  end
  try_to_recover(run, pair)
end

-- Whether a new target shows what both sides should have.
local function check_arrival(run, pair)
  if run.target.host.dry then return end
  local newest = common.newest(pair)
  local name = newest and pair.target_name .. "@" .. newest.to.name
  local seen = name and dataset.look(run.target.host, { name })[name]
  if not seen or seen.guid ~= newest.from.guid then
    errors.fail("verify", "%s did not arrive, so the old one stays: %s", pair.target_name, pair.aside.name)
  end
end

local function destroy(run, pair)
  check_arrival(run, pair)
  local name = pair.aside.name
  log.info("Destroying the old %s", name)
  if run.target.host.dry then run.target.datasets[name] = nil end -- which has no holds to be seen by that name
  remove.dataset(run, name)
end

--- Once a new target is up to date: brings back what lay below the old one, which is kept, or destroyed if it was set aside for "full".
-- @param run the run; @param pair the pair; @raise verify: the new one did not arrive; what the commands met: the old one is kept then
function aside.finish(run, pair)
  local old = pair.aside
  if not old or not (pair.target and pair.target:newest()) then return end
  bring_back(run, pair)
  local ok, err = false, nil
  if old.action == "full" then ok, err = failure.try(destroy, run, pair) end
  -- What somebody holds is told once, and no failure of every run from now on.
  if not ok and not errors.is(err, "verify") then run.target.host:run { "zfs", "set", PROPERTY .. "=kept", old.name } end
  forget(run, pair)
  if err then errors.raise(err) end
end

return aside
