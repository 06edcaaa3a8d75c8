--- A machine of the simulator: its pools, and the tree of datasets with their snapshots and bookmarks.
--
-- Plain storage: what may be done and what zfs would say is decided by the verbs. Every object has `kind`: "" for a dataset,
-- "@" for a snapshot, "#" for a bookmark, and `letter`: f, v, s, b.

local space = require "moonpool.sim.space"

local Machine = {}
Machine.__index = Machine

local LETTERS = { filesystem = "f", volume = "v" }

-- Features of a pool made by OpenZFS 2.1 and 2.3 without further options.
local ACTIVE = [[empty_bpobj lz4_compress spacemap_histogram enabled_txg hole_birth extensible_dataset embedded_data
  userobj_accounting project_quota spacemap_v2 log_spacemap]]
local ENABLED = [[async_destroy multi_vdev_crash_dump bookmarks filesystem_limits large_blocks large_dnode sha512 skein edonr
  encryption device_removal obsolete_counts zpool_checkpoint allocation_classes resilver_defer bookmark_v2 redaction_bookmarks
  redacted_datasets bookmark_written livelist device_rebuild zstd_compress draid]]
local NEWER = "zilsaxattr head_errlog blake3 block_cloning vdev_zaps_v2 redaction_list_spill raidz_expansion fast_dedup longname large_microzap"

local function add_features(features, words, state)
  for name in words:gmatch "%S+" do features[name] = state end
end

local function default_features(machine)
  local features = {}
  add_features(features, ACTIVE, "active")
  add_features(features, ENABLED, "enabled")
  add_features(features, NEWER, not machine:before_2_2() and "enabled" or nil)
  return features
end

--- A machine without pools. @param world its world; @param name the host's; @param version of zfs, "2.3.2"; @return machine
function Machine.new(world, name, version)
  return setmetatable({ world = world, name = name, version = version, pools = {}, datasets = {} }, Machine)
end

--- Whether its zfs is 2.0 or 2.1, which do and say some things otherwise. @return boolean
function Machine:before_2_2() return self.version:find "^2%.[01]%." ~= nil end

--- Makes a pool and its root dataset.
-- @param name the pool's; @param fields { size = bytes, features = { [name] = state } or nil for all of the version }; @return pool
function Machine:add_pool(name, fields)
  local pool = { name = name, size = fields.size, guid = self.world:new_guid() }
  pool.features = fields.features or default_features(self)
  self.pools[name] = pool
  pool.root = self:add_dataset(name, "filesystem")
  return pool
end

--- Takes a pool away, with all that is in it. @param name the pool's
function Machine:remove_pool(name)
  local root = self.pools[name].root
  for _, ds in ipairs(self:below(root)) do self.datasets[ds.name] = nil end
  self.datasets[name], self.pools[name], self.sorted = nil, nil, nil
end

local function parent_name(name) return name:match "^(.*)/[^/]*$" end

-- Ties a dataset into the tree under its present name.
local function attach(machine, ds)
  local parent = parent_name(ds.name)
  ds.parent = parent and machine.datasets[parent]
  if ds.parent then ds.parent.children[ds.name] = ds end
  machine.datasets[ds.name] = ds
  machine.sorted = nil
end

local function detach(machine, ds)
  if ds.parent then ds.parent.children[ds.name] = nil end
  machine.datasets[ds.name] = nil
  machine.sorted = nil
end

--- Makes a dataset, without looking whether it may be.
-- @param name full name; its parent exists; @param type "filesystem" or "volume"; @param origin snapshot that it is a clone of, or nil
-- @return dataset
function Machine:add_dataset(name, type, origin)
  local world = self.world
  local ds = {
    kind = "", letter = LETTERS[type], name = name, type = type, machine = self, guid = world:new_guid(), createtxg = world:next_txg(),
    creation = math.floor(world.now), objsetid = world:new_id(), props = {}, snapshots = {}, snapshot = {}, bookmarks = {}, children = {},
    origin = origin, version = origin and origin.version or world:new_id(),
  }
  ds.pool = self.pools[name:match "^[^/]*"]
  space.init(ds, ds.createtxg, origin and space.stats(origin.dataset).snapshot[origin].referenced)
  if origin then origin.clones[ds] = true end
  attach(self, ds)
  return ds
end

