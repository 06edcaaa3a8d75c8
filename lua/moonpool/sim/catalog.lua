--- A listing of the simulator in the form of the core's catalog: datasets by number, rows by dataset.

local zfs = require "moonpool.zfs"

local Catalog = {}
Catalog.__index = Catalog

--- How many datasets there are. @return integer
function Catalog:datasets() return #self.names end

--- The name of a dataset. @param i its number, from 1; @return text
function Catalog:name(i) return self.names[i] end

--- The number of a dataset. @param name its name; @return integer from 1, or nil
function Catalog:find(name) return self.numbers[name] end

--- The rows of a dataset. @param i its number
-- @return array of { kind = "" | "@" | "#", name = the part after it, or "", [1], [2], … = columns: integers and texts }
function Catalog:rows(i) return self.by_dataset[i] end

--- The rows of one kind, with names for their columns. @param i the dataset's number; @param kind "@" or "#"; @param columns array of names
-- @param meta their metatable; @param times { [name] = time of one's own }, or nil; @param where number of a column that must not be 0, or nil
-- @return array
function Catalog:entries(i, kind, columns, meta, times, where)
  local list = {}
  for _, row in ipairs(self.by_dataset[i]) do
    if row.kind == kind and (not where or row[where] ~= 0) then
      local entry, time = { name = row.name }, times and times[row.name]
      if time then entry.time, entry.own = time, true end
      for at, column in ipairs(columns) do entry[column] = row[at] end
      list[#list + 1] = setmetatable(entry, meta)
    end
  end
  return list
end

--- The one with the greatest number in a column; of several the last. @param i, kind, columns, meta, times as for `entries`; @param by the column's number
-- @return entry or nil
function Catalog:greatest(i, kind, columns, meta, times, by)
  local best
  for _, entry in ipairs(self:entries(i, kind, columns, meta, times)) do
    if not best or entry[columns[by]] >= best[columns[by]] then best = entry end
  end
  return best
end

--- Whether the numbers in a column never fall. @param i, kind as for `entries`; @param by the column's number; @return boolean
function Catalog:ascends(i, kind, by)
  local last = 0
  for _, row in ipairs(self.by_dataset[i]) do
    if row.kind == kind then
      if row[by] < last then return false end
      last = row[by]
    end
  end
  return true
end

--- Whether there is a row. @param i the dataset's number; @param kind "@" or "#"; @param name the part after it; @return boolean
function Catalog:has(i, kind, name)
  for _, row in ipairs(self.by_dataset[i]) do
    if row.kind == kind and row.name == name then return true end
  end
  return false
end

local function value_of(text, letter)
  if letter == "s" then return text end
  return text ~= "-" and text ~= "none" and zfs.parse_guid(text) or 0
end

local function number_of(catalog, dataset)
  local i = catalog.numbers[dataset]
  if not i then
    i = #catalog.names + 1
    catalog.names[i], catalog.numbers[dataset], catalog.by_dataset[i] = dataset, i, {}
  end
  return i
end

--- Reads a listing.
-- @param text what `zfs list -Hp` printed; @param letters one per column after the name: u a number, s a word
-- @return catalog
local function parse(text, letters)
  local catalog = setmetatable({ names = {}, numbers = {}, by_dataset = {} }, Catalog)
  for line in text:gmatch "([^\n]*)\n" do
    local column, row = 0, {}
    for field in line:gmatch "[^\t]+" do
      if column == 0 then
        local dataset, kind, rest = zfs.split_snapshot(field)
        row.kind, row.name = kind or "", rest or ""
        table.insert(catalog.by_dataset[number_of(catalog, dataset)], row)
      else
        row[column] = value_of(field, letters:sub(column, column))
      end
      column = column + 1
    end
  end
  return catalog
end

return { parse = parse }
