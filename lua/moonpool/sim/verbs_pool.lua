--- The program `zpool` of the simulator, and `zfs version`.

local columns = require "moonpool.sim.columns"
local properties = require "moonpool.sim.properties"
local zfs = require "moonpool.zfs"

local zpool, verbs = {}, {}

local DEFAULT_SIZE = 100 << 30

-- ---- making pools ---------------------------------------------------------------------------------------

-- `zpool create NAME` without devices makes a pool of 100 GiB: there are none in the simulator. A first argument that is a size is one.
local function create(c)
  c:expect(1, nil, "pool name")
  local name = c.args[1]
  if c.machine.pools[name] then c:fail(1, "cannot create '%s': pool already exists", name) end
  local valid = zfs.valid_name(name) and not name:find "/" and name:find "^%a"
  if not valid then c:fail(1, "cannot create '%s': invalid character or beginning in pool name", name) end
  local ok, size = pcall(zfs.parse_size, c.args[2])
  local pool = c.machine:add_pool(name, { size = ok and c.args[2] and size or DEFAULT_SIZE, features = c.opts.d and {} or nil })
  for _, text in ipairs(c.opts.O or {}) do
    local property, value = text:match "^([^=]+)=(.*)$"
    local checked, fault = properties.check(c.machine, "f", property or text, value or "")
    if fault then c:fail(1, "cannot create '%s': %s", name, fault) end
    properties.set(pool.root, property, checked, "local")
  end
end

local function open_pool(c, name)
  local pool = c.machine.pools[name]
  if not pool then c:fail(1, "cannot open '%s': no such pool", name) end
  return pool
end

local function destroy(c)
  c:expect(1, 1, "pool")
  c.machine:remove_pool(open_pool(c, c.args[1]).name)
end

-- Only features can be set: `zpool set feature@NAME=enabled POOL`.
local function set(c)
  c:expect(2, 2, "property=value")
  local feature = c.args[1]:match "^feature@([%w_]+)=enabled$"
  if not feature then c:fail(1, "cannot set property for '%s': invalid property '%s'", c.args[2], c.args[1]) end
  local features = open_pool(c, c.args[2]).features
  features[feature] = features[feature] or "enabled"
end

-- ---- showing pools --------------------------------------------------------------------------------------

local function zero() return 0 end

