--- Verbs that make and move datasets in the simulator: create, clone, promote, rename, rollback, mount and keys.

local birth = require "moonpool.sim.birth"
local machines = require "moonpool.sim.machine"
local properties = require "moonpool.sim.properties"
local space = require "moonpool.sim.space"
local zfs = require "moonpool.zfs"

local verbs = {}

-- ---- create and clone -----------------------------------------------------------------------------------

-- The properties of `-o`, as checked values; ends the command with `label` in front if one is wrong.
local function given_properties(c, letter, label)
  local given, count = {}, {}
  for _, text in ipairs(c.opts.o or {}) do
    local name, value = text:match "^([^=]+)=(.*)$"
    if not name then c:usage "missing '=' for property=value argument" end
    if count[name] then c:usage("property '%s' specified multiple times", name) end
    count[name] = true
    local checked, fault = properties.check(c.machine, letter, name, value, true)
    if fault then c:fail(1, "%s: %s", label, fault) end
    given[name] = checked
  end
  return given
end

-- Looks whether a dataset of this name can be made; with -p makes what is missing above it. Returns false if it is there and that is fine.
local function make_room(c, name)
  local label = ("cannot create '%s'"):format(name)
  local valid, fault = zfs.valid_name(name)
  if not valid then c:fail(1, "%s: %s", label, fault) end
  if not zfs.parent(name) then c:fail(1, "%s: missing dataset name", label) end
  if not c.machine.pools[zfs.pool(name)] then c:fail(1, "%s: no such pool '%s'", label, zfs.pool(name)) end
  if c.machine.datasets[name] then
    if c.opts.p then return false end
    c:fail(1, "%s: dataset already exists", label)
  end
  local missing, above = {}, zfs.parent(name)
  while above and not c.machine.datasets[above] do
    table.insert(missing, 1, above)
    above = zfs.parent(above)
  end
  if c.machine.datasets[above].type ~= "filesystem" then c:fail(1, "%s: parent is not a filesystem", label) end
  if #missing > 0 and not c.opts.p then c:fail(1, "%s: parent does not exist", label) end
  for _, parent in ipairs(missing) do birth.mount(birth.encrypt(c.machine:add_dataset(parent, "filesystem"))) end
  return true
end

-- Takes what -o says of encryption out of the properties and gives the dataset a key of its own.
local function take_encryption(ds, given)
  local cipher, format = given.encryption, given.keyformat
  given.encryption, given.keyformat = nil, nil
  if not cipher or cipher == "off" then return end
  ds.crypt = { cipher = cipher == "on" and "aes-256-gcm" or cipher, root = ds }
  ds.key = { format = format, loaded = true }
  if not given.keylocation then given.keylocation = "prompt" end
end

