--- Tells how old the backup of each dataset is, as Nagios wants it: moonpool run monitor nas tank/laptop --warning 26h --critical 50h
--
-- One line and performance data; exit status 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. With a target the age is that of the newest snapshot that both sides
-- have, else of the newest one. A dataset that can't be backed up (a bad value of the property, a hook that fails) is CRITICAL. Changes nothing.

local autobackup = require "policies.autobackup"
local backup = require "moonpool.backup"
local common = require "moonpool.common"
local errors = require "moonpool.error"
local log = require "moonpool.log"
local zfs = require "moonpool.zfs"

local WORDS = { [0] = "OK", "WARNING", "CRITICAL", "UNKNOWN" }

-- The age of a dataset's backup in seconds; nil: it has none.
local function age_of(run, pair)
  local newest
  if run.target then
    local both = common.newest(pair)
    newest = both and both.to
  else
    newest = pair.source:newest_own()
  end
  return newest and math.max(0, run.now - (newest.time or newest.creation))
end

local function state_of(options, age)
  if not age or age >= options.critical then return 2 end
  return age >= options.warning and 1 or 0
end

-- A label of performance data has no quotes and no equals signs in it.
local function performance(options, name, age)
  return ("'%s'=%ds;%d;%d;0"):format(name:gsub("['=|]", "_"), age or 0, options.warning, options.critical)
end

local function judge(run)
  local worst, worst_pair, worst_age, data, bad = 0, nil, -1, {}, {}
  -- What could not even be selected is not backed up either.
  for _, f in ipairs(run.failures) do
    worst = 2
    bad[#bad + 1] = ("%s: %s"):format(f.dataset, errors.line(f.error))
  end
  for _, pair in ipairs(run.pairs) do
    local age = age_of(run, pair)
    local state = state_of(run.options, age)
    if state > 0 then bad[#bad + 1] = ("%s %s"):format(pair.name, age and zfs.format_seconds(age) .. " old" or "has no backup") end
    if (age or math.huge) > worst_age then worst_pair, worst_age = pair, age or math.huge end
    worst = math.max(worst, state)
    data[#data + 1] = performance(run.options, pair.name, age)
  end
  local text = worst > 0 and table.concat(bad, ", ")
    or worst_pair and ("%d datasets, the oldest backup is %s old (%s)"):format(#run.pairs, zfs.format_seconds(worst_age), worst_pair.name)
    or "everything is excluded"
  return worst, text, data
end

return autobackup:extend {
  name = "monitor",
  summary = "Tell how old the backup of each dataset is, for Nagios and the like",

  options = {
    { name = "warning", type = "duration", metavar = "AGE", group = "Limits", default = 26 * 3600, help = "WARNING from this age on (26h)." },
    { name = "critical", type = "duration", metavar = "AGE", group = "Limits", default = 50 * 3600, help = "CRITICAL from this age on (50h)." },
  },

  run = function(self, options, env)
    log.level = "quiet"
    local ok, state, text, data = pcall(backup.look, self, options, env, judge)
    if not ok then
      if errors.is(state, "cancelled") then errors.raise(state) end
      state, text, data = 3, errors.line(errors.wrap(state)), {}
    end
    log.print("%s: backup %s: %s%s", WORDS[state], options.backup_name, text:gsub("|", "/"), #data > 0 and " | " .. table.concat(data, " ") or "")
    return state
  end,
}
