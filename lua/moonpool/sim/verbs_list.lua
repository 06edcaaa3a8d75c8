--- Verbs that show and set properties in the simulator: list, get, set, inherit.

local columns = require "moonpool.sim.columns"
local machines = require "moonpool.sim.machine"
local native = require "moonpool.sim.native"
local properties = require "moonpool.sim.properties"
local zfs = require "moonpool.zfs"

local verbs = {}

-- ---- which objects --------------------------------------------------------------------------------------

local TYPES = {
  filesystem = "f", fs = "f", volume = "v", vol = "v", snapshot = "s", snap = "s", bookmark = "b", all = "fvsb",
}

-- The letters of -t, or nil if it was not given.
local function types_of(c)
  local list = c:values "t"
  if not list then return nil end
  local letters = ""
  for _, word in ipairs(list) do
    if not TYPES[word] then c:usage("invalid type '%s'", word) end
    letters = letters .. TYPES[word]
  end
  return letters
end

-- What keeps an argument from being taken for what -t says, in the words of zfs.
local function argument_fault(o, letters)
  if not o then return "dataset does not exist" end
  if letters:find(o.letter, 1, true) then return nil end
  if o.letter == "s" then return "snapshot delimiter '@' is not expected here" end
  if o.letter == "b" then return "bookmark delimiter '#' is not expected here" end
  return "operation not applicable to datasets of this type"
end

-- Notes an object, and what is below it down to a depth: its own snapshots and bookmarks are one level down.
-- `found` has for each dataset, by name, what of it is wanted; and bookmarks by their full names.
local function gather(machine, o, letters, depth, found)
  if o.letter == "b" then
    found[machines.full_name(o)] = o
    return
  end
  local ds = o.kind == "@" and o.dataset or o
  local wanted = found[ds.name] or { ds = ds, some = {} }
  found[ds.name] = wanted
  if o.kind == "@" then wanted.some[o] = true end
  if o.kind ~= "" then return end
  wanted.itself = wanted.itself or letters:find(o.letter, 1, true) ~= nil
  if depth <= 0 then return end
  wanted.all = wanted.all or letters:find("s", 1, true) ~= nil
  if letters:find("b", 1, true) then
    for _, b in pairs(o.bookmarks) do gather(machine, b, letters, 0, found) end
  end
  for _, child in pairs(o.children) do gather(machine, child, letters, depth - 1, found) end
end

