--- The stock policy: backs up the datasets with the property `autobackup:NAME` to another place, here or over SSH.
--
-- Options and behaviour are those of zfs_autobackup. Copy a hook into a policy of your own to change what it decides:
-- `return require "policies.autobackup":extend { keep = function(self, snapshots, ctx) … end }`.

local backup = require "moonpool.backup"
local errors = require "moonpool.error"
local policy = require "moonpool.policy"
local retention = require "policies.retention"
local select = require "policies.select"

return policy.new {
  name = "autobackup",
  summary = "Back up the datasets that have the property autobackup:BACKUP-NAME",

  options = {
    { name = "backup-name", positional = true,
      help = "Name of the backup: set the property autobackup:BACKUP-NAME to true on what is to be backed up." },
    { name = "target-path", positional = true, optional = true,
      help = "Dataset under which everything is received. Without it: snapshot and thin the source only." },

    { name = "ssh-source", type = "string", metavar = "HOST", group = "Hosts",
      help = "Pull from this host: user@host, host, an alias of ~/.ssh/config, or local." },
    { name = "ssh-target", type = "string", metavar = "HOST", group = "Hosts", help = "Push to this host." },
    { name = "ssh-config", type = "string", metavar = "FILE", group = "Hosts",
      help = "Use this ssh configuration instead of ~/.ssh/config." },
    { name = "ssh-program", type = "string", metavar = "PROGRAM", group = "Hosts",
      help = "Use this ssh program as transport instead of the built-in one." },

    { name = "keep-source", type = "string", default = "30", metavar = "K", group = "Retention",
      help = "What to keep on the source: days, or a list such as 10,1d1w,1w1m." },
    { name = "keep-target", type = "string", default = "30", metavar = "K", group = "Retention",
      help = "What to keep on the target." },

    { name = "no-snapshot", type = "flag", group = "Snapshots",
      help = "Make no new snapshot (to finish an aborted backup, or clean up)." },
    { name = "allow-empty", type = "flag", group = "Snapshots",
      help = "Snapshot even if nothing was written since the last one." },
    { name = "ignore-replicated", type = "flag", group = "Snapshots",
      help = "Leave out datasets with nothing written since their newest snapshot of any name." },
    { name = "no-holds", type = "flag", group = "Snapshots", help = "Place no holds on the source." },
    { name = "property-format", type = "string", default = "autobackup:{}", metavar = "F", group = "Snapshots",
      help = "The property that selects; {} is the backup's name." },
    { name = "snapshot-format", type = "string", default = "{}-%Y%m%d%H%M%S", metavar = "F", group = "Snapshots",
      help = "Names of snapshots; {} is the backup's name." },
    { name = "hold-format", type = "string", default = "zfs_autobackup:{}", metavar = "F", group = "Snapshots",
      help = "The tag of holds; {} is the backup's name." },
    { name = "utc", type = "flag", group = "Snapshots", help = "Times in names are UTC, not local time." },

    { name = "no-send", type = "flag", group = "Transfer", help = "Transfer nothing, still clean up." },
    { name = "ignore-new", type = "flag", group = "Transfer",
      help = "Leave out a dataset whose target has newer snapshots." },
    { name = "resume", type = "flag", group = "Transfer",
      help = "Accepted: resuming is on wherever both pools support it." },
    { name = "no-resume", type = "flag", group = "Transfer", help = "Do not make receives resumable." },
    { name = "strip-path", type = "integer", default = 0, metavar = "N", group = "Transfer",
      help = "Drop N leading components of the source's name." },
    { name = "buffer", type = "size", default = 16 * 1024 * 1024, metavar = "SIZE", group = "Transfer",
      help = "Memory buffer in the stream." },
    { name = "clear-refreservation", type = "flag", group = "Transfer",
      help = "The target's refreservation is none (recommended)." },
    { name = "clear-mountpoint", type = "flag", group = "Transfer",
      help = "The target gets canmount=noauto (recommended)." },
    { name = "filter-properties", type = "list", metavar = "P", group = "Transfer",
      help = "Leave these properties out when receiving." },
    { name = "rollback", type = "flag", group = "Transfer",
      help = "Roll the target back to its newest snapshot before receiving." },
    { name = "ignore-transfer-errors", type = "flag", group = "Transfer",
      help = "A receive that complains but whose snapshot arrived is a success." },

    { name = "test", short = "n", type = "flag", group = "Output", implies = { "verbose" },
      help = "Change nothing: show, with every command, what would be done." },
    { name = "verbose", short = "v", type = "flag", group = "Output", help = "Say what is done." },
    { name = "debug", short = "d", type = "flag", group = "Output", implies = { "verbose" },
      help = "Show each command as it can be typed, with its host, time and exit status." },
    { name = "now", type = "time", metavar = "TIME", group = "Output",
      help = "Pretend the clock: epoch or YYYYMMDDHHMMSS." },
  },

  check = function(_, options)
    if options.ignore_replicated and options.allow_empty then
      errors.raise { code = "usage", message = "--ignore-replicated and --allow-empty exclude each other" }
    end
    retention.parse(options.keep_source)
    retention.parse(options.keep_target)
  end,

  select = function(_, ds)
    local verdict, reason, fault = select.property(ds)
    if verdict and ds.ours then
      local below, why = select.not_below(ds, ds.ours)
      if below == false then return below, why end
    end
    return verdict, reason, fault
  end,

  snapshot_name = function(_, ctx) return ctx.names:name(ctx.now) end,

  target_name = function(_, ds, ctx)
    local rest = ds.name
    for _ = 1, ctx.options.strip_path do rest = rest:match "^[^/]+/(.+)$" or "" end
    if rest == "" then
      errors.fail("usage", "--strip-path %d leaves nothing of %s", ctx.options.strip_path, ds.name)
    end
    return ctx.options.target_path .. "/" .. rest
  end,

  keep = function(_, snapshots, ctx)
    return retention.parse(ctx.options[ctx.side == "source" and "keep_source" or "keep_target"])(snapshots, ctx)
  end,

  on_diverged = function(_, _, state, ctx) return ctx.options.ignore_new and #state.newer > 0 and state.base and "skip" or "fail" end,

  run = function(self, options, env) return backup.run(self, options, env) end,
}
