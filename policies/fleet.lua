--- Pulls many hosts into one target, some at the same time: moonpool run fleet --hosts web1,web2,db1 --parallel 2 nas tank/fleet
--
-- Each host's backup is one of autobackup into TARGET-PATH/HOST, with a lock of its own. A host that fails leaves the others alone. --rate is that of
-- all of them together.

local autobackup = require "policies.autobackup"
local backup = require "moonpool.backup"
local errors = require "moonpool.error"
local hosts = require "moonpool.host"
local log = require "moonpool.log"
local properties = require "policies.properties"
local sched = require "moonpool.sched"

-- The dataset of a host: what is before the @ is a user.
local function place(options, host) return options.target_path .. "/" .. host:gsub("^.*@", "") end

-- How the backup of one host ended: { host, failures, seconds, error }.
local function back_up(self, options, env, throttle, host)
  local given = {}
  for key, value in pairs(options) do given[key] = value end
  given.ssh_source, given.target_path = host, place(options, host)
  local own = setmetatable({ label = host, throttle = throttle }, { __index = env })
  local began = env.clock()
  local ok, result = pcall(backup.run, self, given, own, properties.receive)
  if not ok and errors.is(result, "cancelled") then errors.raise(result) end
  if not ok then log.error("%s: %s", host, errors.line(errors.wrap(result))) end
  return { host = host, failures = ok and result or 1, seconds = env.clock() - began, error = not ok }
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
    local results, failures, throttle = {}, 0, hosts.throttle(0)
    sched.each(options.hosts, options.parallel, function(host)
      local result = back_up(self, options, env, throttle, host)
      results[#results + 1] = result
    end)
    for _, r in ipairs(results) do failures = failures + r.failures end
    show(results)
    return math.min(failures, 200)
  end,
}
