--- Snapshots by a schedule, without a target: moonpool run snapshot NAME, from cron as often as the shortest period that is kept.
--
-- Takes one snapshot, of all datasets of a pool at once, when a period of the calendar has none yet, and keeps so many periods of each kind.

local errors = require "moonpool.error"
local retention = require "policies.retention"
local stock = require "policies.autobackup"

-- From the shortest to the longest: option, unit of retention, default.
local SCHEDULE = { { "hourly", "h", 48 }, { "daily", "d", 30 }, { "weekly", "w", 8 }, { "monthly", "m", 12 }, { "yearly", "y", 0 } }

local options = { target_path = nil, keep_source = "0" }
for _, kind in ipairs(SCHEDULE) do
  options[#options + 1] = {
    name = kind[1], type = "integer", metavar = "N", group = "Schedule", default = kind[3],
    help = ("Keep so many %s snapshots, the first of each; 0: none."):format(kind[1]),
  }
end

-- The unit of the shortest period that is kept.
local function shortest(given)
  for _, kind in ipairs(SCHEDULE) do
    if given[kind[1]] > 0 then return kind[2] end
  end
end

return stock:extend {
  name = "snapshot",
  summary = "Take and thin snapshots by a schedule, without a target",
  options = options,

  check = function(_, given)
    if given.target_path then errors.fail("usage", "TARGET-PATH: the policy snapshot sends nothing; autobackup does") end
    if not shortest(given) then errors.fail("usage", "--hourly, --daily, --weekly, --monthly, --yearly: all are 0, so nothing would be kept") end
  end,

  -- Due, if the newest of ours is of an earlier period.
  snapshot = function(_, _, ctx)
    local newest
    for _, s in ipairs(ctx.snapshots) do newest = s.own and s or newest end
    local unit = shortest(ctx.options)
    return not newest or retention.period(newest.time, unit, ctx.utc) < retention.period(ctx.now, unit, ctx.utc)
  end,

  keep = function(_, snapshots, ctx)
    local rules = {}
    for _, kind in ipairs(SCHEDULE) do
      local count = ctx.options[kind[1]]
      if count > 0 then rules[#rules + 1] = retention.every(1, kind[2], count, kind[2]) end
    end
    return retention.union(table.unpack(rules))(snapshots, ctx)
  end,
}
