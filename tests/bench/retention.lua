-- Prints the seconds in which a rule decides about 100,000 hourly snapshots.

local core = require "moonpool.core"
local retention = require "policies.retention"

local now, snapshots = 1780000000, {}
for i = 1, 100000 do
  local time = now - (100000 - i) * 3600
  snapshots[i] = { name = "bench-" .. time, time = time, creation = time, createtxg = i, userrefs = 0, own = true }
end
local keep = retention.parse "10,1d1w,1w1m,1m1y"
local began = core.monotonic()
keep(snapshots, { now = now, utc = true })
print(("%.4f"):format(core.monotonic() - began))
