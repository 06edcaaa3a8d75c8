--- Brings a dataset back from a backup: moonpool run restore --from back/nas/tank/home --to tank/home-back [--ssh-source nas]
--
-- Takes the newest snapshot, or the one that --from names (back/nas/tank/home@nas-20260101000000). Never writes over data: a name that is taken is an error,
-- unless --over says what is to become of what is there. One that was cut off goes on when it is called again.

local errors = require "moonpool.error"
local log = require "moonpool.log"
local policy = require "moonpool.policy"
local restore = require "moonpool.restore"
local zfs = require "moonpool.zfs"

local function check_name(option, name, kind)
  local ok, fault = zfs.valid_name(name, kind)
  if not ok then errors.fail("usage", "%s: '%s': %s", option, name, fault) end
end

return policy.new {
  name = "restore",
  summary = "Bring a dataset back from a backup, beside the original or in its place",

  options = {
    { name = "from", metavar = "DATASET[@SNAPSHOT]", help = "What is brought back; the newest snapshot, if none is named." },
    { name = "to", metavar = "DATASET", help = "The dataset that it becomes." },
    { name = "over", type = "choice", metavar = "WHAT", choices = { "aside", "destroy" },
      help = "If --to exists: aside renames it first; destroy gives it up, with its snapshots and all below it, once the new one is there." },
    { name = "ssh-source", metavar = "HOST", help = "Where the backup is: user@host, host, or an alias of ~/.ssh/config." },
    { name = "ssh-target", metavar = "HOST", help = "Where it is brought back to." },
    { name = "ssh-config", metavar = "FILE", help = "Use this ssh configuration instead of ~/.ssh/config." },
    { name = "ssh-program", metavar = "PROGRAM", help = "Use this ssh program as transport instead of the built-in one." },
    { name = "set-properties", type = "settings", metavar = "P=V", help = "Set these properties when receiving." },
    { name = "buffer", type = "size", metavar = "SIZE", default = 16 * 1024 * 1024, help = "Memory buffer in the stream." },
    { name = "rate", type = "size", metavar = "SIZE", help = "Send at most so many bytes per second." },
    { name = "test", type = "flag", short = "n", implies = { "verbose" }, help = "Change nothing: show what would be done." },
    { name = "verbose", type = "flag", short = "v", help = "Say what is done." },
    { name = "debug", type = "flag", short = "d", implies = { "verbose" }, help = "Show each command." },
  },

  check = function(_, options)
    if not options.from then errors.fail("usage", "--from: which dataset of the backup is to be brought back?") end
    if not options.to then errors.fail("usage", "--to: as which dataset is it to be brought back?") end
    check_name("--from", options.from, options.from:find("@", 1, true) and "snapshot" or "dataset")
    check_name("--to", options.to, "dataset")
  end,

  run = function(_, options, env)
    local from, _, snapshot = zfs.split_snapshot(options.from)
    local source <close> = env.open(options.ssh_source, options)
    local target <close> = env.open(options.ssh_target, options)
    if source.name == target.name and (options.to == from or zfs.is_below(from, options.to)) then
      errors.fail("usage", "--to: %s is, or holds, the backup itself", options.to)
    end
    local s = restore.run {
      source = restore.side(source, "source"), target = restore.side(target, "target"), from = from, snapshot = snapshot, to = options.to,
      over = options.over or "", now = env.clock(), buffer = options.buffer, limit = options.rate, set = options.set_properties or {},
    }
    log.info("%s@%s is back as %s", from, s.name, options.to)
    return 0
  end,
}
