--- Failures of one run: noted, said at once, counted at the end; the rest of the run goes on.

local errors = require "moonpool.error"
local log = require "moonpool.log"

local failure = {}

--- Notes a failure and says it.
-- @param run the run; @param name what failed: a dataset or snapshot; @param err an error object
function failure.note(run, name, err)
  err = errors.wrap(err)
  run.failures[#run.failures + 1] = { dataset = name, error = err }
  log.error("%s%s: %s", run.label and run.label .. ": " or "", name, errors.line(err))
end

--- Calls a function like pcall, but lets a cancelled run unwind: only errors after which something different is done are caught.
-- @param fn, ... what to call
-- @return true and the function's results, or false and the error object
-- @raise cancelled
function failure.try(fn, ...)
  local results = table.pack(pcall(fn, ...))
  if not results[1] and errors.is(results[2], "cancelled") then errors.raise(results[2]) end
  return table.unpack(results, 1, results.n)
end

--- Calls a function for a pair; an error is that pair's failure.
-- @param run the run; @param pair the pair, whose `error` is set; @param fn, ... what to call
-- @return true and the function's results, or false
function failure.guard(run, pair, fn, ...)
  local results = table.pack(failure.try(fn, ...))
  if not results[1] then
    pair.error = errors.wrap(results[2])
    failure.note(run, pair.name, pair.error)
    return false
  end
  return table.unpack(results, 1, results.n)
end

return failure
