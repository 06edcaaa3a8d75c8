--- Globals for scripts and policies: those that exist, and no others. A misspelt name is an error where it stands.

local errors = require "moonpool.error"
local suggest = require "moonpool.suggest"

local strict = {}

-- Where the code stands that touched the global: the nearest Lua function above the metamethod.
local function place()
  local info = debug.getinfo(3, "Sl")
  return info and ("%s:%d"):format(info.short_src, info.currentline) or "?"
end

local function names_of(...)
  local names = {}
  for _, t in ipairs { ... } do
    for name in pairs(t) do
      if type(name) == "string" then names[#names + 1] = name end
    end
  end
  table.sort(names)
  return names
end

--- An environment for one chunk: Lua's globals can be read; an undeclared one can't, and none can be made.
-- @param extra names that exist beside Lua's own, or nil
-- @return table, for `load`
-- @example load(source, "@nas.lua", "t", strict.environment())
function strict.environment(extra)
  extra = extra or {}
  return setmetatable({}, {
    __index = function(_, name)
      local value = extra[name]
      if value == nil then value = _G[name] end
      if value == nil then
        errors.fail("policy", "%s: no global '%s'%s", place(), tostring(name), suggest.text(name, names_of(_G, extra)))
      end
      return value
    end,
    __newindex = function(_, name)
      errors.fail("policy", "%s: '%s' is not declared: write `local %s`", place(), tostring(name), tostring(name))
    end,
  })
end

return strict
