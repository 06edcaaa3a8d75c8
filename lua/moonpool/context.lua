--- `ctx`, what a hook gets beside what it is asked about: the run, the side, the pool, the other side. Costly things are listed when they are first
-- asked for, and then for all datasets of the run at once.

local common = require "moonpool.common"
local dataset = require "moonpool.dataset"
local zfs = require "moonpool.zfs"

local context = {}

-- The datasets that a hook may be asked about: what a bulk listing is for.
local function asked_about(run, side)
  if #run.pairs == 0 then return side.label == "source" and run.source_names or {} end
  local list = {}
  for _, pair in ipairs(run.pairs) do
    local ds = pair[side.label]
    if ds then list[#list + 1] = ds.name end
  end
  return list
end

local function properties_of(run, side, name)
  return setmetatable({}, { __index = function(_, property) return dataset.property(side, name, property, asked_about(run, side)) end })
end

local function pool_of(side, name)
  local pool = dataset.pool(side, name)
  if not pool then return nil end
  return {
    name = zfs.pool(name), size = math.tointeger(tonumber(pool.size)), free = math.tointeger(tonumber(pool.free)),
    capacity = math.tointeger(tonumber((tostring(pool.capacity):gsub("%%$", "")))),
  }
end

local function snapshots_of(ds) return ds and ds:snapshots() or {} end

-- The other side of a pair, as the destination (or the origin) that this side's data has.
local function destinations_of(run, label, pair)
  local other = label == "source" and "target" or "source"
  if not run[other] then return {} end
  local newest = common.newest(pair)
  return {
    {
      host = run[other].host.name, dataset = other == "target" and pair.target_name or pair.name, exists = pair[other] ~= nil,
      snapshots = snapshots_of(pair[other]), common = newest and newest[label == "source" and "from" or "to"],
    },
  }
end

local LAZY = {
  dataset = function(_, _, name) return name end,
  pool = function(_, side, name) return pool_of(side, name) end,
  properties = properties_of,
  type = function(_, side, name, own) return side.datasets[name] and side.datasets[name].type or own.properties.type end,
  snapshots = function(run, side, name)
    if not side.datasets[name] then dataset.load_all(side, asked_about(run, side)) end
    return snapshots_of(side.datasets[name])
  end,
  destinations = function(run, side, _, _, pair) return destinations_of(run, side.label, pair) end,
}

--- What a hook gets about one dataset on one side.
-- @param run the run; @param label "source" or "target"; @param pair the pair, or { name } before there are pairs
-- @return ctx: now (epoch seconds), utc, options, names, side, host, dataset; when asked for: type, pool { name, size, free (bytes), capacity (percent) },
--   properties[name] (text; nil if not set), snapshots (array, oldest first), destinations (array of { host, dataset, exists, snapshots, common })
function context.of(run, label, pair)
  local side = run[label]
  local name = label == "source" and pair.name or pair.target_name
  local ctx = { side = label, host = side.host.name }
  return setmetatable(ctx, { __index = function(own, key)
    if not LAZY[key] then return run.ctx[key] end
    -- A simulation answers for itself, and notes that it was asked.
    local value
    if run.particular then
      value = run.particular(key, label, pair)
    else
      value = LAZY[key](run, side, name, own, pair)
    end
    rawset(own, key, value)
    return value
  end })
end

return context
