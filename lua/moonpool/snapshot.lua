--- Makes the snapshots of a run: one name, and all datasets of a pool in one transaction.

local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local failure = require "moonpool.failure"
local log = require "moonpool.log"
local observe = require "moonpool.observe"
local policy = require "moonpool.policy"
local sched = require "moonpool.sched"
local zfs = require "moonpool.zfs"

local snapshot = {}

-- Names are of a second; so long a run waits for one that is free.
local LONGEST_WAIT_SECONDS = 5

-- The full name of a snapshot of some pairs that has this name, or nil.
local function taken(due, name)
  for _, pair in ipairs(due) do
    if pair.source:has("@", name) then return pair.name .. "@" .. name end
  end
end

-- The name for the run. One that is taken already (two runs in one second) waits for the next second, which is the run's then: it would else look as if the
-- clock were behind its own snapshot.
local function free_name(run, due)
  local first, now = run.now, run.now
  local function name_at(second) return policy.call(run.policy, "snapshot_name", setmetatable({ now = second }, { __index = run.ctx })) end
  local name = name_at(now)
  while taken(due, name) do
    if now - first == LONGEST_WAIT_SECONDS then
      errors.raise {
        code = "exists", message = ("%s is there already, and the next %d seconds give no other name"):format(taken(due, name), LONGEST_WAIT_SECONDS),
        hint = "a name needs the second (%S) in it: see --snapshot-format, and the hook 'snapshot_name' if the policy has one; --no-snapshot makes none",
      }
    end
    now = now + 1
    name = name_at(now)
  end
  if now > first and not run.pretended then sched.sleep(now - first) end
  run.now, run.ctx.now = now, now
  if not run.names:time(name) then
    local fault = ("hook 'snapshot_name' returned '%s', which is no name of this backup by the snapshot format"):format(tostring(name))
    errors.raise { code = "policy", message = fault }
  end
  return name
end

-- Learns the GUIDs of what was just made. In a dry run nothing was: the full name stands for the GUID.
local function note_made(run, name, made)
  local full = {}
  for i, pair in ipairs(made) do full[i] = pair.name .. "@" .. name end
  local dry = run.source.host.dry
  local seen = dry and {} or dataset.look(run.source.host, full)
  for i, pair in ipairs(made) do
    local found = seen[full[i]] or dry and { guid = full[i], creation = run.now }
    if found then
      local s = { name = name, guid = found.guid, createtxg = found.createtxg, creation = found.creation, time = run.names:time(name), own = true }
      pair.source:add("@", s)
    else
      local gone = { code = "verify", host = run.source.host.name, message = full[i] .. " was made, but is not there" }
      failure.guard(run, pair, errors.raise, gone)
    end
  end
end

-- Commands of the user around the snapshots, on the source.
local function run_commands(run, list)
  for _, command in ipairs(list or {}) do
    log.info("Running on %s: %s", run.source.host.name, command)
    run.source.host:run { "sh", "-c", command }
  end
end

-- Runs the commands that come afterwards at the end of a scope, whatever happens in it. Each of them runs, also if another one failed.
local function afterwards(run)
  return setmetatable({}, { __close = function()
    for _, command in ipairs(run.options.post_snapshot_cmd or {}) do
      local ok, err = failure.try(run_commands, run, { command })
      if not ok then failure.note(run, "--post-snapshot-cmd", err) end
    end
  end })
end

-- All snapshots of a pool at once: by one command, or if its line would be too long by a channel program, which only root may run.
local function take(run, pool, full)
  local bytes = 0
  for _, name in ipairs(full) do bytes = bytes + #name + 3 end
  if bytes <= run.max_command_bytes then
    run.source.host:run(zfs.snapshot_argv(full, run.options.set_snapshot_properties))
  elseif next(run.options.set_snapshot_properties or {}) then
    errors.fail("usage", "%d snapshots on %s are too many to be taken at once with --set-snapshot-properties", #full, pool)
  else
    run.source.host:run(zfs.program_argv(pool), { input = zfs.snapshot_program(full) })
  end
end

-- Takes the snapshots of the datasets that are still there; a run goes on without those that others destroyed meanwhile. Returns the former.
local function take_existing(run, pool, datasets, name)
  local full, there = {}, {}
  for i, ds in ipairs(datasets) do full[i] = ds .. "@" .. name end
  local ok, err = failure.try(take, run, pool, full)
  if ok then return datasets end
  local gone = {}
  for _, ds in ipairs(dataset.not_found(err)) do gone[ds] = true end
  for _, ds in ipairs(datasets) do
    if not gone[ds] then there[#there + 1] = ds end
  end
  if #there == #datasets then errors.raise(err) end
  observe.leave_out(run, function(pair) return gone[pair.name] and "destroyed meanwhile" end)
  return #there > 0 and take_existing(run, pool, there, name) or there
end

--- Makes the snapshots of a plan.
-- @param run the run; @param planned from `plan.snapshots`
-- @raise a pool on which it was not possible
function snapshot.make(run, planned)
  for _, f in ipairs(planned.failed) do failure.guard(run, f.pair, errors.raise, errors.wrap(f.error)) end
  for _, name in ipairs(planned.unchanged) do log.info("Unchanged: %s", name) end
  if #planned.pools == 0 then return end
  local by_name, due = {}, {}
  for _, pair in ipairs(run.pairs) do by_name[pair.name] = pair end
  for _, part in ipairs(planned.pools) do
    for _, ds in ipairs(part.datasets) do due[#due + 1] = by_name[ds] end
  end
  local name = free_name(run, due)
  local _ <close> = afterwards(run)
  run_commands(run, run.options.pre_snapshot_cmd)
  log.info("Creating source snapshot %s on %s", name, run.source.host.name)
  local made = {}
  for _, part in ipairs(planned.pools) do
    for _, ds in ipairs(take_existing(run, part.pool, part.datasets, name)) do made[#made + 1] = by_name[ds] end
  end
  note_made(run, name, made)
end

return snapshot
