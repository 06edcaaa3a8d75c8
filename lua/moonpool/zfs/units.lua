--- Sizes and durations, read and written the way zfs and people do.

local errors = require "moonpool.error"

local units = {}

local LETTERS = { "K", "M", "G", "T", "P", "E" }
local EXPONENTS = { [""] = 0 }
for i, letter in ipairs(LETTERS) do EXPONENTS[letter] = i end

--- Bytes of a size as people write it: a number, with or without a unit of 1024 (K M G T P E, KB, KiB, any case).
-- @param text such as "16M", "1.5G" or "4096"
-- @return integer, bytes
-- @raise usage: no such size
-- @example zfs.parse_size "16M" --> 16777216
function units.parse_size(text)
  local number, unit = tostring(text):match "^%s*(%d+%.?%d*)%s*(%a*)%s*$"
  local exponent = unit and EXPONENTS[unit:upper():gsub("I?B$", "")]
  local bytes = exponent and math.tointeger(math.floor(tonumber(number) * 1024.0 ^ exponent))
  if not bytes then
    errors.fail("usage", "'%s' is not a size: a number, and K, M, G or T", tostring(text))
  end
  return bytes
end

--- Bytes as zfs shows them: at most five characters, units of 1024 (libzfs, zfs_nicenum_format).
-- @param bytes not negative
-- @return text
-- @example zfs.format_bytes(12595200) --> "12.0M"
function units.format_bytes(bytes)
  local index, whole = 0, math.floor(bytes)
  while whole >= 1024 and index < #LETTERS do
    whole = whole // 1024
    index = index + 1
  end
  if index == 0 then return ("%dB"):format(whole) end
  local letter, value = LETTERS[index], bytes / 1024.0 ^ index
  if value == math.floor(value) then return ("%d%s"):format(value, letter) end
  for digits = 2, 1, -1 do
    local text = ("%.*f%s"):gsub("%*", digits):format(value, letter)
    if #text <= 5 then return text end
  end
  return ("%.0f%s"):format(value, letter)
end

-- From which duration on which two units are shown.
local DURATIONS = {
  { from = 86400, "%dd %dh", 86400, 3600 },
  { from = 3600, "%d h %d min", 3600, 60 },
  { from = 60, "%d min %d s", 60, 1 },
}

--- A duration, in two units that say enough.
-- @param seconds not negative
-- @return text
-- @example zfs.format_seconds(200) --> "3 min 20 s"
function units.format_seconds(seconds)
  if seconds < 9.95 then return ("%.1f s"):format(seconds) end
  local whole = math.floor(seconds + 0.5)
  for _, d in ipairs(DURATIONS) do
    if whole >= d.from then return d[1]:format(whole // d[2], whole % d[2] // d[3]) end
  end
  return ("%d s"):format(whole)
end

return units
