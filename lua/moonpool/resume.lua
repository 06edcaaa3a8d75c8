--- Receives that were cut off: continued with their token after it was checked, or dropped.

local dataset = require "moonpool.dataset"
local errors = require "moonpool.error"
local failure = require "moonpool.failure"
local log = require "moonpool.log"
local plan = require "moonpool.plan"
local stream = require "moonpool.stream"
local zfs = require "moonpool.zfs"

local resume = {}

-- Drops a partial receive that can't be continued. A partial first receive takes its dataset along.
local function drop_token(run, pair, reason)
  log.info("Dropping the partial receive of %s: %s", pair.target_name, reason)
  run.target.host:run(zfs.receive_argv { target = pair.target_name, abort = true })
  pair.target.token = nil
  if not pair.target:newest() then
    run.target.datasets[pair.target_name] = nil
    pair.target = nil
  end
end

--- Sees one target anew, after something else than the plan changed it. @param run the run; @param pair the pair, whose `target` is set
function resume.look_again(run, pair)
  if pair.target then pair.target.token = nil end
  if run.target.host.dry then return end
  pair.target = dataset.reload(run.target, pair.target_name)
end

-- Errors after which a token is still good: what was lost is the connection, or the time.
local CAN_GO_ON = { "disconnect", "connect", "cancelled", "stalled", "timeout" }

--- Whether what was received so far can be gone on with. @param err error object; @return boolean
function resume.can_go_on(err)
  for _, code in ipairs(CAN_GO_ON) do
    if errors.is(err, code) then return true end
  end
end

--- Continues a receive that was cut off, or drops it: the same token never fails twice.
-- @param run the run; @param pair a pair whose target has a token; @param raw whether it is sent raw
-- @raise what cut it off again
function resume.pair(run, pair, raw)
  local token = pair.target.token
  if run.options.no_resume then return drop_token(run, pair, "--no-resume was given") end
  local look = run.source.host:run(zfs.send_argv { token = token, dry = true, verbose = true }, { check = false })
  local fits, reason = plan.check_token(run, pair, look.status == 0 and zfs.parse_token(look.out .. look.err) or nil, raw)
  if not fits then return drop_token(run, pair, reason) end
  local ok, err = failure.try(stream.run, run, pair, zfs.send_argv { token = token }, "Resuming " .. pair.name)
  if ok then return resume.look_again(run, pair) end
  if resume.can_go_on(err) then errors.raise(err) end
  log.warn("%s: resuming failed, starting again: %s", pair.name, tostring(err))
  drop_token(run, pair, "it failed")
end

return resume
