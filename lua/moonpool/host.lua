--- Hosts: where commands run. Errors are raised, every command is logged, and what a dry host refuses is shown.

local core = require "moonpool.core"
local errors = require "moonpool.error"
local holds = require "moonpool.hold"
local log = require "moonpool.log"
local sched = require "moonpool.sched"
local suggest = require "moonpool.suggest"

local host = {}

local Host = {}
Host.__index = Host

local OPTIONS = {
  dry = "boolean", ssh_config = "string", ssh_program = "string", connect_timeout = "number", dead_after = "number", no_shell = "boolean",
}
local LIST_OPTIONS = { check = "boolean" }
local RUN_OPTIONS = { input = "string", timeout = "number", limit = "number", check = "boolean" }
local PIPE_OPTIONS = { buffer = "number", rate = "number or userdata", stall_timeout = "number", on_start = "function" }

-- Refuses options that do not exist or have the wrong type.
local function check_options(what, given, known)
  for name, value in pairs(given) do
    if not known[name] then
      local names = {}
      for n in pairs(known) do names[#names + 1] = n end
      errors.fail("usage", "%s: no option '%s'%s", what, tostring(name), suggest.text(name, names))
    elseif not known[name]:find(type(value), 1, true) then
      errors.fail("usage", "%s: the option %s is a %s, not a %s", what, name, known[name], type(value))
    end
  end
end

-- How a person gets there: the words before a command.
local function way_to(name, options)
  local words = { options.ssh_program or "ssh" }
  if options.ssh_config then table.move({ "-F", options.ssh_config }, 1, 2, 2, words) end
  words[#words + 1] = name
  return core.quote(words) .. " "
end

--- Opens a host. Nothing is connected before the first command.
-- @param destination "[user@]host" or an alias of the ssh configuration; nil or "local": this machine
-- @param options { dry = refuse what may write, ssh_config = file, ssh_program = program, connect_timeout = seconds per address (10),
--   dead_after = seconds without a sign of life (45), no_shell = one channel a command } or nil
-- @return host: name, dry, and the methods below; closed by scope
-- @raise usage, invalid
-- @example local nas <close> = host.open("root@nas", { dry = true })
function host.open(destination, options)
  options = options or {}
  check_options("host", options, OPTIONS)
  local handle, code, message = core.host(destination, options.dry or false, options.ssh_config, options.ssh_program,
    options.connect_timeout or 0, options.dead_after or 0, options.no_shell or false)
  if not handle then errors.raise { code = code == "invalid" and "usage" or code, message = message } end
  local name = handle:name()
  return setmetatable({ handle = handle, name = name, dry = handle:dry(), way = name ~= "local" and way_to(name, options) or nil }, Host)
end

-- ---- what is said ---------------------------------------------------------------------------------------

-- Commands as they can be typed into a shell of this machine, with the text for their standard input.
local function spelled(stages, input)
  local words = {}
  for i, stage in ipairs(stages) do
    local command = core.quote(stage.argv)
    words[i] = stage.host.way and stage.host.way .. core.quote { command } or command
  end
  local text = table.concat(words, " | ")
  return input and ("%s <<'END'\n%s%sEND"):format(text, input, input:sub(-1) == "\n" and "" or "\n") or text
end

local function warn(result)
  for line in (result.warnings or ""):gmatch "[^\n]+" do log.warn("%s", line) end
end

-- Waits for a job; says what ran, and how it ended.
local function conclude(job, stages, input)
  local text = spelled(stages, input)
  log.debug("%s", text)
  local result = sched.await(job)
  warn(result)
  if result.code == "dry" then
    log.info("would run: %s", text)
    return result
  end
  local statuses = {}
  for i, ended in ipairs(result.stages) do statuses[i] = ended.status == -1 and ended.code or tostring(ended.status) end
  log.debug("# [%s] exit %s after %.3f s", stages[1].host.name, table.concat(statuses, " | "), result.seconds)
  return result
end

local function started(job, code, message)
  if not job then errors.raise { code = code, message = message } end
  return job
end

-- ---- commands -------------------------------------------------------------------------------------------

local function run(self, argv, options, catalog)
  local job = started(core.run(sched.queue(), self.handle, argv, options.input, options.timeout or 0, options.limit or 0, catalog))
  local result = conclude(job, { { host = self, argv = argv } }, options.input)
  if result.code == "dry" then return { out = "", err = "", status = 0, seconds = 0, dry = true } end
  local ended = result.stages[1]
  local answer = { out = result.out or "", err = ended.err, status = ended.status, seconds = result.seconds }
  if result.code ~= "ok" then answer.error = errors.from_result(result, self.name, { argv }) end
  return answer
end

--- Runs a command.
-- @param argv array: program and arguments
-- @param options { input = text, timeout = seconds, limit = bytes of output (64 MiB), check = false to get failures as results } or nil
-- @return { out, err = text, status, seconds, error = error object if it failed and check is false, dry = true if it was refused }
-- @raise what the command met: exit, signal, spawn, timeout, connect, hostkey, auth, disconnect, limit, cancelled …
-- @example print(nas:run({ "zfs", "list", "-Ho", "name" }).out)
function Host:run(argv, options)
  options = options or {}
  check_options("run", options, RUN_OPTIONS)
  local result = run(self, argv, options)
  if result.error and options.check ~= false then errors.raise(result.error) end
  return result
end

--- Runs a `zfs list -Hp` into a catalog, as it arrives.
-- @param argv the command; @param columns one letter per column after the name: u a number, s a word
-- @param options { check = false to get a failure as a result } or nil
-- @return catalog of the core, and the error object of what failed if check is false; @raise what the command met; parse
function Host:list(argv, columns, options)
  check_options("list", options or {}, LIST_OPTIONS)
  local catalog = core.catalog(columns)
  local result = run(self, argv, {}, catalog)
  if result.error and not (options and options.check == false) then errors.raise(result.error) end
  return catalog, result.error
end

--- Runs a pipe of programs, on any hosts.
-- @param stages array of { host =, argv = }
-- @param options { buffer = bytes per edge (16 MiB), rate = bytes per second, or a throttle that other pipes have too, stall_timeout = seconds,
--   on_start = function(job) } or nil
-- @return { bytes, seconds, stages }, or the same with dry = true if a dry host refused
-- @raise what the first failing stage met; stalled; cancelled
-- @example here:pipe { { host = here, argv = { "zfs", "send", "a@x" } }, { host = nas, argv = { "zfs", "receive", "b" } } }
function Host.pipe(_, stages, options)
  options = options or {}
  check_options("pipe", options, PIPE_OPTIONS)
  local handles, argvs = {}, {}
  for i, stage in ipairs(stages) do handles[i], argvs[i] = stage.host.handle, stage.argv end
  local job = started(core.pipe(sched.queue(), handles, argvs, options.buffer or 0, options.rate or 0, options.stall_timeout or 0))
  if options.on_start then options.on_start(job) end
  local result = conclude(job, stages)
  if result.code == "dry" then return { bytes = 0, seconds = 0, stages = {}, dry = true } end
  if result.code ~= "ok" then
    errors.raise(errors.from_result(result, stages[result.stage or 1].host.name, argvs))
  end
  return { bytes = result.bytes, seconds = result.seconds, stages = result.stages }
end

Host.hold, Host.release, Host.resume_token = holds.place, holds.release, holds.resume_token

--- Lets go of the host and its sessions. Also done at the end of a scope.
function Host:close() self.handle:close() end

Host.__close = Host.close
Host.__tostring = function(self) return "host " .. self.name end

--- A rate that several pipes keep to together: each is given it as its `rate`.
-- @param rate bytes per second, 0: no limit; @return throttle, whose method `set(rate)` changes it also for pipes that are at work
-- @example local both = host.throttle(10 << 20); here:pipe(stages, { rate = both })
function host.throttle(rate) return core.throttle(rate) end

host.methods = Host

return host
