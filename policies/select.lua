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

return select
