--- Removes a dataset of the target with all its snapshots, where that was asked for: never what somebody else holds, and never what lies below it.

local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local holds = require "moonpool.hold"
local zfs = require "moonpool.zfs"

local remove = {}

-- Lets go of our own holds; somebody else's stop it all.
local function release_ours(run, ds)
  local held = {}
  for _, s in ipairs(ds:snapshots()) do
    if s.userrefs > 0 then held[#held + 1] = ds.name .. "@" .. s.name end
  end
  if #held == 0 then return end
  local by_tag = holds.by_tag(run.target.host, held)
  for tag, list in pairs(by_tag) do
    if tag ~= run.target_tag then
      errors.fail("held", "%s is held by '%s', so %s stays", list[1], tag, ds.name)
    end
  end
  if by_tag[run.target_tag] then run.target.host:release(run.target_tag, by_tag[run.target_tag]) end
end

--- Removes one dataset. Everything is named, so what came into being meanwhile makes zfs refuse.
-- @param run the run; @param name the dataset's; @raise held: somebody else holds a snapshot of it; exit: it has children, or clones
function remove.dataset(run, name)
  local host = run.target.host
  local ds = host.dry and run.target.datasets[name] or dataset.reload(run.target, name)
  if ds then
    release_ours(run, ds)
    local names = {}
    for i, s in ipairs(ds:snapshots()) do names[i] = s.name end
    for batch in zfs.batches(names, zfs.MAX_DESTROY_BYTES) do host:run(zfs.destroy_argv(name, batch)) end
  end
  host:run(zfs.destroy_argv(name))
  run.target.datasets[name] = nil
end

return remove
