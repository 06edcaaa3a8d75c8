--- Quotas of targets: none while something is received, and otherwise as on the source, as is the refreservation. A target holds more snapshots than its
-- source, and a quota that was received would stop the next receive.
--
-- A dataset's own are lifted by its receive (`-o quota=none`), that of one above before all transfers. A kill leaves at worst targets without quotas, which
-- the next run sees in its listing.

local errors = require "moonpool.error"
local failure = require "moonpool.failure"
local log = require "moonpool.log"
local zfs = require "moonpool.zfs"

local quota = {}

local LIFTED = { "quota", "refquota" }
local RESTORED = { "quota", "refquota", "refreservation" }

-- Whether an option or a hook has said something else of a property. @param given what a receive is told: run.receive_properties(pair)
local function is_users(given, name)
  for _, excluded in ipairs(given.exclude) do
    if excluded == name then return true end
  end
  return given.set[name] ~= nil
end

-- Whether there is something to be done about a property, if it is not the user's.
local function applies(pair, name)
  if name == "refreservation" then
    -- What was received for the first time has what came with its stream.
    if not (pair.target and pair.target.refreservation) then return false end
  elseif pair.source.type == "volume" then
    return false
  end
  return (pair.source[name] or 0) > 0 or (pair.target and pair.target[name] or 0) > 0
end

--- Lifts what of a dataset's own could stop its receive. @param pair the pair; @param given what the receive is told, { set, exclude }: is added to
function quota.lift(pair, given)
  for _, name in ipairs(LIFTED) do
    if applies(pair, name) and not is_users(given, name) then
      given.set[name] = "none"
      pair.lifted = true
    end
  end
end

-- The targets with a quota that counts what is received below them, by name. Those that the run left out have one just the same.
local function with_quota(run)
  local found = {}
  for _, list in ipairs { run.pairs, run.left_out } do
    for _, pair in ipairs(list) do
      if pair.target and (pair.target.quota or 0) > 0 then found[pair.target_name] = pair end
    end
  end
  return found
end

--- Lifts the quotas of the targets above those that are going to receive, with one command for all of them.
-- @param run the run; @param list pairs that will receive; @raise what the command met
function quota.lift_above(run, list)
  local limits, lifted, names = with_quota(run), {}, {}
  if not next(limits) then return end
  for _, pair in ipairs(list) do
    local name = zfs.parent(pair.target_name)
    while name do
      local above = limits[name]
      if above and not lifted[above] and not is_users(run.receive_properties(above), "quota") then
        lifted[above] = true
        names[#names + 1] = name
      end
      name = zfs.parent(name)
    end
  end
  for batch in zfs.batches(names, zfs.MAX_ARGUMENT_BYTES) do
    run.target.host:run(table.move(batch, 1, #batch, 4, { "zfs", "set", "quota=none" }))
  end
  for above in pairs(lifted) do above.target.quota = 0 end
end

-- What is to be set so that the target is as the source.
local function differences(run, pair)
  local wanted, given = {}, nil
  for _, name in ipairs(RESTORED) do
    local there = pair.target[name] or 0
    if pair.lifted and name ~= "refreservation" then there = 0 end
    if applies(pair, name) and pair.source[name] ~= there then
      given = given or run.receive_properties(pair)
      if not is_users(given, name) then wanted[#wanted + 1] = ("%s=%d"):format(name, pair.source[name]) end
    end
  end
  return wanted
end

-- What zfs says when there is more than a quota allows, or too little room for a reservation.
local function is_too_small(err)
  for _, text in ipairs { "less than current used", "out of space", "greater than available space" } do
    if (err.stderr or ""):find(text, 1, true) then return true end
  end
end

-- What holds too much for them stays without, as zfs refuses to set them.
local function restore(run, pair)
  local wanted = differences(run, pair)
  if #wanted == 0 then return end
  local argv = table.move(wanted, 1, #wanted, 3, { "zfs", "set" })
  argv[#argv + 1] = pair.target_name
  local ok, err = failure.try(run.target.host.run, run.target.host, argv)
  if ok then
    pair.lifted = nil
    for _, name in ipairs(RESTORED) do pair.target[name] = pair.source[name] end
  elseif is_too_small(err) then
    log.info("%s has no room for %s: it stays without", pair.target_name, table.concat(wanted, ", "))
  else
    errors.raise(err)
  end
end

--- Makes the quotas and refreservations of all targets those of their sources, once nothing is received any more: what is received below a target counts
-- for its quota too.
-- @param run the run; what fails is noted
function quota.restore_all(run)
  for _, list in ipairs { run.pairs, run.left_out } do
    for _, pair in ipairs(list) do
      if pair.target and not pair.target.token then
        local ok, err = failure.try(restore, run, pair)
        if not ok then failure.note(run, pair.target_name, err) end
      end
    end
  end
end

return quota
