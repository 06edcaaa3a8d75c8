--- Pulls many hosts into one target, some at the same time: moonpool run fleet --hosts web1,web2,db1 --parallel 2 nas tank/fleet
--
-- Each host's backup is one of autobackup into TARGET-PATH/HOST, with a lock of its own. A host that fails leaves the others alone. --rate is that of
-- all of them together. --json and --metrics get one report of all hosts, when the last one has ended.

local autobackup = require "policies.autobackup"
local backup = require "moonpool.backup"
local errors = require "moonpool.error"
local hosts = require "moonpool.host"
local log = require "moonpool.log"
local properties = require "policies.properties"
local report = require "moonpool.report"
local sched = require "moonpool.sched"

-- The dataset of a host: what is before the @ is a user.
local function place(options, host) return options.target_path .. "/" .. host:gsub("^.*@", "") end

-- The report of a backup that could not begin: another run is at work, or the host can't be reached.
local function report_of_none(self, given, env, began, err)
  return report.make({
    policy = self, options = given, source = { host = { name = given.ssh_source } }, target = { host = { name = given.ssh_target or "local" } },
    clock = env.clock, started = began, now = began, bytes = 0, failures = {}, pairs = {},
  }, err)
end

-- How the backup of one host ended: { host, failures, seconds, error, report }.
local function back_up(self, options, env, throttle, host)
  local given, made = {}, nil
  for key, value in pairs(options) do given[key] = value end
  given.ssh_source, given.target_path, given.json, given.metrics = host, place(options, host), nil, nil
  local own = setmetatable({ label = host, throttle = throttle, report = function(its) made = its end }, { __index = env })
  local began = env.clock()
  local ok, result = pcall(backup.run, self, given, own, properties.receive)
  if not ok then
    result = errors.wrap(result)
    if errors.is(result, "cancelled") then errors.raise(result) end
    log.error("%s: %s", host, errors.line(result))
    made = made or report_of_none(self, given, env, began, result)
  end
  return { host = host, failures = ok and result or 1, seconds = env.clock() - began, error = not ok, report = made }
end

-- The reports of all hosts as one, in the files that are asked for. Returns how many can't be written.
local function tell(self, options, env, began, results, failures)
  local reports = {}
  for i, r in ipairs(results) do reports[i] = r.report end
  local faults = report.write(options, function()
    return report.together(reports, {
      policy = self.name, backup = options.backup_name, target_host = options.ssh_target or "local", target_path = options.target_path, started = began,
      seconds = env.clock() - began, failures = failures,
    })
  end)
  for _, fault in ipairs(faults) do log.error("%s", errors.line(fault)) end
  return #faults
end

local function show(results)
  for _, r in ipairs(results) do
    local said = r.error and "could not run" or r.failures > 0 and ("%d failures"):format(r.failures) or "well"
    log.info("%-24s %-16s %8.1f s", r.host, said, r.seconds)
  end
end

return autobackup:extend {
  name = "fleet",
  summary = "Pull many hosts into one target, some at the same time",

  options = {
    { name = "hosts", type = "list", metavar = "HOST", group = "Hosts", help = "The sources: user@host, host or an alias of ~/.ssh/config." },
    { name = "parallel", type = "integer", metavar = "N", group = "Hosts", default = 2, help = "So many hosts at the same time." },
  },

  check = function(_, options)
    if not options.hosts then errors.fail("usage", "--hosts: which hosts are to be backed up?") end
    if not options.target_path then errors.fail("usage", "TARGET-PATH: under which dataset are the hosts' backups?") end
    if options.ssh_source then errors.fail("usage", "--ssh-source: the sources of a fleet are its --hosts") end
    if options.parallel == 0 then errors.fail("usage", "--parallel: at least 1") end
    local taken = {}
    for _, host in ipairs(options.hosts) do
      local name = place(options, host)
      if taken[name] then errors.fail("usage", "--hosts: %s and %s would both be received in %s", taken[name], host, name) end
      taken[name] = host
    end
  end,

  run = function(self, options, env)
    local results, failures, throttle, began = {}, 0, hosts.throttle(0), env.clock()
    sched.each(options.hosts, options.parallel, function(host)
      local result = back_up(self, options, env, throttle, host)
      results[#results + 1] = result
    end)
    for _, r in ipairs(results) do failures = failures + r.failures end
    show(results)
    return math.min(failures + tell(self, options, env, began, results, failures), 200)
  end,
}
