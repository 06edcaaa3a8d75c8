--- Quotas of targets: none while something is received, and otherwise as on the source, as is the refreservation. A target holds more snapshots than its
-- source, and a quota that was received would stop the next receive.
--
-- They are lifted by the receive itself (`-o quota=none`), so a kill leaves at worst a target without quotas, which the next run sees in its listing.

local failure = require "moonpool.failure"
local log = require "moonpool.log"

local quota = {}

local LIFTED = { "quota", "refquota" }
local RESTORED = { "quota", "refquota", "refreservation" }

-- Whether the user has asked for something else of this property.
local function is_users(run, name)
  for _, excluded in ipairs(run.options.filter_properties or {}) do
    if excluded == name then return true end
  end
  return (run.options.set_properties or {})[name] ~= nil
end

local function applies(run, pair, name)
  if name == "refreservation" then
    -- What was received for the first time has what came with its stream.
    if run.options.clear_refreservation or not (pair.target and pair.target.refreservation) then return false end
  elseif pair.source.type == "volume" then
    return false
  end
  return not is_users(run, name)
    and ((pair.source[name] or 0) > 0 or (pair.target and pair.target[name] or 0) > 0)
end

--- Lifts what could stop a receive. @param run the run; @param pair the pair; @param set properties that the receive will set: is added to
function quota.lift(run, pair, set)
  for _, name in ipairs(LIFTED) do
    if applies(run, pair, name) then
      set[name] = "none"
      pair.lifted = true
    end
  end
end

-- What is to be set so that the target is as the source.
local function differences(run, pair)
  local wanted = {}
  for _, name in ipairs(RESTORED) do
    local there = pair.target[name] or 0
    if pair.lifted and name ~= "refreservation" then there = 0 end
    if applies(run, pair, name) and pair.source[name] ~= there then wanted[#wanted + 1] = ("%s=%d"):format(name, pair.source[name]) end
  end
  return wanted
end

-- What zfs says when there is more than a quota allows, or too little room for a reservation.
local function is_too_small(err)
  for _, text in ipairs { "less than current used", "out of space", "greater than available space" } do
    if (err.stderr or ""):find(text, 1, true) then return true end
  end
end

--- Makes the quotas and the refreservation of a target those of its source. What holds too much for them stays without, as zfs refuses to set them.
-- @param run the run; @param pair the pair; what fails otherwise is noted
function quota.restore(run, pair)
  if not pair.target or pair.target.token then return end
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
    failure.note(run, pair.target_name, err)
  end
end

return quota
