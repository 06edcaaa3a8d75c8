--- `moonpool simulate`: what a policy would keep after thousands of runs.

local core = require "moonpool.core"
local errors = require "moonpool.error"
local loader = require "moonpool.loader"
local options = require "moonpool.options"
local picture = require "moonpool.picture"
local simulate = require "moonpool.simulate"

local command = {}

local OWN = {
  { name = "every", type = "duration", metavar = "TIME", group = "Simulation", default = 3600, help = "Run so often (1h)." },
  { name = "for", type = "duration", metavar = "TIME", group = "Simulation", default = 2 * 365 * 86400, help = "For so long (2y)." },
  { name = "datasets", type = "integer", metavar = "N", group = "Simulation", default = 10, help = "With so many datasets." },
  { name = "dataset-churn", type = "duration", metavar = "TIME", group = "Simulation", help = "So often a dataset goes and another one comes." },
  { name = "svg", type = "string", metavar = "FILE", group = "Simulation", help = "Draw it into this file, too." },
}

local function declarations_of(p)
  local list = table.move(p.declarations, 1, #p.declarations, 1, {})
  for _, d in ipairs(OWN) do list[#list + 1] = options.declaration(d, "simulate") end
  return list
end

local function progress()
  if not core.isatty(2) then return nil end
  local shown = 0
  return function(done, count)
    local percent = done * 100 // count
    if percent == shown then return end
    shown = percent
    io.stderr:write(("\r%d %%"):format(percent), percent == 100 and "\r\27[K" or "")
  end
end

local function write_svg(path, text)
  local ok, _, message = core.write_file(path, text)
  if not ok then errors.fail("system", "--svg: %s", message) end
end

--- Runs the command. @param args its words, the policy first; @return exit status: the number of failures that the policy had, 200 at the most
-- @raise usage; policy
function command.run(args)
  local name = table.remove(args, 1)
  if not name or name:sub(1, 1) == "-" then errors.fail("usage", "simulate: which policy? A file, or a name of `moonpool policy list`") end
  local p = loader.policy(name)
  local values, help = options.parse(declarations_of(p), args, { program = "moonpool simulate " .. name, summary = p.summary, bound = simulate.bound(p) })
  if not values then
    io.stdout:write(help, "\n")
    return 0
  end
  if values.every < 1 or values["for"] < values.every then errors.fail("usage", "--for: shorter than --every") end
  if values.datasets == 0 then errors.fail("usage", "--datasets: at least 1") end
  local now = math.floor(values.now or core.clock())
  local count = values["for"] // values.every
  local result = simulate.run(p, values, {
    start = now - count * values.every, every = values.every, count = count, datasets = values.datasets, churn = values.dataset_churn, progress = progress(),
  })
  if result.runs < count then
    if core.isatty(2) then io.stderr:write "\r\27[K" end
    io.stderr:write(("moonpool: simulate: ended after %d of %d runs, since the last ones all failed\n"):format(result.runs, count))
  end
  io.stdout:write(picture.text(result, core.columns() or 80))
  if values.svg then write_svg(values.svg, picture.svg(result, p.name)) end
  return math.min(#result.failures, 200)
end

return command
