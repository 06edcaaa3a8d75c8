--- The stock policy: backs up the datasets with the property `autobackup:NAME` to another place, here or over SSH.
--
-- Options and behaviour are those of zfs_autobackup. Copy a hook into a policy of your own to change what it decides:
-- `return require "policies.autobackup":extend { keep = function(self, snapshots, ctx) … end }`.

local backup = require "moonpool.backup"
local errors = require "moonpool.error"
local names = require "moonpool.names"
local policy = require "moonpool.policy"
local properties = require "policies.properties"
local retention = require "policies.retention"
local select = require "policies.select"
local zfs = require "moonpool.zfs"

-- What is wrong with the tag of holds, or nil; on the source it ends in the target's GUID.
local function tag_fault(tag)
  for _, text in ipairs { tag, tag .. ":" .. ("f"):rep(16) } do
    local ok, fault = zfs.valid_tag(text)
    if not ok then return fault end
  end
  return tag:find "%c" and "it has a control character" or nil
end

return policy.new {
  name = "autobackup",
  summary = "Back up the datasets that have the property autobackup:BACKUP-NAME",

  options = require "policies.options",

  check = function(_, options)
    for _, excluding in ipairs { { "ignore_replicated", "allow_empty" }, { "decrypt", "encrypt" }, { "rollback", "ignore_new" },
      { "include_received", "exclude_received" }, { "resume", "no_resume" }, { "zfs_compressed", "no_zfs_compressed" } } do
      local one, other = excluding[1], excluding[2]
      if options[one] and options[other] then
        errors.fail("usage", "--%s and --%s exclude each other", (one:gsub("_", "-")), (other:gsub("_", "-")))
      end
    end
    if not zfs.is_user_property(names.fill(options.property_format, options.backup_name)) then
      errors.fail("usage", "BACKUP-NAME: '%s' can't be in the name of a property: lower case letters, digits and -_.:", options.backup_name)
    end
    if (options.max_destroy or 0) > 100 then errors.fail("usage", "--max-destroy: %d is no share of 100", options.max_destroy) end
    local fault = tag_fault(names.fill(options.hold_format, options.backup_name))
    if fault then errors.fail("usage", "--hold-format: '%s': %s", options.hold_format, fault) end
    if options.tag and not options.tag:find "^[%w_.:-]+$" then
      errors.fail("usage", "--tag: '%s' can't be in the name of a snapshot: letters, digits and -_.:", options.tag)
    end
    if options.jobs == 0 then errors.fail("usage", "--jobs: at least 1") end
    retention.check(options, "keep_source")
    retention.check(options, "keep_target")
  end,

  names = function(_, options) return names.new(options.snapshot_format, options.backup_name, options.utc) end,

  -- What is wrong if nothing is selected; `excluded`: some have the property, and each was left out by it or by a hook.
  nothing = function(_, options, host, excluded)
    if excluded then return nil end
    local property = names.fill(options.property_format, options.backup_name)
    return ("no dataset of %s has the property %s"):format(host, property), ("zfs set %s=true POOL/DATASET"):format(property)
  end,

  select = function(_, ds, ctx) return select.property(ds, ctx.options.include_received) end,

  snapshot_name = function(_, ctx) return ctx.names:name(ctx.now, ctx.options.tag) end,

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

  on_diverged = function(_, _, state, ctx)
    if state.base and ctx.options.ignore_new then return "skip" end
    if state.base and ctx.options.destroy_incompatible then return "destroy" end
    if not state.base and ctx.options.force then return "force" end
    return ctx.options.on_diverged
  end,

  run = function(self, options, env) return backup.run(self, options, env, properties.receive) end,
}
