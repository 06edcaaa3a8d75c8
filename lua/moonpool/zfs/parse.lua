--- Reads what zfs and zpool print. Pure; text that is not what a command prints is left out, never guessed at.

local units = require "moonpool.zfs.units"

local parse = {}

-- Lines of a text without the newline that ends the last one, so that an empty last line is one.
local function lines(text)
  if text == "" then return function() end end
  return (text:sub(-1) == "\n" and text or text .. "\n"):gmatch "([^\n]*)\n"
end

--- A GUID, of 64 bits without a sign, as a Lua integer (one above 2^63 is negative, as in a catalog).
-- @param text decimal, or hexadecimal with 0x; @return integer, or nil if the text is neither
-- @example zfs.parse_guid "18446744073709551615" --> -1
function parse.parse_guid(text)
  if text:find "^0x%x+$" then return math.tointeger(tonumber(text)) end
  if not text:find "^%d+$" then return nil end
  if #text <= 18 then return math.tointeger(tonumber(text)) end
  -- The parts are small enough to be exact; putting them together wraps around as it should.
  return math.tointeger(tonumber(text:sub(1, -11))) * 10000000000 + math.tointeger(tonumber(text:sub(-10)))
end

-- ---- properties -----------------------------------------------------------------------------------------

local SOURCES = { ["local"] = true, received = true, default = true, temporary = true, ["-"] = true, none = true }

-- The columns of a row of `zfs get`, or nil if the line is a further line of a value.
local function get_row(line, known)
  local name, property, source, value = line:match "^([^\t]+)\t([^\t]+)\t([^\t]+)\t(.*)$"
  if not name or not (SOURCES[source] or source:find "^inherited from .") then return nil end
  if not name:find "^%w[%w%-_.:%% /@#]*$" or not property:find "^%l[%l%d%-_.:]*[@#]?[^\t]*$" then return nil end
  if known and not known[name] then return nil end
  return { name = name, property = property, source = source, value = value }
end

