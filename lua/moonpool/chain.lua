--- Raw and plain streams of an encrypted dataset are two chains: a target that was received in one way can't go on in the other. zfs notices some of it,
-- late; and a plain stream into a raw copy whose key is loaded is taken, after which no raw one ever fits again.

local common = require "moonpool.common"
local errors = require "moonpool.error"
local zfs = require "moonpool.zfs"

local chain = {}

-- Every encrypted snapshot has an IV set; a raw copy has that of its original.
local function iv_set(host, s)
  local result = host:run(zfs.get_argv { properties = { "ivsetguid" }, datasets = { s.dataset .. "@" .. s.name } }, { check = false })
  local row = result.status == 0 and zfs.parse_get(result.out)[1]
  return row and row.value ~= "-" and row.value or nil
end

-- Whether the newest common snapshot was received raw; nil if zfs does not tell.
local function was_raw(run, pair)
  if not pair.target.encrypted then return false end
  local newest = common.newest(pair)
  if not newest or newest.from.kind ~= "@" or run.target.host.dry then return nil end
  local here, there = iv_set(run.source.host, newest.from), iv_set(run.target.host, newest.to)
  if here and there then return here == there end
end

local function refuse(pair, was, now, hint)
  errors.raise { code = "diverged", message = ("%s was received %s, and can't go on with %s streams"):format(pair.target_name, was, now), hint = hint }
end

--- Refuses to mix the two on one target.
-- @param run the run; @param pair the pair; @param raw whether it would be sent raw now
-- @raise diverged: what is there was received in the other way, with what to do
function chain.check(run, pair, raw)
  if not pair.source.encrypted or not pair.target or not pair.target:newest() then return end
  -- Without --decrypt a copy that is encrypted is nearly always a raw one, and zfs refuses what does not fit: nothing is asked for that.
  if raw and pair.target.encrypted then return end
  local before = was_raw(run, pair)
  if raw and before == false then refuse(pair, "in plain", "raw", "--decrypt goes on as before; or another target path for raw copies") end
  if not raw and before then refuse(pair, "raw", "plain", "without --decrypt it goes on as before; or another target path for plain copies") end
end

return chain
