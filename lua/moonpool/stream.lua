--- One `zfs send | zfs receive`: with which flags, and what it said.

local context = require "moonpool.context"
local dataset = require "moonpool.dataset"
local filter = require "moonpool.filter"
local log = require "moonpool.log"
local policy = require "moonpool.policy"
local quota = require "moonpool.quota"
local zfs = require "moonpool.zfs"

local stream = {}

--- How a dataset is sent: what both ends understand. Encrypted datasets go raw, and nothing is embedded into encryption.
-- @param run the run; @param pair the pair; @return fields for `zfs.send_argv`
function stream.options(run, pair)
  local function source_has(feature) return dataset.has_feature(run.source, pair.name, feature) end
  local function target_has(feature) return dataset.has_feature(run.target, pair.target_name, feature) end
  local function both(feature) return source_has(feature) and target_has(feature) end
  local raw = pair.source.encrypted and not run.options.decrypt
  local place = dataset.nearest(run.target, pair.target_name)
  local options = {
    -- zfs does not send the properties of an encrypted dataset in plain: those that are set on it go with the receive.
    props = raw or not pair.source.encrypted,
    raw = raw,
    large_blocks = both "large_blocks",
    compressed = not run.options.no_zfs_compressed and both "lz4_compress" and (target_has "zstd_compress" or not source_has "zstd_compress"),
    embed = not raw and both "embedded_data" and not (place and place.encrypted),
  }
  for key, value in pairs(policy.call(run.policy, "send_options", pair.source, context.of(run, "source", pair)) or {}) do options[key] = value end
  return options
end

local function resumable(run, pair)
  return not run.options.no_resume and dataset.has_feature(run.source, pair.name, "extensible_dataset")
    and dataset.has_feature(run.target, pair.target_name, "extensible_dataset")
end

-- Shows the transfer where progress is shown; the estimate costs one more `zfs send`.
local function in_sight(run, pair, send)
  if not run.progress then return nil, function() end end
  local argv = table.move(send, 3, #send, 4, { "zfs", "send", "-nP" })
  local look = run.source.host:run(argv, { check = false })
  local estimate = look.status == 0 and zfs.parse_send_estimate(look.out .. look.err).bytes or nil
  return run.progress:transfer(pair.name, estimate)
end

--- Sends and receives; returns when both have ended well.
-- @param run the run; @param pair the pair; @param send argv of the `zfs send`; @param label what is said; @param force receive with -F
-- @raise what the first failing end met
function stream.run(run, pair, send, label, force)
  local given = run.receive_properties(pair)
  quota.lift(pair, given)
  local receive = zfs.receive_argv {
    target = pair.target_name, unmounted = true, resumable = resumable(run, pair), force = force, set = given.set, exclude = given.exclude,
  }
  log.info("%s", label)
  local begin, finish = in_sight(run, pair, send)
  local _ <close> = setmetatable({}, { __close = finish })
  -- All streams of a run keep to one rate together, also those that began when it was another one.
  run.throttle:set(run.rate(run.clock()) or run.options.rate or 0)
  local result = run.source.host:pipe(filter.stages(run, send, receive),
    { buffer = run.options.buffer, rate = run.throttle, stall_timeout = run.stall_timeout, on_start = begin })
  if result.dry then return end
  run.bytes = run.bytes + result.bytes
  pair.bytes, pair.seconds = (pair.bytes or 0) + result.bytes, (pair.seconds or 0) + result.seconds
  log.info("received %s stream in %s (%s/sec)", zfs.format_bytes(result.bytes), zfs.format_seconds(result.seconds),
    zfs.format_bytes(result.bytes / math.max(result.seconds, 0.001)))
end

return stream
