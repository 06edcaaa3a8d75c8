--- All verbs of the simulator, by program and name. What a verb is: see moonpool.sim.command.

local pool = require "moonpool.sim.verbs_pool"

local verbs = { zfs = {}, zpool = pool.zpool }

local function add(part)
  for name, verb in pairs(part) do verbs.zfs[name] = verb end
end

add(pool.zfs)
add(require "moonpool.sim.verbs_dataset")
add(require "moonpool.sim.verbs_destroy")
add(require "moonpool.sim.verbs_list")
add(require "moonpool.sim.verbs_program")
add(require "moonpool.sim.verbs_receive")
add(require "moonpool.sim.verbs_send")
add(require "moonpool.sim.verbs_snapshot")

return verbs
