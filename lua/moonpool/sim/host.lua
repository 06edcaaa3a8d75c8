--- A host of the simulator: the methods of moonpool.host, on a machine made of tables.
--
-- A host object stands for one run of a program on a machine: when a test kills the run, every host opened before is dead, and what is
-- opened afterwards sees what was left behind.

local catalogs = require "moonpool.sim.catalog"
local command = require "moonpool.sim.command"
local errors = require "moonpool.error"
local holds = require "moonpool.hold"
local verbs = require "moonpool.sim.verbs"

local Host = {}
Host.__index = Host

--- Opens a host; what world:host() calls. @param world the world; @param machine its machine; @param dry refuse what writes; @return host
function Host.new(world, machine, dry)
  return setmetatable({
    world = world, machine = machine, name = machine.name, dry = dry or false, life = world.life, commands = {}, refused = {},
  }, Host)
end

-- ---- one program ----------------------------------------------------------------------------------------

local function missing_program(argv)
  return { out = "", err = "", status = -1, code = "spawn", message = ("%s: no such program"):format(argv[1]) }
end

-- Runs one program on the host's machine. A stream passes through a program that the world does not know, as through a filter.
local function perform(host, argv, input, in_pipe)
  if verbs[argv[1]] then return command.run(verbs, host.machine, argv, input) end
  local program = host.world.programs[argv[1]]
  if program then return program(argv, input, host.machine) end
  if in_pipe and input then return { out = "", err = "", status = 0, stream = input } end
  return missing_program(argv)
end

-- What a fault makes of a command.
local function faulted(fault)
  local code = fault.code or "exit"
  return {
    out = "", err = fault.message and fault.message .. "\n" or "", status = code == "exit" and (fault.status or 1) or -1, code = code,
    message = code ~= "exit" and (fault.message or "fault of the test") or nil,
  }
end

local function reads(argv) return command.reads(verbs, argv) end

--- Whether a command is known to change nothing. @param argv the command; @return boolean
function Host.reads(argv) return reads(argv) end

