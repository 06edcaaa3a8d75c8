--- What the hooks of policies may answer. An answer that can't be meant is refused before anything is done about it.

local errors = require "moonpool.error"
local suggest = require "moonpool.suggest"

local answer = {}

local function one_of(...)
  local wanted, text = {}, table.concat({ ... }, " or ")
  for _, kind in ipairs { ... } do wanted[kind] = true end
  return function(value)
    if not wanted[type(value)] then return text end
  end
end

local SEND_OPTIONS = { raw = true, large_blocks = true, compressed = true, embed = true, props = true }

local function send_options(value)
  if type(value) ~= "table" then return "a table of options" end
  for name, set in pairs(value) do
    if not SEND_OPTIONS[name] then
      local known = {}
      for word in pairs(SEND_OPTIONS) do known[#known + 1] = word end
      table.sort(known)
      return ("a table of %s%s"):format(table.concat(known, ", "), suggest.text(tostring(name), known))
    end
    if type(set) ~= "boolean" then return ("true or false for %s"):format(name) end
  end
end

local function filtered(value)
  if value ~= false and type(value) ~= "string" then return "nil (as it is), false (left out) or a string" end
end

-- What tells times from the names of snapshots: an object of moonpool.names, or one like it.
local function names(value)
  if type(value) ~= "table" or type(value.time) ~= "function" then return "an object of moonpool.names" end
end

-- Hook, or function that is none -> function(first answer) that returns what it can be, if it is not. Some answers are checked where they are used,
-- against what was asked.
local CHECKS = {
  select = one_of "boolean",
  snapshot = one_of "boolean",
  order = one_of "table",
  snapshot_name = one_of "string",
  target_name = one_of "string",
  keep = one_of "table",
  base = one_of "table",
  on_diverged = one_of "string",
  send_options = send_options,
  filter_property = filtered,
  names = names,
  nothing = one_of("string", "nil"),
}

-- Text in quotes, so that '12' is not taken for 12.
local function shown(value) return type(value) == "string" and "'" .. value .. "'" or tostring(value) end

--- Checks what a hook, or another function of a policy, answered.
-- @param name the hook's; @param value its first answer; @param where "hook 'keep' of policy 'nas' (nas.lua:12)", for the message
-- @raise policy: the answer can't be meant
-- @example answer.check("select", true, "hook 'select'")
function answer.check(name, value, where)
  local expected = CHECKS[name] and CHECKS[name](value)
  if expected then errors.fail("policy", "%s returned %s, not %s", where, type(value) == "table" and "a table" or shown(value), expected) end
end

return answer
