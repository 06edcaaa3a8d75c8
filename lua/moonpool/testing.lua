--- Tests of policies, on simulated machines: worlds to begin with, runs, and checks that tell what is wrong.
--
--     local t = require "moonpool.testing"
--     t.test("keeps seven days on the source", function()
--       local world = t.world()
--       t.days(world, 20, require "policies.autobackup":with { keep_source = "7" })
--       t.same(8, #t.snapshots(world, "src", "tank/a"))
--     end)
--
-- `moonpool test FILE…` runs such files. The project's own Lua tests use the same worlds and runs.

local errors = require "moonpool.error"
local inspect = require "inspect"
local log = require "moonpool.log"
local sched = require "moonpool.sched"
local sim = require "moonpool.sim"

local testing = {}

local DAY = 86400

local tests = {}

--- Adds a test. @param name a sentence that says what is true; @param run function that raises if it is not
-- @example t.test("one and one are two", function() t.same(2, 1 + 1) end)
function testing.test(name, run) tests[#tests + 1] = { name = name, run = run } end

--- Two simulated machines, src with the pool tank and dst with the pool back; tank/a and tank/a/b are selected for the backup "nas".
-- @param options { now = seconds since the epoch, version = of zfs } or nil; @return world (moonpool.sim): tick, write, fail, kill_at, host
-- @example local world = t.world()
function testing.world(options)
  options = options or {}
  local world = sim.new { now = options.now or 1795392000, version = options.version }
  local src, dst = world:host "src", world:host "dst"
  src:run { "zpool", "create", "tank" }
  dst:run { "zpool", "create", "back" }
  src:run { "zfs", "create", "tank/a" }
  src:run { "zfs", "create", "tank/a/b" }
  src:run { "zfs", "set", "autobackup:nas=true", "tank/a" }
  world:write("tank/a", 1000)
  world:write("tank/a/b", 1000)
  return world
end

--- Runs a policy on a world, quietly: as the backup "nas" from src to back/nas on dst, whatever names the policy itself is bound to.
-- @param world the world; @param options over the policy's and over those names, or nil; @param policy nil: autobackup
-- @return exit status as the program's, or nil if it raised; array of lines that were said, "level: text"; the error object
-- @example local status, lines = t.backup(world, { keep_source = "7" })
function testing.backup(world, options, policy)
  policy = policy or require "policies.autobackup"
  local given, lines, saved = {}, {}, log.sink
  log.sink = function(level, line) lines[#lines + 1] = level .. ": " .. line end
  given.backup_name, given.target_path = "nas", "back/nas"
  given.ssh_source, given.ssh_target = "src", "dst"
  for key, value in pairs(options or {}) do given[key] = value end
  local bound = policy:with(given)
  local env = {
    lock = false,
    clock = function() return world.now end,
    open = function(destination, values) return world:host(destination or "src", { dry = values.test }) end,
  }
  local ok, result = pcall(function() return bound:run(bound.options, env) end)
  log.sink = saved
  return ok and result or nil, lines, not ok and errors.wrap(result) or nil
end

--- Runs a policy once a day, with something new in tank/a and tank/a/b each day. Raises if a run fails.
-- @param world the world; @param count days; @param policy, options as for `backup`
-- @example t.days(world, 30, my_policy)
function testing.days(world, count, policy, options)
  for _ = 1, count do
    local status, lines, err = testing.backup(world, options, policy)
    if status ~= 0 then error(err or table.concat(lines, "\n"), 2) end
    world:tick(DAY)
    world:write("tank/a", 1000)
    world:write("tank/a/b", 1000)
  end
end

--- The snapshots of a dataset, oldest first. @param world the world; @param host "src" or "dst"; @param dataset its name
-- @return array of the parts after the `@`
-- @example t.snapshots(world, "dst", "back/nas/tank/a")
function testing.snapshots(world, host, dataset)
  local names = {}
  local argv = { "zfs", "list", "-Hp", "-t", "snapshot", "-d", "1", "-s", "createtxg", "-o", "name", dataset }
  for name in world:host(host):run(argv, { check = false }).out:gmatch "@([^\n]+)" do names[#names + 1] = name end
  return names
end

-- ---- checks ---------------------------------------------------------------------------------------------

local function deep_same(one, other)
  if type(one) ~= "table" or type(other) ~= "table" then return one == other end
  for key, value in pairs(one) do
    if not deep_same(value, other[key]) then return false end
  end
  for key in pairs(other) do
    if one[key] == nil then return false end
  end
  return true
end

--- Raises unless two values are the same, tables by what is in them. @param expected, actual values; @param what text or nil
-- @example t.same({ "a" }, names)
function testing.same(expected, actual, what)
  if deep_same(expected, actual) then return end
  error(("%sexpected %s, got %s"):format(what and what .. ": " or "", inspect(expected), inspect(actual)), 2)
end

--- Raises unless a value is true. @param value any; @param what text
-- @example t.ok(#names > 0, "there are snapshots")
function testing.ok(value, what)
  if not value then error("not true: " .. (what or "?"), 2) end
end

--- Raises unless a text has a pattern of Lua in it. @param pattern; @param text text, or array of lines
-- @example t.matches("out of space", lines)
function testing.matches(pattern, text)
  if type(text) == "table" then text = table.concat(text, "\n") end
  if not tostring(text):find(pattern) then error(("'%s' is not in: %s"):format(pattern, tostring(text)), 2) end
end

--- Raises unless a function raises an error with a pattern in it. @param pattern; @param run function; @param ... for it
-- @example t.refuses("no option", function() policy:with { kep = 1 } end)
function testing.refuses(pattern, run, ...)
  local ok, err = pcall(run, ...)
  if ok then error("this was not refused", 2) end
  if not tostring(err):find(pattern) then error(("'%s' is not in: %s"):format(pattern, tostring(err)), 2) end
end

-- ---- running --------------------------------------------------------------------------------------------

--- Runs the tests that were added since the last call.
-- @param write function(text) for what is said; @return how many passed, how many failed
-- @example local passed, failed = t.run(io.write)
function testing.run(write)
  local list, passed, failed = tests, 0, 0
  tests = {}
  for _, test in ipairs(list) do
    local ok, err = pcall(sched.run, test.run)
    if ok then
      passed = passed + 1
      write(("ok      %s\n"):format(test.name))
    else
      failed = failed + 1
      write(("FAILED  %s\n        %s\n"):format(test.name, (tostring(err):gsub("\n", "\n        "))))
    end
  end
  return passed, failed
end

return testing