local PROPERTIES = {
  { "size", function(pool) return pool.size end },
  { "capacity", function(pool) return 100 * properties.used(pool.root) // pool.size end, plain = true },
  { "health", function() return "ONLINE" end },
  { "guid", function(pool) return properties.unsigned(pool.guid) end },
  { "version", function() return "-" end, source = "default" },
  { "free", function(pool) return pool.size - properties.used(pool.root) end },
  { "allocated", function(pool) return properties.used(pool.root) end },
  { "readonly", function() return "off" end },
  { "freeing", zero },
  { "fragmentation", zero, plain = true },
  { "expandsize", function() return "-" end },
  { "checkpoint", function() return "-" end },
  { "dedupratio", function() return "1.00" end },
  { "altroot", function() return "-" end, source = "default" },
}
local ALIASES = {
  alloc = "allocated", frag = "fragmentation", cap = "capacity", dedup = "dedupratio", ckpoint = "checkpoint", expandsz = "expandsize",
}

local by_name = {}
for _, p in ipairs(PROPERTIES) do by_name[p[1]] = p end

local function show(p, pool, parsable)
  local value = p[2](pool)
  if type(value) ~= "number" then return value end
  if parsable then return ("%d"):format(value) end
  return p.plain and value .. "%" or zfs.format_bytes(value)
end

local function chosen_pools(c)
  local list = {}
  if #c.args > 0 then
    for _, name in ipairs(c.args) do
      local pool = c.machine.pools[name]
      if pool then list[#list + 1] = pool else c:complain(c.missing, name) end
    end
    return list
  end
  for _, pool in pairs(c.machine.pools) do list[#list + 1] = pool end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local LIST_COLUMNS = {
  "name", "size", "allocated", "free", "checkpoint", "expandsize", "fragmentation", "capacity", "dedupratio", "health", "altroot",
}
local LIST_HEADERS = {
  allocated = "ALLOC", checkpoint = "CKPOINT", expandsize = "EXPANDSZ", fragmentation = "FRAG", capacity = "CAP", dedupratio = "DEDUP",
}

local function list(c)
  local names = c.opts.o and c:values "o" or LIST_COLUMNS
  local rows, headers = {}, {}
  for i, name in ipairs(names) do
    names[i] = ALIASES[name] or name
    if names[i] ~= "name" and not by_name[names[i]] then c:usage("bad property list: invalid property '%s'", name) end
    headers[i] = LIST_HEADERS[names[i]] or names[i]:upper()
  end
  c.missing = "cannot open '%s': no such pool"
  for i, pool in ipairs(chosen_pools(c)) do
    rows[i] = {}
    for j, name in ipairs(names) do rows[i][j] = name == "name" and pool.name or show(by_name[name], pool, c.opts.p) end
  end
  if #rows > 0 then columns.print(c, headers, rows, c.opts.H) end
end

-- Which of the features that any pool here has are disabled in this one is shown too.
local function feature_rows(c, pool, wanted, add)
  local names, seen = {}, {}
  for _, other in pairs(c.machine.pools) do
    for name in pairs(other.features) do
      if not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local property, state = "feature@" .. name, pool.features[name]
    if not wanted or wanted[property] then add(property, state or "disabled", state and "local" or "-") end
  end
end

local function get(c)
  c:expect(1, nil, "property")
  local asked, wanted = table.remove(c.args, 1), nil
  if asked ~= "all" then
    wanted = {}
    for name in asked:gmatch "[^,]+" do
      local property = ALIASES[name] or name
      wanted[property] = true
      if not by_name[property] and not name:find "^feature@." then c:usage("bad property list: invalid property '%s'", name) end
    end
  end
  local fields, rows = c:values "o" or { "name", "property", "value", "source" }, {}
  c.missing = "Cannot get properties of %s: no such pool available."
  for _, pool in ipairs(chosen_pools(c)) do
    local function add(property, value, source)
      local texts, row = { name = pool.name, property = property, value = value, source = source }, {}
      for i, field in ipairs(fields) do row[i] = texts[field] end
      rows[#rows + 1] = row
    end
    for _, p in ipairs(PROPERTIES) do
      if not wanted or wanted[p[1]] then add(p[1], show(p, pool, c.opts.p), p.source or "-") end
    end
    feature_rows(c, pool, wanted, add)
  end
  local headers = {}
  for i, field in ipairs(fields) do headers[i] = field:upper() end
  if #rows > 0 then columns.print(c, headers, rows, c.opts.H) end
end

local function status(c) c:print "all pools are healthy" end

zpool.create = { options = "dfnO:o:m:R:t:", usage = "create [-dfn] [-O file-system-property=value] ... <pool> <vdev> ...", run = create }
zpool.destroy = { options = "f", usage = "destroy [-f] <pool>", run = destroy }
zpool.set = { options = "", usage = "set <property=value> <pool>", run = set }
zpool.list = { options = "Hpo:", usage = "list [-Hp] [-o property[,...]] [pool] ...", reads = true, run = list }
zpool.get = { options = "Hpo:", usage = "get [-Hp] [-o \"all\" | field[,...]] <\"all\" | property[,...]> <pool> ...", reads = true, run = get }
zpool.status = { options = "xv", usage = "status [-vx] [pool] ...", reads = true, run = status }

local function version(c)
  c:print("zfs-%s", c.machine.version)
  c:print("zfs-kmod-%s", c.machine.version)
end

verbs.version = { options = "", usage = "version", reads = true, run = version }
verbs["--version"], verbs["-V"] = "version", "version"
zpool.version = verbs.version

return { zpool = zpool, zfs = verbs }
