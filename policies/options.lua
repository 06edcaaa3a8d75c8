--- The options of `autobackup`, by group. A policy that extends it has them all; values are found as `options.keep_source`.

local filter = require "moonpool.filter"

local function group(name, declarations)
  for _, d in ipairs(declarations) do d.group = name end
  return declarations
end

local function flag(name, help, more)
  local d = more or {}
  d.name, d.type, d.help = name, "flag", help
  return d
end

local function value(name, metavar, kind, help, more)
  local d = more or {}
  d.name, d.metavar, d.type, d.help = name, metavar, kind, help
  return d
end

local function argument(name, help, optional) return { name = name, positional = true, optional = optional, help = help } end

local GROUPS = {
  {
    argument("backup-name", "Name of the backup: the property autobackup:BACKUP-NAME selects what is backed up."),
    argument("target-path", "Dataset under which everything is received. Without it: snapshot and thin the source only.", true),
  },
  group("Hosts", {
    value("ssh-source", "HOST", "string", "Pull from this host: user@host, host, an alias of ~/.ssh/config, or local."),
    value("ssh-target", "HOST", "string", "Push to this host."),
    value("ssh-config", "FILE", "string", "Use this ssh configuration instead of ~/.ssh/config."),
    value("ssh-program", "PROGRAM", "string", "Use this ssh program as transport instead of the built-in one."),
  }),
  group("Selection", {
    value("property-format", "F", "string", "The property that selects; {} is the backup's name.", { default = "autobackup:{}" }),
    flag("ignore-replicated", "Leave out datasets with nothing written since their newest snapshot of any name."),
    value("exclude-unchanged", "BYTES", "size", "Leave out datasets with less written since their newest snapshot of any name."),
    flag("exclude-received", "Accepted: a property that was received does not select."),
    flag("include-received", "A property that was received selects too."),
  }),
  group("Snapshots", {
    flag("no-snapshot", "Make no new snapshot (to finish an aborted backup, or clean up)."),
    flag("allow-empty", "Snapshot even if nothing was written since the last one."),
    value("min-change", "BYTES", "size", "Snapshot only if at least so much was written.", { default = 1 }),
    value("snapshot-format", "F", "string", "Names of snapshots; {} is the backup's name.", { default = "{}-%Y%m%d%H%M%S" }),
    value("tag", "T", "string", "Append _T to the name of the snapshot."),
    flag("utc", "Times in names are UTC, not local time."),
    value("set-snapshot-properties", "P=V", "settings", "Properties of the new snapshots."),
    value("pre-snapshot-cmd", "CMD", "strings", "Run this on the source before the snapshot; if it fails, there is none."),
    value("post-snapshot-cmd", "CMD", "strings", "Run this on the source after the snapshot, in any case."),
    flag("no-holds", "Place no holds on the source."),
    flag("no-bookmarks", "Make no bookmarks on the source."),
    value("hold-format", "F", "string", "The tag of holds; {} is the backup's name.", { default = "zfs_autobackup:{}" }),
  }),
  group("Retention", {
    value("keep-source", "K", "string", "What to keep on the source: days, or a list such as 10,1d1w,1w1m.", { default = "30" }),
    value("keep-target", "K", "string", "What to keep on the target.", { default = "30" }),
    value("destroy-missing", "AGE", "duration", "Destroy a dataset of the target whose source is gone once its newest snapshot is older than this."),
    flag("no-thinning", "Destroy no snapshots."),
    value("max-destroy", "PERCENT", "integer", "Destroy nothing of a dataset if more than this share of its snapshots would go."),
  }),
  group("Transfer", {
    flag("no-send", "Transfer nothing, still clean up."),
    flag("other-snapshots", "Send snapshots of other names too."),
    value("exclude-snapshot-pattern", "RE", "strings", "Never send snapshots that match this extended regular expression."),
    flag("ignore-new", "Leave out a dataset whose target has newer snapshots."),
    flag("resume", "Accepted: resuming is on wherever both pools support it."),
    flag("no-resume", "Do not make receives resumable."),
    value("strip-path", "N", "integer", "Drop N leading components of the source's name.", { default = 0 }),
    value("jobs", "N", "integer", "Transfer so many datasets at the same time.", { default = 1 }),
    value("retries", "N", "integer", "Try a transfer that the network cut off so many times more, resuming.", { default = 0 }),
    value("buffer", "SIZE", "size", "Memory buffer in the stream.", { default = 16 * 1024 * 1024 }),
    value("compress", "TYPE", "choice", "Compress between the hosts: zstd-fast if no TYPE is given.",
      { optional_value = "zstd-fast", choices = filter.NAMES }),
    value("send-pipe", "CMD", "strings", "Pass the stream through this on the source."),
    value("recv-pipe", "CMD", "strings", "Pass the stream through this on the target, the last one given first."),
    value("rate", "SIZE", "size", "Send at most so many bytes per second, all transfers together."),
    flag("zfs-compressed", "Accepted: blocks are sent as they are compressed on the disk wherever both ends can."),
    flag("no-zfs-compressed", "Send blocks uncompressed."),
    value("clones", "WHAT", "choice", "simple: a clone whose origin is on the target is sent as one; never: in full.",
      { default = "simple", choices = { "simple", "never" } }),
    flag("decrypt", "Send encrypted datasets in plain; their keys must be loaded."),
    flag("encrypt", "Let datasets that are not encrypted be encrypted by the target's parent."),
    flag("no-guid-check", "Accepted: GUIDs come with the listing and are always compared."),
  }),
  group("Target", {
    flag("clear-refreservation", "The target's refreservation is none (recommended)."),
    flag("clear-mountpoint", "The target gets canmount=noauto (recommended)."),
    value("filter-properties", "P", "list", "Leave these properties out when receiving."),
    value("set-properties", "P=V", "settings", "Set these properties when receiving."),
    flag("rollback", "Roll the target back to its newest snapshot before receiving."),
    flag("force", "Let a first full receive take the place of an existing dataset (zfs receive -F)."),
    flag("destroy-incompatible", "Destroy snapshots of the target that are newer than the common one, then go on."),
    value("on-diverged", "WHAT", "choice", "If the target can't go on from a common snapshot: fail, rollback (destroy what is newer there), "
      .. "rename (keep the old one aside) or full (the same, also if there is no common snapshot).",
      { default = "fail", choices = { "fail", "rollback", "rename", "full" } }),
    flag("follow-renames", "Rename a dataset of the target when it was renamed on the source."),
    flag("ignore-transfer-errors", "A receive that complains but whose snapshot arrived is a success."),
  }),
  group("Output", {
    flag("test", "Change nothing: show, with every command, what would be done.", { short = "n", implies = { "verbose" } }),
    flag("verbose", "Say what is done.", { short = "v" }),
    flag("debug", "Show each command as it can be typed, with its host, time and exit status.", { short = "d", implies = { "verbose" } }),
    value("json", "FILE", "string", "Write the report of the run to this file."),
    value("metrics", "FILE", "string", "Write OpenMetrics to this file, for node_exporter's textfile collector."),
    flag("progress", "Show progress though standard error is no terminal."),
    flag("no-progress", "Show no progress."),
    value("explain", "DATASET[@SNAPSHOT]", "string", "Change nothing: tell why datasets are selected or not, and snapshots stay or go.",
      { optional_value = "", implies = { "test" } }),
    value("now", "TIME", "time", "Pretend the clock: epoch or YYYYMMDDHHMMSS."),
  }),
}

local all = {}
for _, declarations in ipairs(GROUPS) do table.move(declarations, 1, #declarations, #all + 1, all) end
return all
