--- Properties in the simulator: where a value comes from, what it looks like, and which values zfs takes.

local native = require "moonpool.sim.native"
local space = require "moonpool.sim.space"
local zfs = require "moonpool.zfs"

local properties = {}

-- ---- computed values ------------------------------------------------------------------------------------

local function own(o)
  if o.kind == "" then return space.stats(o) end
  if o.kind == "@" then return space.stats(o.dataset).snapshot[o] end
  return o
end

local function set_value(ds, name)
  local p = ds.props[name]
  return p and (p["local"] or p.received) or nil
end

local function reserved(ds)
  local wanted = math.max(set_value(ds, "refreservation") or 0, 0)
  -- A snapshot keeps what it refers to, so a volume's reservation begins anew with each.
  return #ds.snapshots > 0 and space.stats(ds).written == 0 and wanted or math.max(wanted - space.stats(ds).live, 0)
end

local used

local function used_by_children(ds)
  local sum = 0
  for _, child in pairs(ds.children) do sum = sum + math.max(used(child), set_value(child, "reservation") or 0) end
  return sum
end

function used(ds)
  local stats = space.stats(ds)
  local partial = ds.partial and ds.partial.bytes or 0
  return stats.live + stats.by_snapshots + reserved(ds) + partial + used_by_children(ds)
end

--- Bytes that a dataset takes with all below it. @param ds dataset; @return bytes
properties.used = used

