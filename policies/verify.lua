--- Compares a backup with its source: moonpool run verify nas back/laptop [--contents 3] [--ssh-target nas]
--
-- Of every dataset: what both sides call by one name must be one snapshot, by GUID, and there must be one that both have. With --contents also what is in the
-- newest common snapshot, file by file, of so many datasets chosen by chance (0: all of them). Reads, mounts and clones; what it made is gone afterwards.

local autobackup = require "policies.autobackup"
local backup = require "moonpool.backup"
local common = require "moonpool.common"
local contents = require "moonpool.contents"
local errors = require "moonpool.error"
local failure = require "moonpool.failure"
local log = require "moonpool.log"

local function compare_guids(run, pair)
  if not pair.target then errors.fail("verify", "is not on the target") end
  local by_name, shared = {}, 0
  for _, s in ipairs(pair.source:snapshots()) do by_name[s.name] = s.guid end
  for _, s in ipairs(pair.target:snapshots()) do
    if by_name[s.name] and by_name[s.name] ~= s.guid then errors.fail("verify", "@%s is another snapshot on the target", s.name) end
    if by_name[s.name] then shared = shared + 1 end
  end
  if not common.newest(pair) then errors.fail("verify", "the target has no snapshot of it") end
  log.info("%s: %d snapshots are the same on both sides", pair.name, shared)
  run.compared = run.compared + 1
end

-- As many of the pairs as asked for, by chance.
local function sample(list, count)
  local rest = table.move(list, 1, #list, 1, {})
  if count == 0 or count >= #rest then return rest end
  local chosen = {}
  for i = 1, count do chosen[i] = table.remove(rest, math.random(#rest)) end
  return chosen
end

local function compare_contents(run, pair, program)
  local both = common.newest(pair)
  if not both or both.from.kind ~= "@" then
    log.info("%s: the common snapshot is no longer on the source: nothing to compare with", pair.name)
    return
  end
  local here = contents.sums(run.live.source, contents.name(pair.source, both.from), pair.source.type, program)
  local there = contents.sums(run.live.target, contents.name(pair.target, both.to), pair.source.type, program)
  local files, differing = contents.compare(here, there)
  if #differing > 0 then errors.fail("verify", "@%s differs in %d places, such as %s", both.from.name, #differing, differing[1]) end
  log.info("%s: @%s has the same %d files on both sides (%s)", pair.name, both.from.name, files, program)
end

local function verify(run, env)
  run.compared = 0
  for _, pair in ipairs(run.pairs) do failure.guard(run, pair, compare_guids, run, pair) end
  if run.options.contents then
    -- What mounts and clones is refused on the dry hosts that the comparison looks through.
    local values = setmetatable({ test = false }, { __index = run.options })
    local source <close> = env.open(run.options.ssh_source, values)
    local target <close> = env.open(run.options.ssh_target, values)
    run.live = { source = source, target = target }
    local program = contents.has_sha256(source) and contents.has_sha256(target) and "sha256sum" or "cksum"
    for _, pair in ipairs(sample(run.pairs, run.options.contents)) do
      if not pair.error then failure.guard(run, pair, compare_contents, run, pair, program) end
    end
  end
  log.info("%d of %d datasets are as they should be", #run.pairs - #run.failures, #run.pairs)
  return math.min(#run.failures, 200)
end

return autobackup:extend {
  name = "verify",
  summary = "Compare a backup with its source, by GUID and by contents",

  options = {
    {
      name = "contents", type = "integer", metavar = "N", group = "Comparison",
      help = "Compare the contents of so many datasets, chosen by chance; 0: of all.",
    },
  },

  check = function(_, options)
    if not options.target_path then errors.fail("usage", "TARGET-PATH: with what is the source to be compared?") end
  end,

  run = function(self, options, env)
    return backup.look(self, options, env, function(run) return verify(run, env) end)
  end,
}
