--- Brings a snapshot of a backup back as a dataset: one full stream, resumable, into a name that is free or was made free.

local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local log = require "moonpool.log"
local zfs = require "moonpool.zfs"

local restore = {}

local STALL_TIMEOUT_SECONDS = 3600

-- Names that are no backup's: every snapshot counts, as old as it is.
local ANY = { utc = false, time = function(_, _, creation) return creation end }

-- The snapshot that is asked for, or the newest; raises if there is none.
local function choose(side, name, wanted)
  local ds = dataset.reload(side, name)
  if not ds then errors.fail("nothing", "there is no %s on %s", name, side.host.name) end
  local snapshots = ds:snapshots()
  if not wanted then
    local newest = snapshots[#snapshots]
    if not newest then errors.fail("nothing", "%s on %s has no snapshot", name, side.host.name) end
    return ds, newest
  end
  for _, s in ipairs(snapshots) do
    if s.name == wanted then return ds, s end
  end
  errors.raise { code = "nothing", message = ("%s has no snapshot @%s"):format(name, wanted), hint = "zfs list -t snapshot " .. name }
end

-- Makes the name free: what is there is kept aside, or destroyed, if that was asked for.
local function make_room(run)
  local name = run.to
  if #run.over == 0 then
    errors.raise { code = "exists", message = ("%s exists on %s"):format(name, run.target.host.name),
      hint = "--over=aside renames it first, --over=destroy gives it up; or bring it back beside it, under another name" }
  end
  local aside = ("%s.before-%s"):format(name, os.date("!%Y%m%d%H%M%S", math.floor(run.now)))
  log.info("Keeping %s aside as %s", name, aside)
  run.target.host:run { "zfs", "rename", name, aside }
  run.aside = aside
end

local function receive_options(run)
  -- What the backup set on it for itself does not come along.
  local exclude = { dataset.MARK }
  return { target = run.to, unmounted = true, resumable = true, set = run.set, exclude = exclude }
end

-- With -b the properties are those that were received, not what the backup server set over them.
local function send_options(run, ds, s)
  local function both(feature) return dataset.has_feature(run.source, ds.name, feature) and dataset.has_feature(run.target, run.to, feature) end
  return {
    to = ds.name .. "@" .. s.name, props = true, backup = true, raw = ds.encrypted, large_blocks = both "large_blocks", compressed = both "lz4_compress",
    embed = not ds.encrypted and both "embedded_data",
  }
end

local function transfer(run, send)
  run.source.host:pipe({ { host = run.source.host, argv = send }, { host = run.target.host, argv = zfs.receive_argv(receive_options(run)) } },
    { buffer = run.buffer, rate = run.limit, stall_timeout = STALL_TIMEOUT_SECONDS })
end

-- A restore that was cut off goes on, if it is of this very snapshot.
local function resumed(run, there, s)
  if not there.token then return false end
  local argv = { "zfs", "send", "-nvt", there.token }
  local look = run.source.host:run(argv, { check = false })
  local token = look.status == 0 and zfs.parse_token(look.out .. look.err)
  if not token or token.toguid ~= s.guid then
    errors.raise { code = "exists", message = ("%s has a partial receive of something else"):format(run.to), hint = "zfs receive -A " .. run.to }
  end
  log.info("Going on where it was cut off")
  transfer(run, zfs.send_argv { token = there.token })
  return true
end

local function verify(run, s)
  local full = run.to .. "@" .. s.name
  local seen = dataset.look(run.target.host, { full })
  if not seen[full] or seen[full].guid ~= s.guid then errors.fail("verify", "%s did not arrive", full) end
end

-- Runs what brings it back. If that fails, what was there before gets its name again, unless a part of the new one has it: then the error tells where it is.
local function or_put_back(run, bring)
  local ok, err = pcall(bring)
  if ok then return end
  err = errors.wrap(err)
  if run.aside and not run.target.host.dry then
    local looked, there = pcall(dataset.reload, run.target, run.to)
    local is_back = looked and not there and pcall(run.target.host.run, run.target.host, { "zfs", "rename", run.aside, run.to })
    local hint = err.hint or errors.hint(err.stderr)
    local where = is_back and ("%s is again what it was"):format(run.to)
      or ("what was %s is kept as %s; the same command goes on with what has arrived"):format(run.to, run.aside)
    err.hint = hint and hint .. "; " .. where or where
  end
  errors.raise(err)
end

--- Brings one snapshot back.
-- @param run { source, target = hosts' sides (dataset.side), from = dataset, snapshot = name or nil, to = dataset, over = "", "aside" or "destroy",
--   now, buffer, limit (bytes per second), set = properties }
-- @return the snapshot; @raise nothing: it is not there; exists: `to` is taken and nothing was said about that; verify; what the commands met
function restore.run(run)
  local ds, s = choose(run.source, run.from, run.snapshot)
  local there = dataset.reload(run.target, run.to)
  log.info("Bringing back %s@%s as %s on %s", ds.name, s.name, run.to, run.target.host.name)
  or_put_back(run, function()
    if not (there and resumed(run, there, s)) then
      if there then make_room(run) end
      transfer(run, zfs.send_argv(send_options(run, ds, s)))
    end
    if not run.target.host.dry then verify(run, s) end
  end)
  if run.target.host.dry then return s end
  if run.aside and run.over == "destroy" then
    log.info("Destroying %s", run.aside)
    run.target.host:run(zfs.destroy_argv(run.aside, nil, { recursive = true }))
  end
  return s
end

--- A side for `restore.run`. @param host a host; @param label "source" or "target"; @return side
function restore.side(host, label) return dataset.side(host, label, ANY) end

return restore
