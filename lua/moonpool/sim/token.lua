--- Resume tokens of the simulator: opaque text in the form of zfs's, 1-CHECKSUM-LENGTH-HEXADECIMAL.
--
-- What is inside is not packed as zfs packs it, so a real zfs does not read them; `zfs send -nvt` of the simulator does, and prints
-- them as a real one would.

local token = {}

--- A stream begins and ends with a record of so many bytes; less than the first one is no stream.
token.RECORD_BYTES = 312

-- In the order in which zfs prints them; those in the second list are there only if they are true.
local NUMBERS = { "fromguid", "object", "offset", "bytes", "toguid" }
local FLAGS = { "largeblockok", "embedok", "compressok", "rawok" }

local function checksum(text)
  local a, b = 1, 0
  for i = 1, #text do
    a = (a + text:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return b << 16 | a
end

--- Makes a token.
-- @param fields { toname = text, toguid, bytes, object, offset = integers, fromguid = integer or nil, and flags }
-- @return text
function token.encode(fields)
  local parts = {}
  for _, name in ipairs(NUMBERS) do
    if fields[name] then parts[#parts + 1] = ("%s=%x"):format(name, fields[name]) end
  end
  for _, name in ipairs(FLAGS) do
    if fields[name] then parts[#parts + 1] = name .. "=1" end
  end
  parts[#parts + 1] = "toname=" .. fields.toname
  local text = table.concat(parts, ";")
  local hex = text:gsub(".", function(ch) return ("%02x"):format(ch:byte()) end)
  return ("1-%x-%x-%s"):format(checksum(text), #text, hex)
end

--- Reads a token. @param text the token; @return fields; or nil and why not, in the words of zfs
function token.decode(text)
  local version, sum, length, hex = text:match "^(%d+)%-(%x+)%-(%x+)%-(%x*)$"
  if not version then return nil, "resume token is corrupt (invalid format)" end
  if version ~= "1" then return nil, ("resume token is corrupt (invalid version %s)"):format(version) end
  local plain = hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)
  if tonumber(sum, 16) ~= checksum(plain) or tonumber(length, 16) ~= #plain then
    return nil, "resume token is corrupt (incorrect checksum)"
  end
  local fields = { toname = plain:match ";toname=(.*)$" }
  for _, name in ipairs(NUMBERS) do
    local value = plain:match("%f[%l]" .. name .. "=(%x+)")
    fields[name] = value and math.tointeger(tonumber("0x" .. value))
  end
  for _, name in ipairs(FLAGS) do fields[name] = plain:find(name .. "=1", 1, true) and true or nil end
  return fields
end

--- What `zfs send -nvt` prints of a token. @param fields from `decode`; @return array of lines
function token.describe(fields)
  local lines = { "resume token contents:", "nvlist version: 0" }
  for _, name in ipairs(NUMBERS) do
    if fields[name] then lines[#lines + 1] = ("\t%s = 0x%x"):format(name, fields[name]) end
  end
  lines[#lines + 1] = "\ttoname = " .. fields.toname
  for _, name in ipairs(FLAGS) do
    if fields[name] then lines[#lines + 1] = ("\t%s = 1"):format(name) end
  end
  return lines
end

return token
