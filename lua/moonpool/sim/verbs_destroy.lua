--- The verb `destroy` of the simulator: of snapshots, of bookmarks, and of datasets with what depends on them.

local machines = require "moonpool.sim.machine"
local properties = require "moonpool.sim.properties"
local space = require "moonpool.sim.space"
local zfs = require "moonpool.zfs"

local verbs = {}

local full_name = machines.full_name

-- ---- what is shown --------------------------------------------------------------------------------------

local function show_destroy(c, name)
  if c.opts.p and c.opts.v then
    c:print("destroy\t%s", name)
  elseif c.opts.v then
    c:print("%s destroy %s", c.opts.n and "would" or "will", name)
  end
end

local function show_reclaim(c, bytes)
  if c.opts.p and c.opts.v then
    c:print("reclaim\t%d", bytes)
  elseif c.opts.v then
    c:print("%s reclaim %s", c.opts.n and "would" or "will", zfs.format_bytes(bytes))
  end
end

-- ---- snapshots ------------------------------------------------------------------------------------------

-- Snapshots of one dataset between two names, those included; an empty name is the end on that side.
local function in_range(ds, first, last)
  local list, inside = {}, first == ""
  for _, s in ipairs(ds.snapshots) do
    inside = inside or s.short == first
    if inside then list[#list + 1] = s end
    if s.short == last then return list end
  end
  return last == "" and list or {}
end

-- The snapshots that `a,b%c` means in a dataset, and with -r in those below.
local function meant(c, ds, spec)
  local list, seen = {}, {}
  local all = (c.opts.r or c.opts.R) and c.machine:below(ds) or {}
  table.insert(all, 1, ds)
  for _, each in ipairs(all) do
    for part in spec:gmatch "[^,]+" do
      local first, last = part:match "^(.*)%%(.*)$"
      for _, s in ipairs(first and in_range(each, first, last) or { each.snapshot[part] }) do
        if not seen[s] then list[#list + 1] = s end
        seen[s] = true
      end
    end
  end
  return list
end

-- Everything that is cloned from a snapshot, and from that. A dataset may be a clone of what lies below it, so that this goes round in a circle.
local function dependents(machine, s, list, seen)
  list, seen = list or {}, seen or {}
  if seen[s] then return list end
  seen[s] = true
  local clones = {}
  for ds in pairs(s.clones) do clones[#clones + 1] = ds end
  table.sort(clones, function(a, b) return a.name < b.name end)
  for _, ds in ipairs(clones) do
    for _, each in ipairs(table.move(machine:below(ds), 1, #machine:below(ds), 2, { ds })) do
      for _, own in ipairs(each.snapshots) do dependents(machine, own, list, seen) end
    end
    list[#list + 1] = ds
  end
  return list
end

-- zfs 2.2 and later say how to see who holds a snapshot.
local function busy_text(machine)
  if machine:before_2_2() then return "dataset is busy" end
  return "it's being held. Run 'zfs holds -r %s' to see holders."
end

-- Whether a receive that was cut off goes on from a snapshot: for zfs its state is a clone of it.
local function is_partial_base(s)
  local partial = s.dataset.partial
  return partial and partial.fromguid == s.guid and not partial.first
end

local function refuse_clones(c, s)
  c:warn("cannot destroy '%s': snapshot has dependent clones", full_name(s))
  c:warn "use '-R' to destroy the following datasets:"
  if is_partial_base(s) then c:warn("%s/%%recv", s.dataset.name) end
  for _, ds in ipairs(dependents(c.machine, s)) do
    c:warn("%s", ds.name)
    for _, own in ipairs(ds.snapshots) do c:warn("%s", full_name(own)) end
  end
  c:stop(1)
end

local function refuse_held(c, list)
  local refused = false
  for _, s in ipairs(list) do
    local name = full_name(s)
    if s.userrefs > 0 then
      c:complain("cannot destroy snapshot %s: " .. busy_text(c.machine), name, name)
      refused = true
    end
  end
  return refused
end

-- Destroys a dataset and what is below it, as far as it goes: a held snapshot keeps its dataset, that one's other snapshots, and the
-- datasets above. Returns true if it stays. The root of a pool stays in any case.
local function remove_tree(c, ds)
  local stays = ds.parent == nil
  for _, child in ipairs(c.machine.children(ds)) do stays = remove_tree(c, child) or stays end
  if refuse_held(c, ds.snapshots) then return true end
  for i = #ds.snapshots, 1, -1 do
    for _, clone in ipairs(dependents(c.machine, ds.snapshots[i])) do remove_tree(c, clone) end
    c.machine:remove_snapshot(ds.snapshots[i])
  end
  if stays then
    if ds.mounted and ds.parent then c:complain("cannot unmount '%s': pool or dataset is busy", (properties.get(ds, "mountpoint"))) end
  elseif c.machine.datasets[ds.name] == ds then
    c.machine:remove_dataset(ds)
  end
  return stays
end

-- Destroys snapshots together or not at all.
local function destroy_snapshots(c, list)
  if not c.opts.d and not c.opts.n and refuse_held(c, list) then return end
  local reclaimed = 0
  for _, s in ipairs(list) do
    show_destroy(c, full_name(s))
    reclaimed = reclaimed + space.stats(s.dataset).snapshot[s].used
  end
  show_reclaim(c, reclaimed)
  if c.opts.n then return end
  for _, s in ipairs(list) do
    for _, clone in ipairs(c.opts.R and dependents(c.machine, s) or {}) do remove_tree(c, clone) end
    if s.userrefs > 0 or next(s.clones) then s.defer = true else c.machine:remove_snapshot(s) end
  end
end

local function destroy_named_snapshots(c, name)
  local owner, _, spec = zfs.split_snapshot(name)
  local ds = c.machine.datasets[owner]
  if not ds then c:fail(1, "cannot open '%s': dataset does not exist", owner) end
  local list = meant(c, ds, spec)
  if #list == 0 then c:fail(1, "could not find any snapshots to destroy; check snapshot names.") end
  if not c.opts.R and not c.opts.d then
    for _, s in ipairs(list) do
      if next(s.clones) or is_partial_base(s) then refuse_clones(c, s) end
    end
  end
  destroy_snapshots(c, list)
end

-- ---- bookmarks ------------------------------------------------------------------------------------------

local function destroy_bookmark(c, name)
  local b = c.machine:find(name)
  if not b then c:fail(1, "bookmark '%s' does not exist.", name) end
  b.dataset.bookmarks[b.short] = nil
end

-- ---- datasets -------------------------------------------------------------------------------------------

-- Names of everything below a dataset, what would go first being first.
local function below(c, ds, list)
  list = list or {}
  for _, child in ipairs(c.machine.children(ds)) do
    below(c, child, list)
    list[#list + 1] = child.name
  end
  for _, s in ipairs(ds.snapshots) do list[#list + 1] = full_name(s) end
  return list
end

-- Clones of snapshots in a tree that are not in that tree themselves.
local function foreign_clones(c, ds)
  local names = {}
  for _, each in ipairs(table.move(c.machine:below(ds), 1, #c.machine:below(ds), 2, { ds })) do
    for _, s in ipairs(each.snapshots) do
      for _, clone in ipairs(dependents(c.machine, s)) do
        if clone == ds or c.opts.R and zfs.is_below(ds.name, clone.name) then
          c:fail(1, "cannot determine dependent datasets: recursive dependency at '%s'", ds.name)
        end
        if not zfs.is_below(clone.name, ds.name) then names[#names + 1] = clone.name end
      end
    end
  end
  return names
end

local function refuse_dataset(c, ds, what, letter, names)
  c:warn("cannot destroy '%s': %s has %s", ds.name, ds.type, what)
  c:warn("use '-%s' to destroy the following datasets:", letter)
  c:fail(1, "%s", table.concat(names, "\n"))
end

local function check_dataset(c, ds)
  local recursive = c.opts.r or c.opts.R
  if not ds.parent and not recursive then
    c:warn("cannot destroy '%s': operation does not apply to pools", ds.name)
    c:warn("use 'zfs destroy -r %s' to destroy all datasets in the pool", ds.name)
    c:fail(1, "use 'zpool destroy %s' to destroy the pool itself", ds.name)
  end
  local names = below(c, ds)
  if #names > 0 and not recursive then refuse_dataset(c, ds, "children", "r", names) end
  local clones = foreign_clones(c, ds)
  if #clones > 0 and not c.opts.R then refuse_dataset(c, ds, "dependent clones", "R", clones) end
  return names
end

local function destroy_dataset(c, ds)
  local names = check_dataset(c, ds)
  for _, name in ipairs(names) do show_destroy(c, name) end
  show_destroy(c, ds.name)
  if c.opts.n then return end
  remove_tree(c, ds)
end

local function destroy(c)
  c:expect(1, 1, "dataset")
  local name = c.args[1]
  if name:find("@", 1, true) then return destroy_named_snapshots(c, name) end
  if name:find("#", 1, true) then return destroy_bookmark(c, name) end
  destroy_dataset(c, c:open(name))
end

verbs.destroy = {
  options = "rRdnvpf", run = destroy, reads = function(opts) return opts.n ~= nil end,
  usage = "destroy [-fnpRrv] <filesystem|volume>\n\tdestroy [-dnpRrv] <filesystem|volume>@<snap>[%<snap>][,...]\n"
    .. "\tdestroy <filesystem|volume>#<bookmark>",
}

return verbs
