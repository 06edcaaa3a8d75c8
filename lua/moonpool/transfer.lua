--- Brings datasets up to date on the target: resume, hold and bookmark, stream.
--
-- The order is what makes a kill at any moment harmless: what is to be sent is held and bookmarked on the source before the first
-- byte flows, and older holds stay until moonpool.settle has seen the new snapshot on the target.

local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local failure = require "moonpool.failure"
local log = require "moonpool.log"
local plan = require "moonpool.plan"
local policy = require "moonpool.policy"
local settle = require "moonpool.settle"
local zfs = require "moonpool.zfs"

local transfer = {}

-- Transfers that ended are settled together, but none waits longer than this.
local SETTLE_AFTER_SECONDS = 30

-- ---- how to send and receive ----------------------------------------------------------------------------

-- Which flags both ends understand; encrypted datasets go raw, and nothing is embedded into encryption.
local function send_options(run, pair)
  local function source_has(feature) return dataset.has_feature(run.source, pair.name, feature) end
  local function target_has(feature) return dataset.has_feature(run.target, pair.target_name, feature) end
  local function both(feature) return source_has(feature) and target_has(feature) end
  local raw = pair.source.encrypted
  local place = dataset.nearest(run.target, pair.target_name)
  local options = {
    props = true,
    raw = raw,
    large_blocks = both "large_blocks",
    compressed = both "lz4_compress" and (target_has "zstd_compress" or not source_has "zstd_compress"),
    embed = not raw and both "embedded_data" and not (place and place.encrypted),
  }
  for key, value in pairs(policy.call(run.policy, "send_options", pair.source, run.ctx) or {}) do options[key] = value end
  return options
end

local function resumable(run, pair)
  return not run.options.no_resume and dataset.has_feature(run.source, pair.name, "extensible_dataset")
    and dataset.has_feature(run.target, pair.target_name, "extensible_dataset")
end

-- Makes the datasets above a target that are missing, so that a received one has its place; never mounted.
local function make_parents(run, pair)
  local parent = zfs.parent(pair.target_name)
  if run.target.datasets[parent] then return end
  for _, other in ipairs(run.pairs) do
    if other.target_name == parent then
      errors.fail("parent", "its parent %s was not received, so there is no place for it", other.name)
    end
  end
  run.target.host:run(zfs.create_argv { dataset = parent, parents = true, set = { canmount = "off" } })
  dataset.note_created(run.target, parent)
end

-- One `zfs send | zfs receive`; returns when both have ended well.
local function stream(run, pair, send, label)
  local given = run.receive_properties(pair)
  local receive = zfs.receive_argv { target = pair.target_name, unmounted = true, resumable = resumable(run, pair), set = given.set, exclude = given.exclude }
  log.info("%s", label)
  local result = run.source.host:pipe({ { host = run.source.host, argv = send }, { host = run.target.host, argv = receive } },
    { buffer = run.options.buffer, stall_timeout = run.stall_timeout })
  if result.dry then return end
  run.bytes = run.bytes + result.bytes
  log.info("received %s stream in %s (%s/sec)", zfs.format_bytes(result.bytes), zfs.format_seconds(result.seconds),
    zfs.format_bytes(result.bytes / math.max(result.seconds, 0.001)))
end

-- ---- resuming -------------------------------------------------------------------------------------------

-- Drops a partial receive that can't be continued. A partial first receive takes its dataset along.
local function drop_token(run, pair, reason)
  log.info("Dropping the partial receive of %s: %s", pair.target_name, reason)
  run.target.host:run(zfs.receive_argv { target = pair.target_name, abort = true })
  pair.target.token = nil
  if #pair.target:snapshots() == 0 then
    run.target.datasets[pair.target_name] = nil
    pair.target = nil
  end
end

local function look_at_target_again(run, pair)
  pair.target.token = nil
  if run.target.host.dry then return end
  run.target.datasets[pair.target_name] = nil
  dataset.load(run.target, { pair.target_name })
  dataset.load_snapshots(run.target, { pair.target_name })
  pair.target = run.target.datasets[pair.target_name]
end

-- Errors after which a token is still good: what was lost is the connection, or the time.
local CAN_GO_ON = { "disconnect", "connect", "cancelled", "stalled", "timeout" }

local function can_go_on(err)
  for _, code in ipairs(CAN_GO_ON) do
    if errors.is(err, code) then return true end
  end
end

-- Continues a receive that was cut off, or drops it: the same token never fails twice.
local function resume(run, pair, raw)
  local token = pair.target.token
  if run.options.no_resume then return drop_token(run, pair, "--no-resume was given") end
  local look = run.source.host:run(zfs.send_argv { token = token, dry = true, verbose = true }, { check = false })
  local fits, reason = plan.check_token(pair, look.status == 0 and zfs.parse_token(look.out .. look.err) or nil, raw)
  if not fits then return drop_token(run, pair, reason) end
  local ok, err = failure.try(stream, run, pair, zfs.send_argv { token = token }, "Resuming " .. pair.name)
  if ok then return look_at_target_again(run, pair) end
  if can_go_on(err) then errors.raise(err) end
  log.warn("%s: resuming failed, starting again: %s", pair.name, tostring(err))
  drop_token(run, pair, "it failed")