--- Reads the output of `zfs.get_argv`. A value may have tabs and newlines in it: what is no row belongs to the value before it.
-- @param text the output
-- @param names array of the datasets asked for, if known: then no value can pass for a row of another dataset. Or nil
-- @return array of { name, property, source, value }
-- @example zfs.parse_get "tank/a\tquota\tlocal\t1048576\n" --> { { name = "tank/a", property = "quota", … } }
function parse.parse_get(text, names)
  local known
  if names then
    known = {}
    for _, name in ipairs(names) do known[name] = true end
  end
  local rows = {}
  for line in lines(text) do
    local row = get_row(line, known)
    if row then
      rows[#rows + 1] = row
    elseif #rows > 0 then
      rows[#rows].value = rows[#rows].value .. "\n" .. line
    end
  end
  return rows
end

-- ---- holds ----------------------------------------------------------------------------------------------

--- Reads the output of `zfs.holds_argv`. @param text the output; @return array of { snapshot = full name, tag }
function parse.parse_holds(text)
  local rows = {}
  for line in lines(text) do
    local snapshot, tag = line:match "^([^\t]+)\t([^\t]+)\t"
    if snapshot then rows[#rows + 1] = { snapshot = snapshot, tag = tag } end
  end
  return rows
end

-- ---- streams --------------------------------------------------------------------------------------------

-- What `zfs send -nP` and `zfs send -nv` say of one stream: pattern, and what its captures are.
local ESTIMATES = {
  { "^full\t([^\t]+)\t?(%d*)$", "to", "bytes" },
  { "^incremental\t([^\t]+)\t([^\t]+)\t?(%d*)$", "from", "to", "bytes" },
  { "^full send of (.+) estimated size is (%S+)$", "to", "size" },
  { "^send from (.+) to (.+) estimated size is (%S+)$", "from", "to", "size" },
}

local function estimate_of(line)
  for _, form in ipairs(ESTIMATES) do
    local found = { line:match(form[1]) }
    if found[1] then
      local step = {}
      for i, field in ipairs(found) do step[form[i + 1]] = field end
      local bytes = math.tointeger(tonumber(step.bytes)) or (step.size and units.parse_size(step.size))
      return { from = step.from, to = step.to, bytes = bytes }
    end
  end
end

--- Reads what `zfs send -nP`, `-nv` or `-nvP` estimates.
-- @param text its output
-- @return { bytes = of all streams together, or nil if it says none; steps = array of { from = name or nil, to = name, bytes } }; the
--   sizes of `-nv` without `-P` are rounded
-- @example zfs.parse_send_estimate "full\ttank/a@x\t4215664\nsize\t4215664\n" --> { bytes = 4215664, steps = { … } }
function parse.parse_send_estimate(text)
  local estimate = { steps = {} }
  for line in lines(text) do
    local total = line:match "^size\t(%d+)$"
    local rounded = line:match "^total estimated size is (%S+)$"
    estimate.bytes = estimate.bytes or math.tointeger(tonumber(total)) or (rounded and units.parse_size(rounded))
    estimate.steps[#estimate.steps + 1] = estimate_of(line)
  end
  return estimate
end

-- Fields of a token that are only there if they are true.
local TOKEN_FLAGS = { embedok = true, largeblockok = true, compressok = true, rawok = true, savedok = true }

--- Reads what `zfs send -nvt TOKEN` says of a resume token (OpenZFS 0.7 to 2.3 print it alike, on one stream or the other).
-- @param text its standard output and standard error
-- @return { toname = full name, toguid, fromguid = integers, object, offset, bytes = integers, embedok, largeblockok, compressok, rawok =
--   true or nil }, or nil if the text describes no token
-- @example zfs.parse_token(out).toname --> "tank/a@x"
function parse.parse_token(text)
  if not text:find("resume token contents:", 1, true) then return nil end
  local token = {}
  for line in lines(text) do
    local field, value = line:match "^%s+([%w_]+) = (.*)$"
    if field == "toname" then
      token.toname = value
    elseif TOKEN_FLAGS[field] then
      token[field] = value ~= "0" and true or nil
    elseif field then
      token[field] = parse.parse_guid(value)
    end
  end
  return token.toname and token.toguid and token or nil
end

-- ---- pools and versions ---------------------------------------------------------------------------------

-- Of the properties of a pool, those that are numbers; the GUID is one of 64 bits.
local POOL_NUMBERS = { size = true, free = true, allocated = true, capacity = true, freeing = true, guid = true }

--- Reads `zpool get -Hp -o name,property,value all`, or the four columns without `-o`.
-- @param text its output
-- @return { [pool] = { guid, size, free, allocated = integers, health, … = text, features = { [name] = "enabled" or "active" } } };
--   a feature that is disabled is left out
-- @example zfs.parse_pools(out).tank.features.bookmarks --> "active"
function parse.parse_pools(text)
  local pools = {}
  for line in lines(text) do
    local name, property, value = line:match "^([^\t]+)\t([^\t]+)\t([^\t]*)"
    if name then
      local pool = pools[name] or { features = {} }
      pools[name] = pool
      local feature = property:match "^feature@(.+)$"
      if not feature then
        pool[property] = POOL_NUMBERS[property] and parse.parse_guid(value) or value
      elseif value ~= "disabled" then
        pool.features[feature] = value
      end
    end
  end
  return pools
end

--- The features alone. @param text as for `parse_pools`; @return { [pool] = { [feature] = "enabled" or "active" } }
function parse.parse_features(text)
  local features = {}
  for name, pool in pairs(parse.parse_pools(text)) do features[name] = pool.features end
  return features
end

--- Reads `zfs version`.
-- @param text its output
-- @return { major, minor, patch = integers, text = "2.3.2-2~bpo12+2", kernel = the module's version as text, or nil }, or nil
-- @example zfs.parse_version("zfs-2.3.2-2\nzfs-kmod-2.3.2-2\n").minor --> 3
function parse.parse_version(text)
  local version = text:match "^zfs%-(%d%S*)"
  if not version then return nil end
  local major, minor, patch = version:match "^(%d+)%.?(%d*)%.?(%d*)"
  return {
    major = math.tointeger(tonumber(major)),
    minor = math.tointeger(tonumber(minor)) or 0,
    patch = math.tointeger(tonumber(patch)) or 0,
    text = version,
    kernel = text:match "zfs%-kmod%-(%S+)",
  }
end

return parse