-- The order of zfs: by dataset, then its snapshots as they were made; a bookmark stands where its full name does.
local function in_order(found)
  local names, list = {}, {}
  for name in pairs(found) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local wanted = found[name]
    if wanted.kind or wanted.itself then list[#list + 1] = wanted.kind and wanted or wanted.ds end
    for _, s in ipairs(wanted.ds and wanted.ds.snapshots or {}) do
      if wanted.all or wanted.some[s] then list[#list + 1] = s end
    end
  end
  return list
end

-- All objects that a command is about. `letters` of -t, or those it has without -t: `default` for arguments, `shown` for what is below them.
local function selected(c, default, shown)
  local letters = types_of(c)
  if c.opts.d and not tonumber(c:value "d") then c:usage("%s is not an integer", c:value "d") end
  local depth = c.opts.r and math.huge or c.opts.d and tonumber(c:value "d") or nil
  if #c.args == 0 then
    local found = {}
    for _, pool in pairs(c.machine.pools) do gather(c.machine, pool.root, letters or shown, depth or math.huge, found) end
    return in_order(found)
  end
  if not depth and (letters == "s" or letters == "b") then depth = 1 end
  local allowed = letters or default
  if depth then allowed = allowed .. "f" .. (allowed:find "[sb]" and "v" or "") end
  local found = {}
  for _, name in ipairs(c.args) do
    local o = c.machine:find(name)
    local fault = name:find "#" and not o and "no such pool or dataset" or argument_fault(o, allowed)
    if fault then
      c:complain("cannot open '%s': %s", name, fault)
    else
      gather(c.machine, o, letters or (depth and shown or default), depth or 0, found)
    end
  end
  return in_order(found)
end

-- ---- list -----------------------------------------------------------------------------------------------

local SPACE = { "name", "available", "used", "usedbysnapshots", "usedbydataset", "usedbyrefreservation", "usedbychildren" }

local function known_column(name)
  return name == "name" or native.by_name[name] or zfs.is_user_property(name) or name:find "^written[@#]."
end

local function column_names(c, given)
  local list = {}
  for _, word in ipairs(given) do
    if word == "space" then
      table.move(SPACE, 1, #SPACE, #list + 1, list)
    else
      local name = native.ALIASES[word] or word
      if not known_column(name) then c:usage("bad property list: invalid property '%s'", word) end
      list[#list + 1] = name
    end
  end
  return list
end

local function sort_value(o, name)
  if name == "name" then return machines.full_name(o) end
  return (properties.get(o, name))
end

-- Sorts by -s and -S in the order given; what has no value comes last; ties keep the usual order.
local function sort_objects(c, list)
  local keys = {}
  for _, option in ipairs(c.order) do
    if option.letter == "s" or option.letter == "S" then
      local name = column_names(c, { option.value })[1]
      local values = {}
      for _, o in ipairs(list) do values[o] = sort_value(o, name) end
      keys[#keys + 1] = { values = values, down = option.letter == "S" }
    end
  end
  if #keys == 0 then return end
  local place = {}
  for i, o in ipairs(list) do place[o] = i end
  table.sort(list, function(a, b)
    for _, key in ipairs(keys) do
      local va, vb = key.values[a], key.values[b]
      if va ~= vb then
        if va == nil or vb == nil then return vb == nil end
        if math.type(va) == "integer" and (va < 0) ~= (vb < 0) then va, vb = vb, va end
        if key.down then return va > vb end
        return va < vb
      end
    end
    return place[a] < place[b]
  end)
end

local DEFAULT_COLUMNS = { "name", "used", "available", "referenced", "mountpoint" }

local function is_number(name)
  local p = native.by_name[name]
  return p and native.NUMERIC[p.kind] or name:find "^written[@#]" ~= nil
end

local function list(c)
  local names = c.opts.o and column_names(c, c:values "o") or DEFAULT_COLUMNS
  local objects = selected(c, "fvs", "fv")
  sort_objects(c, objects)
  local rows, read, show = {}, {}, {}
  for j, name in ipairs(names) do
    read[j] = name == "name" and machines.full_name or properties.reader(name)
    show[j] = properties.printer(name, c.opts.p)
  end
  for i, o in ipairs(objects) do
    local row = {}
    for j = 1, #names do row[j] = show[j](read[j](o)) end
    rows[i] = row
  end
  if #rows == 0 then
    if c.status == 0 and not c.opts.H then c:warn "no datasets available" end
    return
  end
  local headers, right = {}, {}
  for j, name in ipairs(names) do
    headers[j] = native.HEADERS[name] or name:upper()
    right[j] = is_number(name)
  end
  columns.print(c, headers, rows, c.opts.H, right)
end

verbs.list = {
  options = "Hprd:o:s:S:t:", reads = true, run = list,
  usage = "list [-Hp] [-r|-d max] [-o property[,...]] [-s property]...\n"
    .. "\t    [-S property]... [-t type[,...]] [filesystem|volume|snapshot] ...",
}

-- ---- get ------------------------------------------------------------------------------------------------

local FIELDS = { name = "NAME", property = "PROPERTY", value = "VALUE", received = "RECEIVED", source = "SOURCE" }
local ALL_FIELDS = { "name", "property", "value", "received", "source" }
local DEFAULT_FIELDS = { "name", "property", "value", "source" }
local SOURCES = { ["local"] = true, default = true, inherited = true, received = true, temporary = true, none = true }

local function fields_of(c)
  local fields = c:values "o"
  if not fields then return DEFAULT_FIELDS end
  if fields[1] == "all" then return ALL_FIELDS end
  for _, field in ipairs(fields) do
    if not FIELDS[field] then c:usage("invalid column name '%s'", field) end
  end
  return fields
end

-- The sources of -s as a set, or nil for all.
local function sources_of(c)
  local given = c:values "s"
  if not given then return nil end
  local set = {}
  for _, source in ipairs(given) do
    if not SOURCES[source] then c:usage("invalid source '%s'", source) end
    set[source == "none" and "-" or source] = true
  end
  return set
end

local function asked_names(c)
  local text = c.args[1]
  if not text then c:usage "missing property argument" end
  table.remove(c.args, 1)
  if text == "all" then return nil end
  local names = {}
  for word in text:gmatch "[^,]+" do
    local name = native.ALIASES[word] or word
    if not known_column(name) then c:usage("bad property list: invalid property '%s'", word) end
    names[#names + 1] = name
  end
  return names
end

-- One row of `get`, or nil if its source was not asked for.
local function get_row(c, o, name, fields, sources)
  local value, source, received = properties.get(o, name)
  if name == "name" then value, source = machines.full_name(o), "-" end
  if sources and not sources[source:match "^[%l-]+"] then return nil end
  local texts = {
    name = machines.full_name(o), property = name, value = properties.show(name, value, c.opts.p), source = source,
    received = properties.show(name, received, c.opts.p),
  }
  local row = {}
  for i, field in ipairs(fields) do row[i] = texts[field] end
  return row
end

local function get(c)
  local fields, sources, names = fields_of(c), sources_of(c), asked_names(c)
  local rows = {}
  for _, o in ipairs(selected(c, "fvsb", "fvsb")) do
    for _, name in ipairs(names or properties.names(o)) do
      rows[#rows + 1] = get_row(c, o, name, fields, sources)
    end
  end
  local headers = {}
  for i, field in ipairs(fields) do headers[i] = FIELDS[field] end
  if #rows > 0 then columns.print(c, headers, rows, c.opts.H) end
end

verbs.get = {
  options = "Hprd:o:s:t:", reads = true, run = get,
  usage = "get [-rHp] [-d max] [-o \"all\" | field[,...]]\n\t    [-t type[,...]] [-s source[,...]]\n"
    .. "\t    <\"all\" | property[,...]> [filesystem|volume|snapshot|bookmark] ...",
}

-- ---- set and inherit ------------------------------------------------------------------------------------

-- A quota below what is used is refused, and one below what is referenced.
local function limit_fault(o, name, value)
  local least = name == "quota" and properties.used(o) or name == "refquota" and properties.get(o, "referenced") or 0
  if least > 0 and value > 0 and value < least then return "size is less than current used or reserved space" end
end

local function set_one(c, o, name, text)
  local value, fault = properties.check(c.machine, o.letter == "b" and "s" or o.letter, name, text)
  if not fault and o.kind == "" then fault = limit_fault(o, name, value) end
  local label = machines.full_name(o)
  if fault then
    c:warn("cannot set property for '%s': %s", label, fault)
    c.status = c.machine:before_2_2() and 1 or 255
    return
  end
  if name == "volsize" then
    local before = o.props.refreservation and o.props.refreservation["local"]
    local old = properties.volume_reservation(o.props.volsize["local"], (properties.get(o, "volblocksize")))
    if before == old then properties.set(o, "refreservation", properties.volume_reservation(value, (properties.get(o, "volblocksize"))), "local") end
  end
  properties.set(o, name, value, "local")
end

local function set(c)
  local given = {}
  while c.args[1] and c.args[1]:find "=" do given[#given + 1] = table.remove(c.args, 1) end
  if #given == 0 and #c.args > 0 then c:fail(1, "cannot open '%s': dataset does not exist", c.args[1]) end
  if #given == 0 then c:usage "missing property=value argument(s)" end
  if #c.args == 0 then c:usage "missing dataset name(s)" end
  for _, name in ipairs(c.args) do
    local o = c.machine:find(name)
    if o then
      for _, text in ipairs(given) do set_one(c, o, text:match "^([^=]*)=(.*)$") end
    else
      c:complain("cannot open '%s': dataset does not exist", name)
    end
  end
end

local function inherit(c)
  c:expect(1, nil, "property")
  local name = table.remove(c.args, 1)
  c:expect(1, nil, "dataset")
  local p = native.by_name[name]
  if not p and not zfs.is_user_property(name) then c:usage("invalid property '%s'", name) end
  if p and p.edit == "ro" then c:fail(1, "%s property is read-only", name) end
  if p and p.edit == "set" and not c.opts.S then
    c:warn("'%s' property cannot be inherited", name)
    if p.kind ~= "none" then c:stop(1) end
    c:warn("use 'zfs set %s=none' to clear", name)
    c:fail(1, "use 'zfs inherit -S %s' to revert to received value", name)
  end
  for _, target in ipairs(c.args) do
    local o = c:open(target)
    local all = c.opts.r and o.kind == "" and c.machine:below(o) or {}
    table.insert(all, 1, o)
    for _, each in ipairs(all) do properties.clear(each, name, c.opts.S ~= nil) end
  end
end

verbs.set = { options = "u", usage = "set [-u] <property=value> ... <filesystem|volume|snapshot> ...", run = set }
verbs.inherit = { options = "rS", usage = "inherit [-rS] <property> <filesystem|volume|snapshot> ...", run = inherit }

return verbs
