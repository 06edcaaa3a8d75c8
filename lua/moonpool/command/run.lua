--- Runs a policy with words as they come from a command line.

local core = require "moonpool.core"
local log = require "moonpool.log"
local options = require "moonpool.options"

local run = {}

-- How a policy reaches the world: the hosts of its options, the clock, the lock.
local function environment()
  local host = require "moonpool.host"
  return {
    open = function(destination, values)
      return host.open(destination, { dry = values.test or false, ssh_config = values.ssh_config, ssh_program = values.ssh_program })
    end,
    clock = core.clock,
    lock = true,
  }
end

--- Runs a policy. @param p the policy; @param args words; @param program what help calls it
-- @return exit status; @raise usage; what the policy raises
function run.policy(p, args, program)
  local values, help = options.parse(p.declarations, args, { program = program, summary = p.summary, bound = p.values })
  if not values then
    io.stdout:write(help, "\n")
    return 0
  end
  log.level = values.debug and "debug" or values.verbose and "verbose" or "quiet"
  return p:run(values, environment()) or 0
end

return run
