--- Values as the interactive loop shows them: sorted, bounded; lists of snapshots, datasets and the like as tables.

local inspect = require "inspect"
local zfs = require "moonpool.zfs"

local MAX_LINES = 60    -- of one value
local MAX_ENTRIES = 200 -- of one table
local MAX_DEPTH = 5

local function has_text(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__tostring ~= nil
end

-- For inspect: no metatables, what has a text as its text, and of a big table the beginning.
local function bounded(item, path)
  if path[#path] == inspect.METATABLE then return nil end
  if type(item) ~= "table" then return item end
  if has_text(item) then return tostring(item) end
  local part, n = {}, 0
  for key, value in next, item do
    n = n + 1
    if n > MAX_ENTRIES then
      part["…"] = "and more"
      break
    end
    part[key] = value
  end
  return part
end

-- ---- tables ---------------------------------------------------------------------------------------------

-- Columns in this order, and then what else there is.
local ORDER = {
  "dataset", "name", "type", "used", "available", "written", "referenced", "mountpoint", "kind", "own", "userrefs", "creation", "time", "createtxg", "guid",
}
local BYTES = { used = true, available = true, written = true, referenced = true, size = true, free = true, bytes = true }
local TIMES = { creation = true, time = true }

-- Whether a value is a list of records with names, and nothing in them but words and numbers.
local function is_list_of_records(value)
  if type(value) ~= "table" or has_text(value) or rawlen(value) == 0 then return false end
  local n = 0
  for _, record in next, value do
    n = n + 1
    if type(record) ~= "table" or has_text(record) or type(rawget(record, "name")) ~= "string" then return false end
    for key, field in next, record do
      if type(key) ~= "string" or type(field) == "table" or type(field) == "function" then return false end
    end
  end
  return n == rawlen(value)
end

local function columns_of(list)
  local present, columns, others = {}, {}, {}
  for _, record in ipairs(list) do
    for key in next, record do present[key] = true end
  end
  for _, key in ipairs(ORDER) do
    if present[key] then columns[#columns + 1] = key end
    present[key] = nil
  end
  for key in pairs(present) do others[#others + 1] = key end
  table.sort(others)
  return table.move(others, 1, #others, #columns + 1, columns)
end

local function cell(key, value)
  if value == nil then return "-" end
  if BYTES[key] and math.type(value) == "integer" then return zfs.format_bytes(value) end
  if TIMES[key] and type(value) == "number" then return os.date("%Y-%m-%d %H:%M:%S", math.floor(value)) end
  return (tostring(value):gsub("%c", "?"))
end

local function as_table(list)
  local columns, widths, rows = columns_of(list), {}, {}
  rows[1] = {}
  for c, key in ipairs(columns) do rows[1][c] = key:upper() end
  for i = 1, math.min(#list, MAX_LINES) do
    rows[i + 1] = {}
    for c, key in ipairs(columns) do rows[i + 1][c] = cell(key, rawget(list[i], key)) end
  end
  for _, row in ipairs(rows) do
    for c, text in ipairs(row) do widths[c] = math.max(widths[c] or 0, utf8.len(text) or #text) end
  end
  local lines = {}
  for i, row in ipairs(rows) do
    for c, text in ipairs(row) do row[c] = text .. (" "):rep(widths[c] - (utf8.len(text) or #text)) end
    lines[i] = table.concat(row, "  "):gsub("%s+$", "")
  end
  return lines, #list - MAX_LINES
end

local function as_text(value)
  local lines = {}
  for line in inspect(value, { process = bounded, depth = MAX_DEPTH }):gmatch "[^\n]+" do
    lines[#lines + 1] = line
  end
  return lines, #lines - MAX_LINES
end

--- A value as text: lists of records with names as a table, other tables with their keys sorted, bounded in depth, entries and lines.
-- @param value anything; @return text
-- @example print(show { b = 1, a = { 2 } })
local function show(value)
  if type(value) ~= "string" and has_text(value) then return tostring(value) end
  local lines, left = (is_list_of_records(value) and as_table or as_text)(value)
  return table.concat(lines, "\n", 1, math.min(#lines, MAX_LINES + 1)) .. (left > 0 and ("\n… %d more lines"):format(left) or "")
end

return show
