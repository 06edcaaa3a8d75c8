--- `moonpool test FILE…`: runs tests of policies, which are Lua files with `t.test(…)` in them (moonpool.testing).

local errors = require "moonpool.error"
local loader = require "moonpool.loader"
local sched = require "moonpool.sched"
local testing = require "moonpool.testing"

local command = {}

local function write(text) io.stdout:write(text) end

--- Runs the command. @param args files; @return exit status: the number of tests that failed, 200 at the most; @raise usage; policy: a file that can't run
function command.run(args)
  if #args == 0 then errors.fail("usage", "test: which files?") end
  loader.install()
  local passed, failed = 0, 0
  for _, file in ipairs(args) do
    if file:sub(1, 1) == "-" then errors.fail("usage", "test: unknown option '%s'", file) end
    -- A policy lies beside its test.
    loader.add(file:match "^(.*)/[^/]*$" or ".")
    sched.run(loader.run_file, file)
    local well, badly = testing.run(write)
    if well + badly == 0 then errors.fail("policy", "%s: has no tests in it: t.test(\"…\", function() … end)", file) end
    passed, failed = passed + well, failed + badly
  end
  write(("%d passed, %d failed\n"):format(passed, failed))
  return math.min(failed, 200)
end

return command