end

-- ---- one dataset ----------------------------------------------------------------------------------------

-- The hold that keeps what is about to become the common base, whatever happens to the transfer.
local function hold(run, pair, last)
  if run.options.no_holds or pair.held == last.name then return end
  run.source.host:hold(run.source_tag, { pair.name .. "@" .. last.name })
  pair.source:set_userrefs(last.name, last.userrefs + 1)
end

-- And a bookmark, from which an incremental can start even when the snapshot is gone. A pool that can't have one does without.
local function bookmark(run, pair, last)
  local name = plan.bookmark_name(run, last.name)
  if not dataset.has_feature(run.source, pair.name, "bookmarks") then return end
  for _, b in ipairs(pair.source:bookmarks()) do
    if b.name == name then return end
  end
  local made = run.source.host:run({ "zfs", "bookmark", pair.name .. "@" .. last.name, pair.name .. "#" .. name }, { check = false })
  if made.status == 0 then
    pair.source:add("#", { name = name, guid = last.guid, createtxg = last.createtxg, creation = last.creation, time = last.time })
  else
    log.info("%s: no bookmark: %s", pair.name, tostring(made.error))
  end
end

local function note_received(run, pair, list)
  pair.target = pair.target or dataset.note_created(run.target, pair.target_name)
  for _, s in ipairs(list) do
    pair.target:add("@", { name = s.name, guid = s.guid, creation = s.creation, createtxg = pair.target:next_txg(), time = s.time, own = s.own })
  end
end

local function label_of(step)
  if not step.from then return ("Transferring %s full backup %s"):format(step.to.dataset, step.to.name) end
  return ("Transferring %s incremental backup between snapshots %s...%s"):format(step.to.dataset, step.from.name, step.to.name)
end

local function send_steps(run, pair, planned, options)
  if run.options.rollback and pair.target then
    local snapshots = pair.target:snapshots()
    run.target.host:run { "zfs", "rollback", pair.target_name .. "@" .. snapshots[#snapshots].name }
  end
  for _, step in ipairs(planned.steps) do
    local send = { to = pair.name .. "@" .. step.to.name, incremental_all = step.all }
    if step.from then send.from = pair.name .. step.from.kind .. step.from.name end
    for key, value in pairs(options) do send[key] = value end
    local ok, err = failure.try(stream, run, pair, zfs.send_argv(send), label_of(step))
    if not ok then
      if not run.options.ignore_transfer_errors or can_go_on(err) then errors.raise(err) end
      -- Whether it arrived in spite of the complaint is seen when the GUID is looked for.
      log.warn("%s: %s", pair.name, tostring(err))
    end
    note_received(run, pair, step.snapshots)
  end
end

-- What to do for one dataset, or nil if there is nothing to send.
local function planned_for(run, pair)
  local planned = plan.transfer(run, pair)
  if planned.skip then
    log.info("Ignoring: %s (%s)", pair.name, planned.skip)
    pair.skip = planned.skip
  end
  return #planned.steps > 0 and planned or nil
end

local function bring_up_to_date(run, pair)
  local options = send_options(run, pair)
  if pair.target and pair.target.token then resume(run, pair, options.raw) end
  local planned = planned_for(run, pair)
  if not planned then return end
  policy.call(run.policy, "before_dataset", pair.source, run.ctx)
  make_parents(run, pair)
  local last = planned.steps[#planned.steps].to
  hold(run, pair, last)
  bookmark(run, pair, last)
  send_steps(run, pair, planned, options)
  pair.sent = last
end

-- One command holds what all datasets will send. Those that must first be resumed are held one by one, when their turn comes.
local function hold_all(run)
  if run.options.no_holds then return end
  local names, held = {}, {}
  for _, pair in ipairs(run.pairs) do
    local resumes = pair.target and pair.target.token
    local ok, planned = failure.try(plan.transfer, run, pair)
    local step = ok and not resumes and planned.steps[#planned.steps]
    if step then
      names[#names + 1] = pair.name .. "@" .. step.to.name
      held[#held + 1] = { pair, step.to }
    end
  end
  if #names == 0 then return end
  -- Where this fails, each dataset tries again by itself and tells why.
  if not failure.try(run.source.host.hold, run.source.host, run.source_tag, names) then return end
  for _, h in ipairs(held) do
    local pair, s = h[1], h[2]
    pair.held = s.name
    pair.source:set_userrefs(s.name, s.userrefs + 1)
  end
end

--- Transfers every pair of a run, parents first. A failing dataset is noted, and the rest goes on.
-- @param run the run
-- @raise cancelled; or a host that can't be asked any more
function transfer.all(run)
  hold_all(run)
  local waiting, since = {}, run.clock()
  for _, pair in ipairs(run.pairs) do
    if failure.guard(run, pair, bring_up_to_date, run, pair) then waiting[#waiting + 1] = pair end
    policy.call(run.policy, "after_dataset", pair.source, run.ctx, pair.error)
    if run.clock() - since > SETTLE_AFTER_SECONDS then
      settle.pairs(run, waiting)
      waiting, since = {}, run.clock()
    end
  end
  settle.pairs(run, waiting)
end

return transfer
