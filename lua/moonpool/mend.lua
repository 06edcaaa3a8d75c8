--- Targets that can't go on from a common snapshot: what was asked to be done about them, before anything is sent.

local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local log = require "moonpool.log"
local missing = require "moonpool.missing"
local remove = require "moonpool.remove"
local zfs = require "moonpool.zfs"

local mend = {}

-- Destroys the snapshots of the target that are newer than the common one. zfs refuses those that are held.
local function destroy_newer(run, pair, state)
  local names = {}
  for i, s in ipairs(state.newer) do names[i] = s.name end
  log.info("Destroying on %s: %s@%s", run.target.host.name, pair.target_name, table.concat(names, ","))
  for batch in zfs.batches(names, zfs.MAX_DESTROY_BYTES) do run.target.host:run(zfs.destroy_argv(pair.target_name, batch)) end
  for _, name in ipairs(names) do pair.target:remove("@", name) end
end

local function roll_back(run, pair, state)
  destroy_newer(run, pair, state)
  run.target.host:run { "zfs", "rollback", pair.target_name .. "@" .. state.base.to.name }
end

-- A name beside the old one that is not taken.
local function name_aside(run, name)
  local stem = name .. ".old-" .. os.date("!%Y%m%d%H%M%S", run.now)
  local aside, n = stem, 1
  while run.target.datasets[aside] do
    n = n + 1
    aside = stem .. "-" .. n
  end
  return aside
end

local function children(run, name)
  local list = {}
  for other in pairs(run.target.datasets) do
    if zfs.parent(other) == name then list[#list + 1] = other end
  end
  table.sort(list)
  return list
end

-- Renames the old target. What lies below it goes along, and comes back when the new one is there.
local function move_aside(run, pair)
  local name = pair.target_name
  local aside = name_aside(run, name)
  log.info("Keeping %s aside as %s", name, aside)
  run.target.host:run { "zfs", "rename", name, aside }
  pair.aside = { name = aside, children = children(run, name) }
  run.target.datasets[name], pair.target = nil, nil
end

-- Renames a target, and what lies below it, as its source was renamed.
local function follow(run, pair, old)
  local new = pair.target_name
  log.info("Renaming %s to %s, as on the source", old, new)
  run.target.host:run { "zfs", "rename", old, new }
  local moved = {}
  for name, ds in pairs(run.target.datasets) do
    if name == old or zfs.is_below(name, old) then moved[name] = ds end
  end
  for name, ds in pairs(moved) do
    run.target.datasets[name] = nil
    ds.name = new .. name:sub(#old + 1)
    run.target.datasets[ds.name] = ds
  end
  for _, other in ipairs(run.pairs) do other.target = run.target.datasets[other.target_name] end
end

--- A pair without a target whose source had another name before: its target is renamed if that was asked for.
-- @param run the run; @param pair the pair
-- @raise renamed: it was not asked for, with what to type
function mend.renamed(run, pair)
  local gone = not pair.target and missing.renamed_from(run, pair)
  if not gone then return end
  if run.options.follow_renames then return follow(run, pair, gone.target_name) end
  errors.raise {
    code = "renamed", message = ("%s was renamed on the source: on the target it is still %s"):format(pair.name, gone.target_name),
    hint = ("zfs rename %s %s; --follow-renames does it"):format(gone.target_name, pair.target_name),
  }
end

--- Does what the hook `on_diverged` answered.
-- @param run the run; @param pair the pair; @param planned from `plan.transfer`, with `mend` = { action, base, newer }
-- @raise what the commands met
function mend.before(run, pair, planned)
  local state = planned.mend
  if not state then return end
  if state.action == "rollback" then
    roll_back(run, pair, state)
  elseif state.action == "destroy" then
    destroy_newer(run, pair, state)
  elseif state.action == "rename" or state.action == "full" then
    move_aside(run, pair)
  end
end

--- After a new target was received in place of one that was kept aside: brings back what lay below that one; with "full" the old one goes.
-- @param run the run; @param pair the pair; @param planned from `plan.transfer`; @raise what the commands met
function mend.after(run, pair, planned)
  local aside = pair.aside
  if not aside then return end
  for _, name in ipairs(aside.children) do
    run.target.host:run { "zfs", "rename", aside.name .. name:sub(#pair.target_name + 1), name }
  end
  pair.aside = nil
  if planned.mend.action ~= "full" then return end
  local seen = run.target.host.dry or dataset.look(run.target.host, { pair.target_name .. "@" .. pair.sent.name })
  local arrived = run.target.host.dry or seen[pair.target_name .. "@" .. pair.sent.name]
  if not arrived or (arrived ~= true and arrived.guid ~= pair.sent.guid) then
    errors.fail("verify", "%s did not arrive, so the old one stays: %s", pair.target_name, aside.name)
  end
  log.info("Destroying the old %s", aside.name)
  remove.dataset(run, aside.name)
end

return mend