--- Takes a dataset away, with its snapshots; its children are gone already. @param ds dataset
function Machine:remove_dataset(ds)
  if ds.origin then self:forget_clone(ds) end
  detach(self, ds)
end

--- A clone no longer needs its origin, which goes if it was only waiting for that. @param ds a clone
function Machine:forget_clone(ds)
  local origin = ds.origin
  origin.clones[ds], ds.origin = nil, nil
  self:reap(origin)
end

--- Gives a dataset and all below it new names. @param ds dataset; @param name its new full name
function Machine:rename_dataset(ds, name)
  local moved = self:below(ds)
  table.insert(moved, 1, ds)
  local old = ds.name
  for _, d in ipairs(moved) do detach(self, d) end
  for _, d in ipairs(moved) do
    d.name = name .. d.name:sub(#old + 1)
    d.children = {}
  end
  for _, d in ipairs(moved) do attach(self, d) end
end

--- Takes a snapshot.
-- @param ds dataset; @param name the part after the `@`; @param txg transaction group; @param fields { guid, creation, props } or nil
-- @return snapshot
function Machine:add_snapshot(ds, name, txg, fields)
  fields = fields or {}
  local s = {
    kind = "@", letter = "s", short = name, dataset = ds, machine = self, guid = fields.guid or self.world:new_guid(), createtxg = txg,
    creation = fields.creation or math.floor(self.world.now), objsetid = self.world:new_id(), props = fields.props or {}, holds = {}, userrefs = 0,
    clones = {}, version = ds.version, raw = fields.raw,
  }
  ds.snapshots[#ds.snapshots + 1] = s
  ds.snapshot[name] = s
  ds.stats = nil
  return s
end

--- Takes a snapshot away, without looking whether it may be. @param s snapshot
function Machine.remove_snapshot(_, s)
  local ds = s.dataset
  for i, other in ipairs(ds.snapshots) do
    if other == s then
      table.remove(ds.snapshots, i)
      break
    end
  end
  ds.snapshot[s.short] = nil
  space.sweep(ds)
end

--- Destroys a snapshot that was marked for it, if nothing keeps it any more. @param s snapshot
function Machine:reap(s)
  if s.defer and s.userrefs == 0 and not next(s.clones) then self:remove_snapshot(s) end
end

--- Makes a bookmark. @param ds dataset; @param name the part after the `#`; @param of snapshot or bookmark; @return bookmark
function Machine:add_bookmark(ds, name, of)
  local referenced = of.referenced or space.stats(of.dataset).snapshot[of].referenced
  ds.bookmarks[name] = {
    kind = "#", letter = "b", short = name, dataset = ds, machine = self, guid = of.guid, createtxg = of.createtxg, creation = of.creation,
    referenced = referenced, version = of.version, props = {},
  }
  return ds.bookmarks[name]
end

--- The full name of a dataset, snapshot or bookmark. @param object any of them; @return text
function Machine.full_name(object)
  if object.kind == "" then return object.name end
  return object.dataset.name .. object.kind .. object.short
end

--- What has a name. @param name full name; @return dataset, snapshot or bookmark; nil if there is nothing
function Machine:find(name)
  local ds = self.datasets[name]
  if ds then return ds end
  local owner, sep, short = name:match "^([^@#]*)([@#])(.*)$"
  ds = owner and self.datasets[owner]
  if not ds then return nil end
  if sep == "@" then return ds.snapshot[short] end
  return ds.bookmarks[short]
end

--- All datasets by name. @return array; not to be changed
function Machine:all()
  if not self.sorted then
    local list = {}
    for _, ds in pairs(self.datasets) do list[#list + 1] = ds end
    table.sort(list, function(a, b) return a.name < b.name end)
    self.sorted = list
  end
  return self.sorted
end

--- The children of a dataset, oldest first. @param ds dataset; @return array
function Machine.children(ds)
  local list = {}
  for _, child in pairs(ds.children) do list[#list + 1] = child end
  table.sort(list, function(a, b) return a.createtxg < b.createtxg end)
  return list
end

--- All datasets below one, parents first. @param ds dataset; @return array
function Machine:below(ds)
  local list = {}
  local function walk(at)
    for _, child in ipairs(self.children(at)) do
      list[#list + 1] = child
      walk(child)
    end
  end
  walk(ds)
  return list
end

return Machine