-- The error of a command that failed, or nil.
local function error_of(host, argv, result, stage)
  local code = result.code or (result.status ~= 0 and "exit") or nil
  if not code then return nil end
  return errors.new {
    code = code, host = host.name, argv = argv, status = result.status >= 0 and result.status or nil, stderr = result.err, stage = stage,
    message = result.message or ("%s ended with status %d"):format(table.concat(argv, " ", 1, math.min(2, #argv)), result.status),
  }
end

--- Raises "killed" on a host whose run was killed. @param host a host; @param argv what it was to do
local function check_alive(host, argv)
  if host.closed then errors.raise { code = "invalid", host = host.name, argv = argv, message = "the host is closed" } end
  if host.life ~= host.world.life then
    errors.raise { code = "killed", host = host.name, argv = argv, message = "the run was killed" }
  end
end

local function record(host, argv)
  host.commands[#host.commands + 1] = argv
  host.world.commands[#host.world.commands + 1] = { host = host.name, argv = argv }
end

local function kill(host, argv)
  host.world.life = host.world.life + 1
  check_alive(host, argv)
end

-- ---- commands -------------------------------------------------------------------------------------------

--- Runs a command.
-- @param argv array: program and arguments
-- @param opts { input = text, check = false to get failures as results } or nil; time limits are taken, and never pass
-- @return { out, err = text, status, seconds, error = error object if it failed and check is false, dry = true if it was refused }
-- @raise what the command met: exit, spawn, or what a fault says
function Host:run(argv, opts)
  opts = opts or {}
  check_alive(self, argv)
  if self.dry and not reads(argv) then
    self.refused[#self.refused + 1] = argv
    return { out = "", err = "", status = 0, seconds = 0, dry = true }
  end
  record(self, argv)
  local due = self.world:due_kill()
  if due and not due.after then kill(self, argv) end
  local fault = self.world:take_fault(self.name, argv)
  local result = fault and fault.at ~= "after" and faulted(fault) or perform(self, argv, opts.input)
  if fault and fault.at == "after" then result = faulted(fault) end
  if due or fault and fault.code == "killed" then kill(self, argv) end
  local err = error_of(self, argv, result)
  if err and opts.check ~= false then errors.raise(err) end
  return { out = result.out, err = result.err, status = result.status, seconds = 0, error = err }
end

--- Runs a `zfs list` into a catalog.
-- @param argv the command; @param columns one letter per column after the name: u a number, s a word
-- @param options { check = false to get a failure as a result } or nil; @return catalog, and the error if check is false; @raise what the command met
function Host:list(argv, columns, options)
  local result = self:run(argv, options)
  return catalogs.parse(result.out, columns), result.error
end

-- ---- pipes ----------------------------------------------------------------------------------------------

local function refused_in(stages)
  for _, stage in ipairs(stages) do
    if stage.host.dry and not reads(stage.argv) then return true end
  end
end

-- The faults of a pipe's stages: by stage; and after how many bytes the stream is cut, if it is.
local function faults_of(world, stages)
  local found, cut = {}, nil
  for i, stage in ipairs(stages) do
    local fault = world:take_fault(stage.host.name, stage.argv)
    found[i] = fault
    if fault and fault.after_bytes then cut = math.min(cut or fault.after_bytes, fault.after_bytes) end
  end
  return found, cut
end

local function cut_stream(stream, cut)
  if not stream or not cut then return stream end
  return { items = stream.items, many = stream.many, bytes = stream.bytes, cut = math.min(cut, stream.cut or cut) }
end

-- Runs all stages, each on what the one before made. A fault without `after_bytes` takes the place of its stage.
local function run_stages(stages, faults, cut)
  local results, stream, bytes = {}, nil, 0
  for i, stage in ipairs(stages) do
    local fault = faults[i]
    local result
    if fault and not fault.after_bytes and fault.at ~= "after" then
      result = faulted(fault)
    else
      result = perform(stage.host, stage.argv, stream, true)
      local made = i == 1 and cut_stream(result.stream, cut) or result.stream
      if fault then
        local failed = faulted(fault)
        failed.err = result.err .. failed.err
        result = failed
      end
      result.stream = made
    end
    results[i], stream = result, result.stream
    if i == 1 and stream then bytes = math.min(stream.cut or stream.bytes, stream.bytes) end
  end
  return results, bytes
end

-- The stage that is to blame: one with a fault, else the first that failed.
local function failed_stage(results, faults)
  local first
  for i, result in ipairs(results) do
    if result.code or result.status ~= 0 then
      if faults[i] then return i end
      first = first or i
    end
  end
  return first
end

local function run_pipe(self, stages, due)
  local faults, cut = faults_of(self.world, stages)
  if due and due.after_bytes then cut = math.min(cut or due.after_bytes, due.after_bytes) end
  local results, bytes = run_stages(stages, faults, cut)
  for _, fault in pairs(faults) do due = due or (fault.code == "killed" and fault) end
  if due then kill(self, stages[1].argv) end
  local failed = failed_stage(results, faults)
  if failed then errors.raise(error_of(stages[failed].host, stages[failed].argv, results[failed], failed)) end
  local ends = {}
  for i, result in ipairs(results) do ends[i] = { status = result.status, out = result.out, err = result.err } end
  return { bytes = bytes, seconds = 0, stages = ends }
end

--- Runs programs with the output of each as the input of the next.
-- @param stages array of { host =, argv = }; @param opts taken for the sake of the real hosts; nothing in it matters here
-- @return { bytes, seconds, stages = array of { status, out, err }, dry = true if it was refused }
-- @raise what the stage that is to blame met; `stage` of the error is its number
function Host:pipe(stages, opts) -- luacheck: ignore opts
  for _, stage in ipairs(stages) do check_alive(stage.host, stage.argv) end
  if refused_in(stages) then
    for _, stage in ipairs(stages) do stage.host.refused[#stage.host.refused + 1] = stage.argv end
    return { bytes = 0, seconds = 0, stages = {}, dry = true }
  end
  for _, stage in ipairs(stages) do record(stage.host, stage.argv) end
  local due = self.world:due_kill()
  if due and not due.after and not due.after_bytes then kill(self, stages[1].argv) end
  return run_pipe(self, stages, due)
end

-- ---- zfs ------------------------------------------------------------------------------------------------

Host.hold, Host.release, Host.resume_token = holds.place, holds.release, holds.resume_token

--- Lets go of the host. Also done at the end of a scope by `local h <close>`.
function Host:close() self.closed = true end

Host.__close = Host.close
Host.__tostring = function(host) return ("simulated host %s"):format(host.name) end

return Host
