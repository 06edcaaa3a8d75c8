--- A ZFS made of tables: machines with pools, on which zfs command lines do what they do on real ones, in memory and in an instant.
--
-- For tests of the library and of policies: time passes when the test says so, commands fail when it says so, and a run can be killed
-- at any of its commands. Texts and exit statuses are those of OpenZFS (2.3.2, and where it differed, 2.1).
--
--     local world = sim.new { now = 1767225600 }
--     local host = world:host "nas"
--     host:run { "zpool", "create", "tank" }
--     host:run { "zfs", "create", "tank/a" }
--     world:write("tank/a", 1000000)
--     host:run { "zfs", "snapshot", "tank/a@x" }

local Host = require "moonpool.sim.host"
local Machine = require "moonpool.sim.machine"
local errors = require "moonpool.error"
local space = require "moonpool.sim.space"

local sim = {}

local World = {}
World.__index = World

local VERSION = "2.3.2"
local POOL_SIZE = 100 << 30

--- Makes a world without machines.
-- @param options { now = seconds since the epoch (default 2026-01-01), version = of zfs on its machines (default "2.3.2"), seed = integer: another
--   one makes other GUIDs } or nil
-- @return world
-- @example local world = sim.new { now = os.time() }
function sim.new(options)
  options = options or {}
  return setmetatable({
    now = options.now or 1767225600, version = options.version or VERSION, txg = 3, ids = 0, guids = options.seed or 0x9E3779B97F4A7C15,
    machines = {}, programs = {}, commands = {}, faults = {}, life = 0,
  }, World)
end

-- ---- for the simulator itself ---------------------------------------------------------------------------

--- A new GUID of 64 bits (Marsaglia's xorshift, scrambled). @return integer
function World:new_guid()
  local x = self.guids
  x = x ~ (x << 13)
  x = x ~ (x >> 7)
  x = x ~ (x << 17)
  self.guids = x
  return x * 0x2545F4914F6CDD1D
end

--- The next transaction group; there is one row of them for all pools. @return integer
function World:next_txg()
  self.txg = self.txg + 1
  return self.txg
end

--- A number that was not given out before. @return integer
function World:new_id()
  self.ids = self.ids + 1
  return self.ids
end

--- Counts a command; the kill that is due at it, if one is. @return { after, after_bytes } or nil
function World:due_kill()
  local kill = self.kill
  if not kill then return nil end
  kill.left = kill.left - 1
  if kill.left > 0 then return nil end
  self.kill = nil
  return kill
end

local ALIASES = { recv = "receive", snap = "snapshot" }

local function concerns(fault, host, argv)
  if fault.host and fault.host ~= host then return false end
  if fault.program and fault.program ~= argv[1] then return false end
  if fault.verb and fault.verb ~= (ALIASES[argv[2]] or argv[2]) then return false end
  if not fault.dataset then return true end
  for i = 3, #argv do
    if argv[i]:match "^[^@#]*" == fault.dataset or argv[i] == fault.dataset then return true end
  end
  return false
end

--- The fault that a command meets, which is used up by it. @param host the host's name; @param argv the command; @return fault or nil
function World:take_fault(host, argv)
  for i, fault in ipairs(self.faults) do
    if concerns(fault, host, argv) then
      fault.times = fault.times - 1
      if fault.times <= 0 then table.remove(self.faults, i) end
      return fault
    end
  end
end

-- ---- machines -------------------------------------------------------------------------------------------

local function machine_of(world, name)
  world.machines[name] = world.machines[name] or Machine.new(world, name, world.version)
  return world.machines[name]
end

--- Opens a host, for one run of a program. The machine of that name is made if there is none; two hosts of one name are one machine.
-- @param name of the machine; @param options { dry = refuse what writes } or nil
-- @return host, with the methods of moonpool.host; `commands` has all that ran, `refused` all that a dry host did not run
-- @example local host <close> = world:host("nas", { dry = true })
function World:host(name, options)
  return Host.new(self, machine_of(self, name), options and options.dry)
end

--- Makes a pool, with more to say than `zpool create` has.
-- @param name the pool's
-- @param options { host = the machine's name (default "local"), size = bytes (default 100 GiB), features = { [name] = "enabled" or "active" }
--   (default: all of the version) } or nil
-- @example world:pool("tank", { host = "nas", size = 500 << 20, features = {} })
function World:pool(name, options)
  options = options or {}
  machine_of(self, options.host or "local"):add_pool(name, { size = options.size or POOL_SIZE, features = options.features })
end

-- The dataset of a name, on the machine named or on the only one that has it.
local function dataset_of(world, name, host)
  local found
  for machine_name, machine in pairs(world.machines) do
    local ds = (not host or host == machine_name) and machine.datasets[name]
    if ds and found then
      errors.fail("invalid", "several machines have a dataset %s: name one of them", name)
    end
    found = found or ds
  end
  if not found then errors.fail("invalid", "no machine has a dataset %s", name) end
  return found
end

--- Writes to a dataset.
-- @param dataset its name; @param bytes how many; @param options { host = the machine's name, if more than one has such a dataset; replaced =
--   bytes of what was there that go } or nil
-- @raise invalid: no such dataset
-- @example world:write("tank/a", 1 << 20)
function World:write(dataset, bytes, options)
  options = options or {}
  local ds = dataset_of(self, dataset, options.host)
  local txg = self:next_txg()
  if options.replaced then space.free(ds, options.replaced, txg) end
  space.write(ds, bytes, txg)
  ds.version = self:new_id()
end

--- Lets a program other than zfs and zpool exist.
-- @param name what it is called as; @param run function of (argv, input, machine) that returns { out, err, status, stream }
-- @example world:program("true", function() return { out = "", err = "", status = 0 } end)
function World:program(name, run) self.programs[name] = run end

--- Lets time pass. @param seconds how much
function World:tick(seconds) self.now = self.now + seconds end

-- ---- faults ---------------------------------------------------------------------------------------------

local FAULT_FIELDS = {
  verb = true, dataset = true, host = true, program = true, after_bytes = true, times = true, status = true, message = true, code = true, at = true,
}

--- Lets commands fail.
-- @param fault which ones: `verb` ("receive"), `dataset` (or a snapshot of it), `host`, `program`, each only if given; how: `status` (default
--   1) and `message` on standard error, or `code`, the code of the error ("disconnect", "timeout", …; "killed" kills the run as
--   `kill_at` does); `at` = "after" to fail when it is done already; `after_bytes`: of a pipe, the stream breaks off there; `times` (default 1)
-- @raise invalid: a field that a fault does not have
-- @example world:fail { verb = "receive", after_bytes = 5e8, code = "disconnect" }
function World:fail(fault)
  local copy = { times = 1 }
  for field, value in pairs(fault) do
    if not FAULT_FIELDS[field] then errors.fail("invalid", "a fault has no field '%s'", tostring(field)) end
    copy[field] = value
  end
  if copy.after_bytes then copy.after_bytes = math.floor(copy.after_bytes) end
  self.faults[#self.faults + 1] = copy
end

--- Kills the run at a command, as `kill -9` would. The command raises "killed", and so does every later one on hosts that were open then; a host
-- opened afterwards sees what is left. Commands that a dry host refuses are not counted; a pipe counts as one.
-- @param n which command from now on, 1 is the next; @param options { after = true: when it has done its work; after_bytes = of a pipe:
--   when so many bytes have passed } or nil: before it does anything
-- @example world:kill_at(3, { after = true })
function World:kill_at(n, options)
  options = options or {}
  self.kill = { left = n, after = options.after, after_bytes = options.after_bytes }
end

return sim