local function size_volume(c, ds, volsize, given)
  local blocksize = given.volblocksize or (properties.get(ds, "volblocksize"))
  properties.set(ds, "volsize", (volsize + blocksize - 1) // blocksize * blocksize, "local")
  if not c.opts.s and not given.refreservation then
    properties.set(ds, "refreservation", properties.volume_reservation(ds.props.volsize["local"], blocksize), "local")
  end
end

local function create(c)
  c:expect(1, 1, c.opts.V and "volume" or "filesystem")
  if c.opts.s and not c.opts.V then c:usage "'-s' and '-b' can only be used when creating a volume" end
  local name, label = c.args[1], ("cannot create '%s'"):format(c.args[1])
  local volsize
  if c.opts.V then
    local ok, bytes = pcall(zfs.parse_size, c:value "V")
    if not ok then c:fail(1, "bad volume size '%s': bad numeric value '%s'", c:value "V", c:value "V") end
    volsize = bytes
  end
  local given = given_properties(c, volsize and "v" or "f", label)
  if not make_room(c, name) then return end
  if given.encryption and given.encryption ~= "off" and not given.keyformat then
    c:fail(1, "%s: Keyformat required for new encryption root.", label)
  end
  local ds = c.machine:add_dataset(name, volsize and "volume" or "filesystem")
  take_encryption(ds, given)
  birth.encrypt(ds)
  for property, value in pairs(given) do properties.set(ds, property, value, "local") end
  if volsize then size_volume(c, ds, volsize, given) end
  if not c.opts.u then birth.mount(ds) end
end

verbs.create = {
  options = "psuo:V:b:", run = create,
  usage = "create [-pu] [-o property=value] ... <filesystem>\n\tcreate [-ps] [-b blocksize] [-o property=value] ... -V <size> <volume>",
}

-- A snapshot by its full name; ends the command if the name is not one of a snapshot, or there is none.
local function open_snapshot(c, name)
  if not name:find("@", 1, true) then c:fail(1, "cannot open '%s': missing '@' delimiter in snapshot name", name) end
  return c:open(name)
end

local function clone(c)
  c:expect(2, 2, "source dataset")
  local origin, name = open_snapshot(c, c.args[1]), c.args[2]
  local ds = origin.dataset
  if zfs.pool(name) ~= ds.pool.name and c.machine.pools[zfs.pool(name)] then
    c:fail(1, "cannot create '%s': source and target pools differ", name)
  end
  local given = given_properties(c, ds.letter, ("cannot create '%s'"):format(name))
  if not make_room(c, name) then return end
  local made = c.machine:add_dataset(name, ds.type, origin)
  made.crypt = ds.crypt
  if ds.props.volsize then properties.set(made, "volsize", ds.props.volsize["local"], "local") end
  for property, value in pairs(given) do properties.set(made, property, value, "local") end
  birth.mount(made)
end

verbs.clone = { options = "po:", usage = "clone [-p] [-o property=value] ... <snapshot> <filesystem|volume>", run = clone }

-- ---- promote --------------------------------------------------------------------------------------------

-- Moves the extents that were born up to the origin to the clone; what stays refers to them.
local function move_space(from, to, txg)
  local stay, go, bytes = {}, {}, 0
  for _, e in ipairs(from.extents) do
    local list = e.born <= txg and go or stay
    list[#list + 1] = e
    if e.born <= txg and not e.died then bytes = bytes + e.bytes end
  end
  table.move(to.extents, 1, #to.extents, #go + 1, go)
  to.extents, to.inherited, from.extents, from.inherited = go, from.inherited, stay, bytes
  from.stats, to.stats = nil, nil
end

local function promote(c)
  c:expect(1, 1, "clone filesystem")
  local ds = c:open(c.args[1])
  local origin = ds.origin
  if not origin then c:fail(1, "cannot promote '%s': not a cloned filesystem", ds.name) end
  local parent = origin.dataset
  local moved, stay = {}, {}
  for _, s in ipairs(parent.snapshots) do
    local list = s.createtxg <= origin.createtxg and moved or stay
    list[#list + 1] = s
    if list == moved and ds.snapshot[s.short] then
      c:fail(1, "cannot promote '%s': snapshot name '%s' from origin \nconflicts with '%s' from target", ds.name, s.short, s.short)
    end
  end
  for _, s in ipairs(moved) do
    s.dataset, parent.snapshot[s.short], ds.snapshot[s.short] = ds, nil, s
  end
  table.move(ds.snapshots, 1, #ds.snapshots, #moved + 1, moved)
  ds.snapshots, parent.snapshots = moved, stay
  origin.clones[ds], origin.clones[parent] = nil, true
  ds.origin, parent.origin = parent.origin, origin
  if ds.origin then ds.origin.clones[parent], ds.origin.clones[ds] = nil, true end
  move_space(parent, ds, origin.createtxg)
end

verbs.promote = { options = "", usage = "promote <clone-filesystem>", run = promote }

-- ---- rename ---------------------------------------------------------------------------------------------

local function rename_snapshot(c, s, to)
  if not to:find("@", 1, true) then to = s.dataset.name .. "@" .. to end
  local owner, _, short = zfs.split_snapshot(to)
  if owner ~= s.dataset.name then c:fail(1, "cannot rename to '%s': snapshots must be part of same dataset", to) end
  local all = c.opts.r and c.machine:below(s.dataset) or {}
  table.insert(all, 1, s.dataset)
  local old = s.short
  for _, ds in ipairs(all) do
    if ds.snapshot[short] then c:fail(1, "cannot rename '%s@%s': dataset already exists", ds.name, old) end
  end
  for _, ds in ipairs(all) do
    local found = ds.snapshot[old]
    if found then found.short, ds.snapshot[old], ds.snapshot[short] = short, nil, found end
  end
end

local function rename(c)
  c:expect(1, nil, "source dataset")
  c:expect(2, 2, "target dataset")
  local from, to = c:open(c.args[1]), c.args[2]
  if from.kind == "@" then return rename_snapshot(c, from, to) end
  if from.name == to then return end
  if not zfs.parent(to) then c:fail(1, "cannot create '%s': missing dataset name", to) end
  if zfs.pool(to) ~= from.pool.name then c:fail(1, "cannot rename to '%s': datasets must be within same pool", to) end
  if zfs.is_below(to, from.name) then
    c:fail(1, "cannot rename to '%s': New dataset name cannot be a descendant of current dataset name", to)
  end
  if c.machine.datasets[to] then c:fail(1, "cannot rename '%s': dataset already exists", from.name) end
  make_room(c, to)
  c.machine:rename_dataset(from, to)
end

verbs.rename = { options = "pfur", usage = "rename [-f] <filesystem|volume|snapshot> <filesystem|volume|snapshot>", run = rename }

-- ---- rollback -------------------------------------------------------------------------------------------

-- Snapshots and bookmarks made after a snapshot, in the order of zfs.
local function newer_than(ds, s)
  local snapshots, bookmarks = {}, {}
  for _, other in ipairs(ds.snapshots) do
    if other.createtxg > s.createtxg then snapshots[#snapshots + 1] = other end
  end
  for _, b in pairs(ds.bookmarks) do
    if b.createtxg > s.createtxg then bookmarks[#bookmarks + 1] = b end
  end
  table.sort(bookmarks, function(a, b) return a.short < b.short end)
  return snapshots, bookmarks
end

local function check_rollback(c, name, snapshots, bookmarks)
  if #snapshots + #bookmarks > 0 and not c.opts.r and not c.opts.R then
    c:warn("cannot rollback to '%s': more recent snapshots or bookmarks exist", name)
    c:warn "use '-r' to force deletion of the following snapshots and bookmarks:"
    for _, list in ipairs { snapshots, bookmarks } do
      for _, o in ipairs(list) do c:warn("%s", machines.full_name(o)) end
    end
    c:stop(1)
  end
  for _, s in ipairs(snapshots) do
    if next(s.clones) and not c.opts.R then
      c:warn("cannot rollback to '%s': clones of previous snapshots exist", name)
      c:warn "use '-R' to force deletion of the following clones and dependents:"
      c:fail(1, "%s", (properties.get(s, "clones"):gsub(",", "\n")))
    end
  end
  for _, s in ipairs(snapshots) do
    if s.userrefs > 0 then c:fail(1, "cannot destroy '%s': dataset is busy", machines.full_name(s)) end
  end
end

local function rollback(c)
  c:expect(1, 1, "dataset")
  local s = open_snapshot(c, c.args[1])
  local ds = s.dataset
  local snapshots, bookmarks = newer_than(ds, s)
  check_rollback(c, c.args[1], snapshots, bookmarks)
  for _, newer in ipairs(snapshots) do
    for cloned in pairs(newer.clones) do c.machine:remove_dataset(cloned) end
    c.machine:remove_snapshot(newer)
  end
  for _, b in ipairs(bookmarks) do ds.bookmarks[b.short] = nil end
  space.rollback(ds, s, c.world:next_txg())
  ds.version = s.version
end

verbs.rollback = { options = "rRf", usage = "rollback [-rRf] <snapshot>", run = rollback }

-- ---- mount and keys -------------------------------------------------------------------------------------

local function mount(c)
  if c.opts.a then
    for _, ds in ipairs(c.machine:all()) do birth.mount(ds) end
    return
  end
  c:expect(1, 1)
  local ds = c:open(c.args[1])
  if ds.mounted then c:fail(1, "cannot mount '%s': filesystem already mounted", ds.name) end
  if ds.crypt and not ds.crypt.root.key.loaded then c:fail(1, "cannot mount '%s': encryption key not loaded", ds.name) end
  local where = properties.get(ds, "mountpoint")
  if where == "none" or where == "legacy" then c:fail(1, "cannot mount '%s': no mountpoint set", ds.name) end
  ds.mounted = true
end

local function unmount(c)
  c:expect(1, 1)
  local ds = c:open(c.args[1])
  if not ds.mounted then c:fail(1, "cannot unmount '%s': not currently mounted", ds.name) end
  ds.mounted = nil
end

verbs.mount = { options = "alvfO", usage = "mount [-flvO] [-o opts] <-a|-R filesystem|filesystem>", run = mount }
verbs.unmount = { options = "afu", usage = "unmount [-fu] <-a | filesystem|mountpoint>", run = unmount }
verbs.umount = "unmount"

-- Loads or unloads the key of an encryption root.
local function set_key(what, loaded)
  return function(c)
    c:expect(1, 1, "dataset")
    local ds = c:open(c.args[1])
    local root = ds.crypt and ds.crypt.root
    if root ~= ds then
      c:fail(255, "Key %s error: Keys must be %sed for encryption root of '%s' (%s).", what, what, ds.name, root and root.name or "none")
    end
    if root.key.loaded == loaded then c:fail(255, "Key %s error: Key already %sed for '%s'.", what, what, ds.name) end
    root.key.loaded = loaded
  end
end

verbs["load-key"] = { options = "rnaL:", usage = "load-key [-rn] [-L <keylocation>] <-a | filesystem|volume>", run = set_key("load", true) }
verbs["unload-key"] = { options = "ra", usage = "unload-key [-r] <-a | filesystem|volume>", run = set_key("unload", false) }

return verbs
