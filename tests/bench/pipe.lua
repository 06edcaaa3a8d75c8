-- One pipe through moonpool, and what it cost: prints its seconds and moonpool's own CPU seconds.
--
--   moonpool lua pipe.lua SSH_CONFIG HOST A… -- HOST B…        HOST is "local" or a name of that configuration

local host = require "moonpool.host"
local sched = require "moonpool.sched"

-- Of this process alone, without the programs that it started; a tick is a hundredth of a second.
local function cpu_seconds()
  local file <close> = assert(io.open "/proc/self/stat")
  local field = {}
  for word in file:read("a"):match "%) (.*)":gmatch "%S+" do field[#field + 1] = word end
  return (tonumber(field[12]) + tonumber(field[13])) / 100
end

local words = { ... }
local config = table.remove(words, 1)
local copies = 1
if words[1] == "-j" then
  copies = math.tointeger(tonumber(words[2]))
  table.move(words, 3, #words + 2, 1)
end
local stages = {}
for _, word in ipairs(words) do
  local stage = stages[#stages]
  if not stage or word == "--" then
    stages[#stages + 1] = { argv = {} }
  end
  if stage and word ~= "--" and not stage.host then
    stage.host = word
  elseif stage and word ~= "--" then
    table.insert(stage.argv, word)
  elseif not stage then
    stages[1].host = word
  end
end

local open = {}
for _, stage in ipairs(stages) do
  open[stage.host] = open[stage.host] or host.open(stage.host, stage.host ~= "local" and { ssh_config = config } or nil)
  stage.host = open[stage.host]
end
local numbers = {}
for i = 1, copies do numbers[i] = i end
local longest = 0
sched.each(numbers, copies, function(i)
  local mine = {}
  for k, stage in ipairs(stages) do
    mine[k] = { host = stage.host, argv = {} }
    for n, word in ipairs(stage.argv) do mine[k].argv[n] = word:gsub("{}", i) end
  end
  longest = math.max(longest, host.open("local").pipe(nil, mine, {}).seconds)
end)
print(("%.6f %.3f"):format(longest, cpu_seconds()))
for _, h in pairs(open) do h:close() end