-- What a pool keeps for itself, so that destroying is possible when it is full (OpenZFS, spa_get_slop_space).
local function slop(size) return math.max(size // 32, math.min(size // 2, 128 << 20)) end

--- Bytes that can still be written to a dataset: what the pool has, and quotas on it and above it leave.
-- @param ds dataset; @return bytes; the name of the dataset whose quota is the limit, or nil
function properties.available(ds)
  local root = ds.pool.root
  local free, limit = ds.pool.size - slop(ds.pool.size) - used(root), nil
  local at = ds
  while at do
    local quota = set_value(at, "quota") or 0
    if quota > 0 and quota - used(at) < free then free, limit = quota - used(at), at.name end
    at = at.parent
  end
  local refquota = set_value(ds, "refquota") or 0
  if refquota > 0 and refquota - space.stats(ds).referenced < free then free, limit = refquota - space.stats(ds).referenced, ds.name end
  return math.max(free, 0), limit
end

local TYPES = { f = "filesystem", v = "volume", s = "snapshot", b = "bookmark" }

local function owner(o) return o.kind == "" and o or o.dataset end

local function clones_of(s)
  local names = {}
  for ds in pairs(s.clones) do names[#names + 1] = ds.name end
  table.sort(names)
  return names[1] and table.concat(names, ",") or nil
end

local function crypt_root(o)
  local crypt = owner(o).crypt
  return crypt and crypt.root
end

-- Read-only properties: functions of the object; nil is no value.
local COMPUTED = {
  type = function(o) return TYPES[o.letter] end,
  creation = function(o) return o.creation end,
  createtxg = function(o) return o.createtxg end,
  guid = function(o) return o.guid end,
  objsetid = function(o) return o.objsetid end,
  used = function(o) return o.kind == "" and used(o) or own(o).used end,
  available = function(o) return (properties.available(o)) + (o.type == "volume" and reserved(o) or 0) end,
  referenced = function(o) return o.partial and o.partial.first and o.partial.bytes or own(o).referenced end,
  logicalreferenced = function(o) return own(o).referenced end,
  logicalused = function(o) return used(o) end,
  written = function(o) return own(o).written end,
  compressratio = function() return 1.0 end,
  refcompressratio = function() return 1.0 end,
  mounted = function(o) return o.mounted and "yes" or "no" end,
  origin = function(o) return o.origin and o.machine.full_name(o.origin) end,
  usedbysnapshots = function(o) return space.stats(o).by_snapshots end,
  usedbydataset = function(o) return space.stats(o).live end,
  usedbychildren = used_by_children,
  usedbyrefreservation = reserved,
  defer_destroy = function(o) return o.defer and "on" or "off" end,
  userrefs = function(o) return o.userrefs end,
  clones = clones_of,
  receive_resume_token = function(o) return o.partial and o.partial.token end,
  encryption = function(o) return owner(o).crypt and owner(o).crypt.cipher end,
  encryptionroot = function(o) return crypt_root(o) and crypt_root(o).name end,
  keystatus = function(o) return crypt_root(o) and (crypt_root(o).key.loaded and "available" or "unavailable") end,
  keyformat = function(o) return crypt_root(o) and crypt_root(o).key.format end,
  pbkdf2iters = function(o) return crypt_root(o) and crypt_root(o).key.format == "passphrase" and 350000 or nil end,
}

-- ---- where a value comes from ---------------------------------------------------------------------------

-- The mountpoint of a dataset is that of the one it was set on, and the way from there.
local function inherited_value(name, value, from, ds)
  if name ~= "mountpoint" or value == "none" or value == "legacy" then return value end
  return (value:gsub("/$", "")) .. ds.name:sub(#from.name + 1)
end

local function default_of(p, name, o)
  if name == "mountpoint" then return "/" .. o.name end
  return o.machine:before_2_2() and native.BEFORE_2_2[name] or p.default
end

-- The value of a property that can be set, on a dataset or above it.
local function look_up(ds, name, inherits)
  local at = ds
  while at do
    local set = at.props[name]
    if set then
      local value, source = set["local"], "local"
      if value == nil and not set.cleared then value, source = set.received, "received" end
      if value ~= nil and at == ds then return value, source end
      if value ~= nil then return inherited_value(name, value, at, ds), "inherited from " .. at.name end
    end
    if not inherits then return nil end
    at = at.parent
  end
end

local function user_property(o, name)
  local value, source
  if o.kind == "@" then
    value, source = look_up(o, name, false)
    if value ~= nil then return value, source end
    value, source = look_up(o.dataset, name, true)
    if value ~= nil and not source:find "^inherited" then source = "inherited from " .. o.dataset.name end
    return value, source
  end
  if o.kind == "#" then return nil end
  return look_up(o, name, true)
end

local function written_since(o, sep, short)
  if o.kind ~= "" then return nil end
  local since = sep == "@" and o.snapshot[short] or sep == "#" and o.bookmarks[short]
  if since then return space.written_between(o, since) end
end

local function native_property(o, p)
  local name = p.name
  if COMPUTED[name] then
    local value = COMPUTED[name](o)
    if value == nil and p.default then return p.default, "default" end
    return value, "-"
  end
  local ds = owner(o)
  local value, source = look_up(ds, name, p.edit == "inherit")
  if value ~= nil and o ~= ds and not source:find "^inherited" then source = "inherited from " .. ds.name end
  if value == nil then
    return default_of(p, name, ds), p.once and p.kind ~= "size" and "-" or "default"
  end
  return value, source
end

--- A property of a dataset, snapshot or bookmark.
-- @param o the object; @param name of the property, also `written@x` or a user's
-- @return value (number or text; nil if it has none), source as zfs shows it ("-" if none), received value or nil
function properties.get(o, name)
  local p = native.by_name[name]
  local set = o.props[name]
  local received = set and set.received
  if p then
    if not p.on:find(o.letter, 1, true) then return nil, "-" end
    local value, source = native_property(o, p)
    return value, value == nil and "-" or source, received
  end
  local sep, short = name:match "^written([@#])(.+)$"
  if sep then
    local value = written_since(o, sep, short)
    return value, value and "local" or "-"
  end
  local value, source = user_property(o, name)
  return value, source or "-", received
end

--- The properties that `zfs get all` shows of an object: native ones in their order, then users' ones by name.
-- @param o the object; @return array of names
function properties.names(o)
  local names = {}
  for _, p in ipairs(native.order) do
    if p.on:find(o.letter, 1, true) and not (native.OPTIONAL[p.name] and properties.get(o, p.name) == nil) then names[#names + 1] = p.name end
  end
  local seen, user, at = {}, {}, o.kind ~= "#" and o or nil
  while at do
    for name in pairs(at.props) do
      if not seen[name] and zfs.is_user_property(name) and properties.get(o, name) ~= nil then user[#user + 1] = name end
      seen[name] = true
    end
    at = at.kind == "@" and at.dataset or at.parent
  end
  table.sort(user)
  return table.move(user, 1, #user, #names + 1, names)
end

-- ---- what a value looks like ----------------------------------------------------------------------------

--- A 64-bit number without a sign, in decimal. @param n integer; @return text
function properties.unsigned(n)
  if n >= 0 then return ("%d"):format(n) end
  local tenth = (n >> 1) // 5
  return ("%d%d"):format(tenth, n - tenth * 10)
end

local SHOWN = {
  size = function(value) return zfs.format_bytes(value) end,
  none = function(value) return value == 0 and "none" or zfs.format_bytes(value) end,
  guid = function(value) return properties.unsigned(value) end,
  date = function(value) return (os.date("%a %b %e %H:%M %Y", value):gsub(" 0(%d:)", "  %1")) end,
  ratio = function(value) return ("%.2fx"):format(value) end,
}

--- How zfs prints the values of a property.
-- @param name of the property; @param parsable as with -p; @return function from a value, as from `get`, to text
function properties.printer(name, parsable)
  local p = native.by_name[name]
  local kind = p and p.kind or "size"
  local special = (kind == "guid" or not parsable) and SHOWN[kind]
  local format = kind == "ratio" and "%.2f" or "%d"
  return function(value)
    if value == nil then return "-" end
    if type(value) ~= "number" then return value end
    return special and special(value) or format:format(value)
  end
end

--- A value as zfs prints it. @param name of the property; @param value as from `get`; @param parsable as with -p; @return text
function properties.show(name, value, parsable) return properties.printer(name, parsable)(value) end

--- What `get` does, for many objects: without looking for the property each time.
-- @param name of the property; @return function from an object to the value, nil if it has none
function properties.reader(name)
  local p, compute = native.by_name[name], COMPUTED[name]
  if not compute then return function(o) return (properties.get(o, name)) end end
  return function(o)
    if not p.on:find(o.letter, 1, true) then return nil end
    local value = compute(o)
    if value == nil then return p.default end
    return value
  end
end

-- ---- what may be set ------------------------------------------------------------------------------------

local function power_of_two(machine, name, bytes)
  local most = machine:before_2_2() and 1 or 16
  if bytes < 512 or bytes > most << 20 or bytes & (bytes - 1) ~= 0 then
    return nil, ("'%s' must be power of 2 from 512B to %dM"):format(name, most)
  end
  return bytes
end

local function size_value(machine, p, value)
  if value == "none" and p.kind == "none" then return 0 end
  if not value:find "^%d" then return nil, ("bad numeric value '%s'"):format(value) end
  local suffix = value:match "^[%d.]+(.*)$"
  if not suffix:upper():find "^[KMGTPE]?I?B?$" then return nil, ("invalid numeric suffix '%s'"):format(suffix) end
  local bytes = zfs.parse_size(value)
  if p.name == "recordsize" or p.name == "volblocksize" then return power_of_two(machine, p.name, bytes) end
  return bytes
end

--- What zfs makes of a value that is to be set.
-- @param machine whose zfs it is; @param letter f, v or s: what it is set on; @param name of the property; @param value text
-- @param creating true if `create` or `receive` asks
-- @return the value to keep; or nil and what zfs says
function properties.check(machine, letter, name, value, creating)
  local p = native.by_name[name]
  if not p and letter == "s" and not zfs.is_user_property(name) then return nil, "this property can not be modified for snapshots" end
  if not p then
    if zfs.is_user_property(name) then return value end
    return nil, ("invalid property '%s'"):format(name)
  end
  if letter == "s" then return nil, "this property can not be modified for snapshots" end
  if p.edit == "ro" and not (creating and p.once) then return nil, ("'%s' is readonly"):format(name) end
  if not p.on:find(letter, 1, true) then return nil, ("'%s' does not apply to datasets of this type"):format(name) end
  if p.kind == "word" and not p.words[value] then
    return nil, ("'%s' must be one of '%s'"):format(name, table.concat(p.word_list, " | "))
  end
  if name == "mountpoint" and value ~= "none" and value ~= "legacy" and value:sub(1, 1) ~= "/" then
    return nil, "'mountpoint' must be an absolute path, 'none', or 'legacy'"
  end
  if p.kind == "size" or p.kind == "none" then return size_value(machine, p, value) end
  return value
end

--- Sets a property here, or as received. @param o dataset or snapshot; @param name, value as checked; @param how "local" or "received"
function properties.set(o, name, value, how)
  local set = o.props[name] or {}
  o.props[name] = set
  set[how] = value
  if how == "local" then set.cleared = nil end
end

--- Takes a local value away. @param o dataset or snapshot; @param name of the property; @param to_received true: what was received holds again
function properties.clear(o, name, to_received)
  local set = o.props[name]
  if not set then return end
  set["local"] = nil
  set.cleared = not to_received and set.received ~= nil or nil
  if set.received == nil then o.props[name] = nil end
end

--- Leaves out a received value, as `receive -x` does. @param o dataset; @param name of the property
function properties.exclude(o, name)
  local set = o.props[name]
  if set and set.received ~= nil then set.cleared = true end
end

--- What a volume reserves for itself: its size and the indirect blocks for it (libzfs, zvol_volsize_to_reservation).
-- @param volsize, blocksize bytes; @return bytes
function properties.volume_reservation(volsize, blocksize)
  local blocks, indirect = volsize // blocksize, 7
  while blocks > 1 do
    blocks = (blocks + 1023) // 1024
    indirect = indirect + blocks
  end
  return volsize + indirect * 2 * 131072
end

return properties
