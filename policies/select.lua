--- Rules that say which datasets are backed up: a rule gets one dataset and answers in or out, and why.
--
-- A dataset here has `name`, `type`, and what `zfs get` says of the backup's property: `value`, `source` ("local",
-- "inherited", "received", "none") and `from`, the dataset it is inherited from.

local zfs = require "moonpool.zfs"

local select = {}

-- value of the property -> what it means where it is set, and below.
local MEANING = {
  ["true"] = { here = true, below = true },
  ["child"] = { here = false, below = true },
  ["parent"] = { here = true, below = false },
  ["false"] = { here = false, below = false },
}

local WHY_NOT = { child = "only its children", parent = "only its parent", ["false"] = "disabled" }

--- By the backup's property, as the contract says: true, child, parent, false.
-- @param ds the dataset; @param received true: a property that was received selects too (that is how backups of backups start loops)
-- @return true or false and the reason; nil without the property; nil and a third value, what is wrong, for any other value
-- @example select.property { name = "tank", value = "true", source = "local" } --> true, "direct selection"
function select.property(ds, received)
  if ds.source == "none" then return nil end
  if ds.source == "received" and not received then return false, "received property" end
  local meaning = MEANING[ds.value]
  if not meaning then return nil, nil, ("has the value '%s'; it can be true, child, parent or false"):format(ds.value) end
  local inherited = ds.source == "inherited" or ds.from ~= nil
  if inherited and meaning.below then return true, "inherited selection" end
  if not inherited and meaning.here then return true, "direct selection" end
  return false, WHY_NOT[ds.value]
end

--- Leaves out what lies at or below a dataset; a child of `tank/a` is not one of `tank/ab`.
-- @param ds the dataset; @param path a dataset's name; @return false and the reason, or nil: no opinion
-- @example select.not_below({ name = "tank/backup/a" }, "tank/backup") --> false, "the target itself"
function select.not_below(ds, path)
  if ds.name == path or zfs.is_below(ds.name, path) then return false, "the target itself" end
end

-- A pattern of Lua for one of zfs names: `*` is anything within a component, `**` across components, `?` one character.
local function glob_pattern(glob)
  local pattern = glob:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*%*", "\1"):gsub("%*", "[^/]*"):gsub("%?", "[^/]"):gsub("\1", ".*")
  return "^" .. pattern .. "$"
end

--- A rule: datasets whose name matches. @param glob such as "tank/**/cache"; @return a rule: function(ds, ctx) that returns true and why, or nil
-- @example select.glob "tank/vm-*"
function select.glob(glob)
  local pattern = glob_pattern(glob)
  return function(ds)
    if ds.name:find(pattern) then return true, "matches " .. glob end
  end
end

--- A rule: a dataset and everything below it. @param name the dataset's; @return a rule
-- @example select.tree "tank/home"
function select.tree(name)
  return function(ds)
    if ds.name == name or zfs.is_below(ds.name, name) then return true, "part of " .. name end
  end
end

--- A rule: one kind of dataset. @param kind "filesystem" or "volume"; @return a rule
-- @example select.kind "volume"
function select.kind(kind)
  return function(_, ctx)
    if ctx.type == kind then return true, "a " .. kind end
  end
end

--- A rule: datasets that use at least so much. @param bytes with descendants and snapshots; @return a rule
-- @example select.larger_than(10 * 2^30)
function select.larger_than(bytes)
  return function(_, ctx)
    if (tonumber(ctx.properties.used) or 0) >= bytes then return true, ("uses %s or more"):format(zfs.format_bytes(math.floor(bytes))) end
  end
end

--- A rule: datasets whose newest snapshot is older than that, or that have none. @param seconds age; @return a rule
-- @example select.older_than(7 * 86400)
function select.older_than(seconds)
  return function(_, ctx)
    local newest = ctx.snapshots[#ctx.snapshots]
    if not newest then return true, "has no snapshot" end
    if ctx.now - newest.creation > seconds then return true, "its newest snapshot is older than " .. zfs.format_seconds(seconds) end
  end
end

--- A rule: a property of the dataset has a value. @param name the property's; @param value text; nil: any
-- @return a rule
-- @example select.has("org:tier", "gold")
function select.has(name, value)
  return function(_, ctx)
    local there = ctx.properties[name]
    if there and (value == nil or there == value) then return true, ("%s is %s"):format(name, there) end
  end
end

--- A rule: one of the rules says yes. @param ... rules; @return a rule, with the reason of the first that does
-- @example select.any(select.tree "tank/home", select.glob "tank/vm-*")
function select.any(...)
  local rules = { ... }
  return function(ds, ctx)
    for _, rule in ipairs(rules) do
      local yes, why = rule(ds, ctx)
      if yes then return true, why end
    end
  end
end

--- A rule: all of the rules say yes. @param ... rules; @return a rule, with all reasons
-- @example select.all(select.kind "volume", select.larger_than(2^30))
function select.all(...)
  local rules = { ... }
  return function(ds, ctx)
    local reasons = {}
    for i, rule in ipairs(rules) do
      local yes, why = rule(ds, ctx)
      if not yes then return nil end
      reasons[i] = why
    end
    return true, table.concat(reasons, ", ")
  end
end

--- A rule: none of the rules says yes. @param ... rules; @return a rule
-- @example select.none(select.glob "tank/tmp*")
function select.none(...)
  local any = select.any(...)
  return function(ds, ctx)
    if not any(ds, ctx) then return true, "none of what is left out" end
  end
end

--- The hook `select` of a policy that takes exactly what a rule says. @param rule a rule; @return function for the hook
-- @example policy:extend { select = select.only(select.tree "tank/home") }
function select.only(rule)
  return function(_, ds, ctx)
    local yes, why = rule(ds, ctx)
    return yes == true, why or "not asked for"
  end
end

--- The hook `select` of a policy that leaves out what a rule says, and has no opinion on the rest. @param rule a rule; @return function for the hook
-- @example policy:extend { select = select.without(select.kind "volume") }
function select.without(rule)
  return function(_, ds, ctx)
    local yes, why = rule(ds, ctx)
    if yes then return false, why end
  end
end

return select
