--- One run of a backup: observe both sides, decide, execute, report. What policies that extend `autobackup` run.

local core = require "moonpool.core"
local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local failure = require "moonpool.failure"
local lock = require "moonpool.lock"
local log = require "moonpool.log"
local names = require "moonpool.names"
local observe = require "moonpool.observe"
local plan = require "moonpool.plan"
local policy = require "moonpool.policy"
local report = require "moonpool.report"
local settle = require "moonpool.settle"
local snapshot = require "moonpool.snapshot"
local thin = require "moonpool.thin"
local transfer = require "moonpool.transfer"

local backup = {}

-- A pipe in which nothing moved for so long is given up: a receive that frees a large dataset may be silent for long.
local STALL_TIMEOUT_SECONDS = 3600

-- A command may be 2 MiB long on Linux, its environment included.
local MAX_COMMAND_BYTES = 1500000

-- Whether the name of a snapshot matches one of the patterns that are never sent.
local function exclusion(patterns)
  local compiled = {}
  for i, pattern in ipairs(patterns or {}) do
    local re, message = core.regex(pattern)
    if not re then errors.fail("usage", "--exclude-snapshot-pattern: '%s': %s", pattern, message) end
    compiled[i] = re
  end
  return function(name)
    for _, re in ipairs(compiled) do
      if re:match(name) then return true end
    end
    return false
  end
end

local function start(self, options, env, hosts)
  local spelled = policy.ask(self, "names", options)
  local run = {
    policy = self,
    options = options,
    names = spelled,
    now = options.now or math.floor(env.clock()),
    pretended = options.now ~= nil,
    clock = env.clock,
    started = env.clock(),
    stall_timeout = STALL_TIMEOUT_SECONDS,
    max_command_bytes = env.max_command_bytes or MAX_COMMAND_BYTES,
    source = dataset.side(hosts.source, "source", spelled),
    target = options.target_path and dataset.side(hosts.target, "target", spelled),
    target_tag = names.fill(options.hold_format, options.backup_name),
    label = env.label,
    pairs = {},
    left_out = {}, -- pairs that were looked at, and are not backed up this time
    missing = {}, -- pairs without a source
    failures = {},
    bytes = 0,
    rate = function() end, -- bytes per second of all streams together, asked when one begins; a policy's `before` may set another
    throttle = env.throttle or core.throttle(0),
    excluded = exclusion(options.exclude_snapshot_pattern),
  }
  run.ctx = { now = run.now, utc = spelled.utc, names = spelled, options = options, all_reasons = options.explain ~= nil }
  return run
end

-- Bytes written since our last snapshot, where a newer one of somebody else hides them from the property `written`.
local function written_since_ours(run)
  local written = {}
  for name, list in pairs(plan.written_questions(run)) do
    for _, row in ipairs(dataset.get(run.source, { properties = { "written@" .. name } }, list)) do
      written[row.name] = math.tointeger(tonumber(row.value)) or 0
    end
  end
  return written
end

local function make_snapshots(run)
  if run.options.no_snapshot then return end
  snapshot.make(run, plan.snapshots(run, written_since_ours(run)))
end

local function replicate(run)
  if not run.target then return end
  if run.options.no_send then
    settle.pairs(run, run.pairs)
  else
    transfer.all(run)
  end
end

-- The properties that a dataset gets, and those that it does not get, when it is received.
local function receive_properties(run, rule)
  local list
  return function(pair)
    if (policy.has(run.policy, "filter_property") or run.options.decrypt) and not list then
      local all = table.move(run.pairs, 1, #run.pairs, 1, {})
      list = dataset.local_properties(run.source, table.move(run.left_out, 1, #run.left_out, #all + 1, all))
    end
    return rule(run, pair, list and list[pair.name] or {})
  end
end

local function execute(run)
  make_snapshots(run)
  replicate(run)
  if run.options.no_thinning then return end
  thin.side(run, run.source)
  if not run.target then return end
  thin.side(run, run.target)
  thin.missing(run)
end

local function finish(run)
  if #run.failures == 0 then log.info("All done") end
  return math.min(#run.failures, 200)
end

-- The report of what came of the run; a file that can't be written is one more failure, and hides none.
local function tell(run, env, err)
  if env.report then env.report(report.make(run, err)) end
  local faults = report.write(run.options, function() return report.make(run, err) end)
  for _, fault in ipairs(faults) do failure.note(run, "report", fault) end
end

local function locked_run(self, options, env, rule)
  local source <close> = env.open(options.ssh_source, options)
  local target <close> = options.target_path and env.open(options.ssh_target, options) or nil
  local run = start(self, options, env, { source = source, target = target })
  run.same_machine = source.name == (target and target.name)
  run.receive_properties = receive_properties(run, rule)
  local ok, err = failure.try(function()
    policy.call(self, "before", run)
    if not observe.run(run) then
      log.info("Everything is excluded: nothing to do")
    elseif #run.pairs == 0 then
      log.info("Nothing is left that has changed: nothing to do")
    else
      execute(run)
    end
  end)
  local told, fault = failure.try(policy.call, self, "after", run, not ok and err or nil)
  if not told then failure.note(run, "after", fault) end
  tell(run, env, not ok and err or nil)
  if not ok then errors.raise(err) end
  return finish(run)
end

--- Looks at both sides of a backup, and changes nothing: for policies that only look.
-- @param self the policy; @param options its options, checked; @param env as for `run`; @param use function(run) that is called while the hosts are open
-- @return what `use` returns; @raise nothing: no dataset is selected; a host that can't be asked
function backup.look(self, options, env, use)
  options.test = true
  local source <close> = env.open(options.ssh_source, options)
  local target <close> = options.target_path and env.open(options.ssh_target, options) or nil
  local run = start(self, options, env, { source = source, target = target })
  run.same_machine = source.name == (target and target.name)
  observe.run(run)
  return use(run)
end

--- Runs a backup.
-- @param self the policy; @param options its options, checked
-- @param env { open = function(destination, options) that returns a host, clock = function that returns seconds, lock = boolean,
--   throttle = what limits the rate of several runs together (moonpool.host.throttle), or nil,
--   report = function that gets the report (moonpool.report), or nil,
--   max_command_bytes = how long a `zfs snapshot` may be (1.5 MB) }
-- @param rule function(run, pair, properties of the source) that returns what a receive sets and leaves out: `policies.properties`
-- @return the number of failures, 200 at the most
-- @raise locked: another run of this backup is at work; nothing: no dataset is selected; what made the whole run impossible
function backup.run(self, options, env, rule)
  local key = { "autobackup", options.backup_name, options.ssh_source or "local", options.ssh_target or "local", options.target_path or "" }
  local _ <close> = not options.test and env.lock ~= false and lock.acquire(table.concat(key, " ")) or nil
  return locked_run(self, options, env, rule)
end

return backup
