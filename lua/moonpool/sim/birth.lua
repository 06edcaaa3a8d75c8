--- What a new dataset of the simulator takes from those above it: its encryption, and whether it is mounted.

local properties = require "moonpool.sim.properties"

local birth = {}

--- Lets a new dataset be encrypted like the one above it. @param ds dataset; @return the same
function birth.encrypt(ds)
  if ds.parent and ds.parent.crypt and not ds.crypt then
    ds.crypt = { cipher = ds.parent.crypt.cipher, root = ds.parent.crypt.root }
  end
  return ds
end

--- Mounts a filesystem if its properties say so. @param ds dataset; @return the same
function birth.mount(ds)
  local where = ds.type == "filesystem" and properties.get(ds, "mountpoint")
  local locked = ds.crypt and not ds.crypt.root.key.loaded
  ds.mounted = where and where ~= "none" and where ~= "legacy" and not locked and properties.get(ds, "canmount") == "on" or nil
  return ds
end

return birth
