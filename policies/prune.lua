--- Thins snapshots that something else made: moonpool run prune --dataset tank --pattern '^auto-' --keep-source 10,1d1m [--ssh-source HOST]
--
-- Only snapshots whose name matches the pattern are ever touched; the newest of them, held ones and origins of clones stay whatever is asked. Their age is
-- that of the snapshot, not of its name.

local errors = require "moonpool.error"
local names = require "moonpool.names"
local replicate = require "policies.replicate"

return replicate:extend {
  name = "prune",
  summary = "Thin snapshots that something else made, by a pattern of their names",

  options = {
    { name = "pattern", metavar = "RE", group = "Selection", help = "Names of snapshots (after the @) that may go, as an extended regular expression." },
    backup_name = "prune", no_snapshot = true,
  },

  check = function(_, options)
    if options.target_path then errors.fail("usage", "TARGET-PATH: the policy prune works on one side; --ssh-source says where") end
    if not options.pattern then errors.fail("usage", "--pattern: which snapshots may go?") end
    names.matching(options.pattern, options.utc)
  end,

  -- What counts as ours here, and how old it is.
  names = function(_, options) return names.matching(options.pattern, options.utc) end,
}
