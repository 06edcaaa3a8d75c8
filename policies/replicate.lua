--- Replicates trees of datasets that are named, without properties: moonpool run replicate --dataset tank/home nas back/home --ssh-target nas
--
-- Everything else is as in autobackup, options included; BACKUP-NAME is in the names of the snapshots.

local errors = require "moonpool.error"
local select = require "policies.select"

return require "policies.autobackup":extend {
  name = "replicate",
  summary = "Replicate trees of datasets that are named, without properties",

  options = {
    { name = "dataset", type = "list", metavar = "DATASET", group = "Selection", help = "Replicate this dataset and what is below it." },
    { name = "exclude", type = "strings", metavar = "GLOB", group = "Selection", help = "But not what matches: * within a component, ** across." },
  },

  check = function(_, options)
    if not options.dataset then errors.fail("usage", "--dataset: which datasets are to be replicated?") end
  end,

  nothing = function(_, options, host)
    return ("there is no dataset %s on %s"):format(table.concat(options.dataset, ", "), host), "zfs list shows what there is"
  end,

  select = function(_, ds, ctx)
    for _, glob in ipairs(ctx.options.exclude or {}) do
      local excluded, why = select.glob(glob)(ds)
      if excluded then return false, why end
    end
    for _, name in ipairs(ctx.options.dataset) do
      local part, why = select.tree(name)(ds)
      if part then return true, why end
    end
    return false, "not asked for"
  end,
}
