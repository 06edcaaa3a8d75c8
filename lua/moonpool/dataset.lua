--- What was seen: the datasets of one side of a backup, their snapshots and bookmarks, listed in bulk.
--
-- A side keeps its listing in the core's compact catalog. Snapshots become Lua tables one dataset at a time, when
-- `ds:snapshots()` is called, so a million of them never exist at once. What a run changes (a snapshot made, one received,
-- a hold let go) is noted on the dataset, in a dry run just as in a real one, so that later decisions see it.

local entry = require "moonpool.entry"
local errors = require "moonpool.error"
local zfs = require "moonpool.zfs"

local dataset = {}


--- The user property of a received dataset that tells which pool it came from, by the pool's GUID.
dataset.MARK = "moonpool:source"

local DATASET_COLUMNS = { "name", "type", "guid", "written", "origin", "receive_resume_token", "encryption", dataset.MARK,
  "quota", "refquota", "refreservation" }
local DATASET_LETTERS = "suussssuuu"
local SNAPSHOT_COLUMNS = { "name", "guid", "createtxg", "creation", "userrefs" }
local SNAPSHOT_LETTERS = "uuuu"
local SNAPSHOT_FIELDS = table.move(SNAPSHOT_COLUMNS, 2, #SNAPSHOT_COLUMNS, 1, {})
local CREATETXG, USERREFS = 2, 4

local function word(value) return value ~= "-" and value ~= "" and value or nil end

-- What the run has changed since the listing; of most datasets nothing.
local Dataset = { added = {}, removed = {}, userrefs = {} }
Dataset.__index = Dataset

local function own_table(ds, field)
  if not rawget(ds, field) then ds[field] = {} end
  return ds[field]
end

-- The catalog's answer about entries of a kind, which get what is known of their names already.
local function ask_catalog(ds, question, kind, column)
  local names = ds.side.names
  local times = kind == "@" and names and names.known or nil
  return ds.catalog[question](ds.catalog, ds.index, kind, SNAPSHOT_FIELDS, entry.meta(ds, kind), times, column)
end

local function by_age(a, b) return a.createtxg < b.createtxg end

-- What is in order already stays as it is, also where two are of the same age.
local function sort_by_age(list)
  for i = 2, #list do
    if list[i].createtxg < list[i - 1].createtxg then return table.sort(list, by_age) end
  end
end

-- The rows of the listing as the tables that hooks see, but for what the run has changed.
local function listed(ds, kind)
  local list = ask_catalog(ds, "entries", kind)
  if next(ds.removed) then
    local left = {}
    for _, s in ipairs(list) do
      if not ds.removed[kind .. s.name] then left[#left + 1] = s end
    end
    list = left
  end
  if next(ds.userrefs) then
    for _, s in ipairs(list) do s.userrefs = ds.userrefs[s.name] or s.userrefs end
  end
  return list
end

local function build(ds, kind)
  local list = ds.catalog and listed(ds, kind) or {}
  for _, added in ipairs(ds.added) do
    if added.kind == kind then list[#list + 1] = added end
  end
  -- A listing is in this order already, nearly always.
  local in_order = not ds.added[1] and (not ds.catalog or ds.catalog:ascends(ds.index, kind, CREATETXG))
  if not in_order then sort_by_age(list) end
  return list
end

-- The lists of the last few datasets that were asked for: one decision looks at the same ones again and again.
local RECENT = 4
local recent, turn = {}, 0

--- Gives up the remembered lists: the next ones are made of the listing alone, whatever a hook did to the last ones.
function Dataset:forget() self.lists = nil end

local function entries(ds, kind)
  -- Renamed or listed anew, it is another one.
  if not ds.lists or ds.lists.name ~= ds.name or ds.lists.catalog ~= ds.catalog then
    turn = turn % RECENT + 1
    if recent[turn] then recent[turn]:forget() end
    recent[turn], ds.lists = ds, { name = ds.name, catalog = ds.catalog }
  end
  ds.lists[kind] = ds.lists[kind] or build(ds, kind)
  return ds.lists[kind]
end

local function copy(list) return table.move(list, 1, #list, 1, {}) end

--- The snapshots of a dataset, oldest first, in a table of its own: dataset, name, guid, createtxg, creation, userrefs, time, own; and if they are asked for,
-- used, written, referenced (bytes) and holds (array of tags).
-- @return array
function Dataset:snapshots() return copy(entries(self, "@")) end

--- Those of `snapshots()` that are of this backup, in a table of its own. @return array
function Dataset:own_snapshots()
  local own = {}
  for _, s in ipairs(entries(self, "@")) do
    if s.own then own[#own + 1] = s end
  end
  return own
end

--- The last of `snapshots()`, without a table of all of them where that is possible.
-- @return snapshot or nil
function Dataset:newest()
  if self.lists and self.lists["@"] or next(self.removed) or not self.catalog then
    local list = entries(self, "@")
    return list[#list]
  end
  local newest = ask_catalog(self, "greatest", "@", CREATETXG)
  if newest then newest.userrefs = self.userrefs[newest.name] or newest.userrefs end
  for _, added in ipairs(self.added) do
    if added.kind == "@" and (not newest or added.createtxg >= newest.createtxg) then newest = added end
  end
  return newest
end

--- Those of `snapshots()` that are held. @return array
function Dataset:held()
  if self.catalog and not (next(self.removed) or next(self.userrefs) or self.added[1]) then
    return ask_catalog(self, "entries", "@", USERREFS)
  end
  local list = {}
  for _, s in ipairs(entries(self, "@")) do
    if s.userrefs > 0 then list[#list + 1] = s end
  end
  return list
end

--- The newest snapshot of this backup. @return snapshot or nil, and whether there is no newer one of anybody
function Dataset:newest_own()
  local newest = self:newest()
  if not newest or newest.own then return newest, true end
  local snapshots = self:snapshots()
  for i = #snapshots - 1, 1, -1 do
    if snapshots[i].own then return snapshots[i], false end
  end
end

--- Whether there is a snapshot or bookmark of that name. @param kind "@" or "#"; @param name the part after it; @return boolean
function Dataset:has(kind, name)
  for _, added in ipairs(self.added) do
    if added.kind == kind and added.name == name then return true end
  end
  return self.catalog ~= nil and not self.removed[kind .. name] and self.catalog:has(self.index, kind, name)
end

--- Its bookmarks, oldest first, in the same form.
-- @return array
function Dataset:bookmarks() return copy(entries(self, "#")) end

--- Notes a snapshot or bookmark that the run made or received.
-- @param kind "@" or "#"; @param fields as in `snapshots()`; those left out are the newest and unknown
-- @return the entry
function Dataset:add(kind, fields)
  fields.kind = kind
  fields.dataset = self.name
  fields.createtxg = fields.createtxg or math.maxinteger
  fields.userrefs = fields.userrefs or 0
  self:forget()
  self.size_catalog, self.sizes = nil, nil
  table.insert(own_table(self, "added"), setmetatable(fields, entry.meta(self, kind)))
  return fields
end

--- Notes that a snapshot or bookmark is gone. @param kind "@" or "#"; @param name the part after it
function Dataset:remove(kind, name)
  self:forget()
  for i, added in ipairs(self.added) do
    if added.kind == kind and added.name == name then
      table.remove(self.added, i)
      return
    end
  end
  own_table(self, "removed")[kind .. name] = true
end

--- Notes how many holds a snapshot has now. @param name the part after the `@`; @param count holds
function Dataset:set_userrefs(name, count)
  self:forget()
  own_table(self, "userrefs")[name] = count
  self.tags = nil
  for _, added in ipairs(self.added) do
    if added.kind == "@" and added.name == name then added.userrefs = count end
  end
end

--- A transaction group that is newer than all of this dataset's snapshots, for one that was just received. @return integer
function Dataset:next_txg()
  local newest = self:newest()
  return newest and newest.createtxg + 1 or 1
end

local function new_dataset(side, name, fields)
  local ds = { side = side, name = name }
  for k, v in pairs(fields) do ds[k] = v end
  return setmetatable(ds, Dataset)
end

--- A side of a backup, nothing seen yet.
-- @param host a host object; @param label "source" or "target"; @param names the names of this backup (moonpool.names)
-- @return side: host, label, names, datasets (by name), origins (full names of all snapshots that clones were seen to be made of)
function dataset.side(host, label, names)
  return { host = host, label = label, names = names, datasets = {}, origins = {}, properties = {} }
end

local KINDS = { ["local"] = "local", received = "received", default = "none", ["-"] = "none", temporary = "local" }

-- "inherited from tank/a" -> "inherited", "tank/a"
local function parse_source(text)
  local from = text:match "^inherited from (.+)$"
  if from then return "inherited", from end
  return KINDS[text] or "none"
end

--- The datasets that a command did not find, by its message: others may destroy some while a run looks.
-- @param err an error object; @return array of names, none if the error is another one
function dataset.not_found(err)
  local names = {}
  if not errors.is(err, "exit") then return names end
  for name in (err.stderr or ""):gmatch "'([^'\n@#]+)[^'\n]*': dataset does not exist" do names[#names + 1] = name end
  return names
end

-- The rows of a `zfs get`, without what is gone meanwhile.
local function rows_of(side, query)
  local result = side.host:run(zfs.get_argv(query), { check = false })
  if result.error and #dataset.not_found(result.error) == 0 then errors.raise(result.error) end
  return zfs.parse_get(result.out)
end

--- Asks for properties of many datasets. What is gone meanwhile has no row.
-- @param side a side; @param query as for `zfs.get_argv`, without datasets; @param list names
-- @return array of { name, property, value, source }; @raise what the command met
function dataset.get(side, query, list)
  local rows = {}
  for batch in zfs.batches(list, zfs.MAX_ARGUMENT_BYTES) do
    query.datasets = batch
    for _, row in ipairs(rows_of(side, query)) do rows[#rows + 1] = row end
  end
  return rows
end

--- All filesystems and volumes of a side, with what a property says on each.
-- @param side from `dataset.side`; @param property the backup's property, "autobackup:NAME"
-- @return array in the order of the listing: name, value, source ("local", "inherited", "received", "none"), from
-- @raise what the command met
function dataset.candidates(side, property)
  local list, received = {}, {}
  for _, row in ipairs(rows_of(side, { types = { "filesystem", "volume" }, properties = { property } })) do
    local source, from = parse_source(row.source)
    if source == "received" then received[row.name] = true end
    -- Inherited from a dataset that received it: received just the same.
    if from and received[from] then source = "received" end
    list[#list + 1] = { name = row.name, value = row.value, source = source, from = from }
  end
  return list
end

local function note_dataset(side, name, row)
  side.datasets[name] = new_dataset(side, name, {
    type = row[1],
    guid = row[2],
    written = row[3],
    origin = word(row[4]),
    token = word(row[5]),
    encrypted = row[6] ~= "off" and word(row[6]) ~= nil,
    mark = word(row[7]),
    quota = row[8],
    refquota = row[9],
    refreservation = row[10],
  })
  local origin = word(row[4])
  if origin then side.origins[origin] = true end
end

-- Lists what is there of the datasets that are named, and forgets those that are gone meanwhile.
local function list_existing(side, query, letters)
  local catalog, err = side.host:list(zfs.list_argv(query), letters, { check = false })
  local gone = dataset.not_found(err)
  if err and #gone == 0 then errors.raise(err) end
  for _, name in ipairs(gone) do side.datasets[name] = nil end
  return catalog
end

local function list_datasets(side, query)
  query.types, query.columns = { "filesystem", "volume" }, DATASET_COLUMNS
  local catalog = list_existing(side, query, DATASET_LETTERS)
  for i = 1, catalog:datasets() do
    local row = catalog:rows(i)[1]
    if row then note_dataset(side, catalog:name(i), row) end
  end
end

--- Sees datasets by name, without their snapshots; not those that are gone meanwhile.
-- @param side a side; @param list names; @raise what the command met
function dataset.load(side, list)
  for batch in zfs.batches(list, zfs.MAX_ARGUMENT_BYTES) do list_datasets(side, { datasets = batch, depth = 0 }) end
end

--- Sees a dataset and everything below it, without snapshots. A dataset that does not exist leaves the side empty.
-- @param side a side; @param root a dataset's name; @return true if it exists; @raise what else the command met
function dataset.load_tree(side, root)
  list_datasets(side, { datasets = { root }, recursive = true })
  return side.datasets[root] ~= nil
end

--- Sees one dataset anew, with its snapshots. @param side a side; @param name the dataset's; @return dataset, or nil if it is not there; @raise
function dataset.reload(side, name)
  side.datasets[name] = nil
  list_datasets(side, { datasets = { name }, depth = 0 })
  if side.datasets[name] then dataset.load_snapshots(side, { name }) end
  return side.datasets[name]
end

--- Notes a dataset that the run made. @param side a side; @param name the dataset's; @return the dataset
function dataset.note_created(side, name)
  local above = dataset.nearest(side, zfs.parent(name))
  side.datasets[name] = new_dataset(side, name, { encrypted = above and above.encrypted })
  return side.datasets[name]
end

--- Notes that a dataset was renamed, and with it what lies below. @param side a side; @param old, new its names
function dataset.note_renamed(side, old, new)
  local moved = {}
  for name, ds in pairs(side.datasets) do
    if name == old or zfs.is_below(name, old) then moved[name] = ds end
  end
  for name, ds in pairs(moved) do
    side.datasets[name] = nil
    ds.name = new .. name:sub(#old + 1)
  end
  for _, ds in pairs(moved) do side.datasets[ds.name] = ds end
end

--- Sees the snapshots and bookmarks of datasets already seen; forgets those that are gone meanwhile.
-- @param side a side; @param list their names; @raise what the command met
function dataset.load_snapshots(side, list)
  for batch in zfs.batches(list, zfs.MAX_ARGUMENT_BYTES) do
    local query = { types = { "snapshot", "bookmark" }, columns = SNAPSHOT_COLUMNS, datasets = batch, depth = 1 }
    local catalog = list_existing(side, query, SNAPSHOT_LETTERS)
    for _, name in ipairs(batch) do
      local ds = side.datasets[name]
      if ds then
        local index = catalog:find(name)
        ds.catalog, ds.index, ds.added, ds.removed, ds.userrefs = index and catalog, index, nil, nil, nil
      end
    end
  end
end

--- Sees datasets with their snapshots and bookmarks, those that were not seen before. @param side a side; @param list their names
-- @raise what the commands met
function dataset.load_all(side, list)
  local fresh = {}
  for _, name in ipairs(list) do
    if not side.datasets[name] then fresh[#fresh + 1] = name end
  end
  if #fresh == 0 then return end
  dataset.load(side, fresh)
  dataset.load_snapshots(side, fresh)
end

-- The pools of a side: GUIDs, sizes and features. A system that does not tell has none.
local function load_pools(side)
  side.pools = {}
  local result = side.host:run({ "zpool", "get", "-Hp", "-o", "name,property,value", "all" }, { check = false })
  if result.status == 0 then side.pools = zfs.parse_pools(result.out) end
end

--- All pools of a side. @param side a side; @return { [pool] = { guid, size, free (bytes), capacity (percent), features, … } }
function dataset.pools(side)
  if not side.pools then load_pools(side) end
  return side.pools
end

--- The pool of a dataset. @param side a side; @param name a dataset's name; @return its properties, as in `dataset.pools`; nil if it is not known
function dataset.pool(side, name) return dataset.pools(side)[zfs.pool(name)] end

--- A property of a dataset, asked for all of them at once. @param side a side; @param name a dataset's name; @param property any; @param all names
--   that will be asked about too; @return text, or nil if it is not set; @raise exit: there is no such property
function dataset.property(side, name, property, all)
  local known = side.properties[property] or {}
  side.properties[property] = known
  if known[name] == nil then
    local unknown = { name }
    for _, other in ipairs(all) do
      if known[other] == nil and other ~= name then unknown[#unknown + 1] = other end
    end
    for _, other in ipairs(unknown) do known[other] = false end
    for _, row in ipairs(dataset.get(side, { properties = { property } }, unknown)) do known[row.name] = row.value ~= "-" and row.value end
  end
  return known[name] or nil
end

--- Whether a dataset's pool has a feature, enabled or active.
-- @param side a side; @param name a dataset's name; @param feature such as "large_blocks"; @return boolean
function dataset.has_feature(side, name, feature)
  local pool = dataset.pool(side, name)
  return pool ~= nil and pool.features[feature] ~= nil
end

--- The dataset itself, or the nearest one above it that was seen. @param side a side; @param name a dataset's name; @return dataset or nil
function dataset.nearest(side, name)
  while name do
    if side.datasets[name] then return side.datasets[name] end
    name = zfs.parent(name)
  end
end

--- The properties that were set or received on the datasets of a run's pairs, asked for all at once.
-- @param side the source; @param list pairs; @return { [dataset] = array of { name, value, source } }
function dataset.local_properties(side, list)
  local found, all = {}, {}
  for i, pair in ipairs(list) do all[i] = pair.name end
  for _, row in ipairs(dataset.get(side, { properties = { "all" }, sources = { "local", "received" } }, all)) do
    found[row.name] = found[row.name] or {}
    table.insert(found[row.name], { name = row.property, value = row.value, source = row.source })
  end
  return found
end

--- GUIDs of snapshots as they are at this moment; those that do not exist are left out.
-- @param host a host object; @param list full names, "tank/a@x"
-- @return { [full name] = { guid =, createtxg =, creation = } }
-- @raise a host that can't be asked
function dataset.look(host, list)
  local found = {}
  for batch in zfs.batches(list, zfs.MAX_ARGUMENT_BYTES) do
    local argv = zfs.list_argv { types = { "snapshot" }, columns = SNAPSHOT_COLUMNS, datasets = batch }
    -- Exit 1 says that one of them is not there, which is an answer.
    local result = host:run(argv, { check = false })
    if result.error and not errors.is(result.error, "exit") then errors.raise(result.error) end
    for line in result.out:gmatch "[^\n]+" do
      local name, guid, createtxg, creation = line:match "^([^\t]+)\t(%d+)\t(%d+)\t(%d+)"
      if name then
        found[name] = { guid = zfs.parse_guid(guid), createtxg = math.tointeger(tonumber(createtxg)), creation = math.tointeger(tonumber(creation)) }
      end
    end
  end
  return found
end

return dataset
