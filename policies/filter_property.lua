--- Rules for the hook `filter_property`: what becomes of a property on the target. A rule is a function (ds, name, value, source) that returns nil (as it is),
-- false (left out) or the value to set.

local zfs = require "moonpool.zfs"

local rules = {}

--- The hook made of rules; the first one with an opinion counts. @param ... rules; @return function for the hook `filter_property`
-- @example policy:extend { filter_property = rules.hook(rules.no_mounts(), rules.set("compression", "zstd")) }
function rules.hook(...)
  local list = { ... }
  return function(_, ds, name, value, source, ctx)
    for _, rule in ipairs(list) do
      local answer = rule(ds, name, value, source, ctx)
      if answer ~= nil then return answer end
    end
  end
end

--- Leaves properties out. @param ... their names; @return a rule
-- @example rules.drop("atime", "recordsize")
function rules.drop(...)
  local unwanted = {}
  for _, name in ipairs { ... } do unwanted[name] = true end
  return function(_, name)
    if unwanted[name] then return false end
  end
end

--- Leaves out properties whose name matches. @param pattern of Lua; @return a rule
-- @example rules.drop_matching "^com%.sun:"
function rules.drop_matching(pattern)
  return function(_, name)
    if name:find(pattern) then return false end
  end
end

--- Leaves out where a dataset is mounted and how it is shared. @return a rule
-- @example rules.no_mounts()
function rules.no_mounts() return rules.drop("mountpoint", "canmount", "sharenfs", "sharesmb", "overlay", "jailed", "zoned") end

--- Sets a property to one value wherever the source has set it. @param name the property's; @param value text; @return a rule
-- @example rules.set("compression", "zstd")
function rules.set(name, value)
  return function(_, property)
    if property == name then return value end
  end
end

-- What only some systems know, by system.
local ONLY = {
  linux = { acltype = true, relatime = true, context = true, fscontext = true, defcontext = true, rootcontext = true, volmode = true, snapdev = true },
  freebsd = { jailed = true, volmode = true },
  illumos = { zoned = true, nbmand = true, vscan = true, mlslabel = true, shareiscsi = true },
}

--- Leaves out what the target's system does not know, as a receive would fail on it. @param system "linux", "freebsd" or "illumos"; @return a rule
-- @example rules.for_system "freebsd"
function rules.for_system(system)
  local known = assert(ONLY[system], "filter_property.for_system: linux, freebsd or illumos, not " .. tostring(system))
  return function(_, name, value)
    for _, names in pairs(ONLY) do
      if names[name] and not known[name] then return false end
    end
    -- xattr=sa is a matter of Linux and of newer FreeBSD; "on" is understood everywhere.
    if name == "xattr" and value == "sa" and system ~= "linux" then return "on" end
  end
end

--- Changes the values of properties that users made up. @param pattern of Lua, for the name; @param change function(value) that returns the new one
-- @return a rule
-- @example rules.user("^org:", function(value) return value:lower() end)
function rules.user(pattern, change)
  return function(_, name, value)
    if zfs.is_user_property(name) and name:find(pattern) then return change(value) end
  end
end

return rules
