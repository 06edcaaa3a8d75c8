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
-- @param name what they have as `dataset`; @param meta their metatable; @return array
function Catalog:entries(i, kind, columns, name, meta)
  local list = {}
  for _, row in ipairs(self.by_dataset[i]) do
    if row.kind == kind then
      local entry = { dataset = name, kind = kind, name = row.name }
      for at, column in ipairs(columns) do entry[column] = row[at] end
      list[#list + 1] = setmetatable(entry, meta)
    end
  end
  return list
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
