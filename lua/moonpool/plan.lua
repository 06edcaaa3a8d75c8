--- Decisions: from what was seen (moonpool.dataset) and the policy's hooks to what is to be done, as data. No I/O.
--
-- A run (made by moonpool.backup) has policy, options, now, names, tag and id, source, target and `pairs`; a pair is one source dataset
-- and its place on the target: { name, source, target_name, target (nil if it does not exist), error, skip }.

local common = require "moonpool.common"
local context = require "moonpool.context"
local errors = require "moonpool.error"
local policy = require "moonpool.policy"
local zfs = require "moonpool.zfs"

local plan = {}

local function refuse(message, hint) errors.raise { code = "usage", message = message, hint = hint } end

--- The pairs of a run: every selected dataset with its name on the target.
-- @param run the run; @param chosen array of { name, target_name }, parents first
-- @return array of pairs
-- @raise usage: a name the target can't have, or two sources on one target name; before anything was changed
function plan.pairs(run, chosen)
  local taken = {}
  for _, pair in ipairs(run.target and chosen or {}) do
    local other = taken[pair.target_name]
    if other then
      refuse(("%s and %s would both be received as %s"):format(other, pair.name, pair.target_name), "use a smaller --strip-path")
    end
    if not zfs.valid_name(pair.target_name) then
      refuse(("%s would be received as '%s', which is no dataset's name"):format(pair.name, pair.target_name))
    end
    -- Only what is there is looked at.
    if not zfs.is_below(pair.target_name, run.options.target_path) then
      refuse(("%s would be received as %s, which is not below the target path %s"):format(pair.name, pair.target_name, run.options.target_path))
    end
    taken[pair.target_name] = pair.name
  end
  return chosen
end

--- What must be asked to know which datasets have changed: those whose newest snapshot is not ours.
-- @param run the run; @return { [name of our snapshot] = array of datasets }
function plan.written_questions(run)
  local questions = {}
  for _, pair in ipairs(run.pairs) do
    local own, is_newest = pair.source:newest_own()
    if own and not is_newest then
      questions[own.name] = questions[own.name] or {}
      table.insert(questions[own.name], pair.name)
    end
  end
  return questions
end

-- Whether a dataset gets a snapshot: as the policy says, else if something was written since our last one.
local function is_due(run, pair, own, written)
  local answer = policy.call(run.policy, "snapshot", pair.source, context.of(run, "source", pair))
  if answer ~= nil then return answer end
  local changed = (written[pair.name] or pair.source.written) >= run.options.min_change
  return not own or changed or run.options.allow_empty
end

--- Which datasets get the new snapshot. One of which the policy fails to tell gets none.
-- @param run the run; @param written { [dataset] = bytes since our last snapshot } as answers to `written_questions`
-- @return { name = the part after the `@`, pools = array of { pool, datasets } in one transaction each, unchanged = array of names, failed = array of
--   { pair, error } }
function plan.snapshots(run, written)
  local pools, by_pool, unchanged, failed = {}, {}, {}, {}
  for _, pair in ipairs(run.pairs) do
    local own = pair.source:newest_own()
    local told, due = pcall(is_due, run, pair, own, written)
    if not told then
      failed[#failed + 1] = { pair = pair, error = due }
    elseif not due then
      unchanged[#unchanged + 1] = pair.name
    else
      local pool = zfs.pool(pair.name)
      if not by_pool[pool] then
        by_pool[pool] = { pool = pool, datasets = {} }
        pools[#pools + 1] = by_pool[pool]
      end
      table.insert(by_pool[pool].datasets, pair.name)
    end
  end
  return { pools = pools, unchanged = unchanged, failed = failed }
end

-- ---- transfers ------------------------------------------------------------------------------------------

local function names_of(list)
  local words = {}
  for i, s in ipairs(list) do words[i] = s.name end
  return table.concat(words, ",")
end

-- What is wrong if the target can't go on from the base, as an error that says what to type to mend it; or nil.
local function divergence(pair, base, newer)
  local target = pair.target_name
  local aside = ("keep it aside and start anew: zfs rename %s %s.old"):format(target, target)
  if not base and #newer == 0 then
    return { code = "diverged", message = target .. " exists on the target, but without a snapshot to go on from", hint = aside }
  elseif not base then
    return { code = "diverged", message = target .. " on the target has no snapshot in common with the source", hint = aside }
  elseif #newer > 0 then
    return { code = "diverged",
      message = ("%s on the target has %d snapshot%s newer than the common %s: %s")
        :format(target, #newer, #newer == 1 and "" or "s", base.to.name, names_of(newer)),
      hint = ("--ignore-new leaves such a dataset out; to give them up: zfs destroy %s@%s"):format(target, names_of(newer)) }
  end
end

-- What the hook `on_diverged` may answer, and whether a common snapshot is needed for it.
local ACTIONS = { fail = false, skip = false, rollback = true, destroy = true, rename = false, full = false, force = false }

-- What is to be done about a target that can't go on from the base: { action, base, newer }, or nil if it can.
local function divergence_of(run, pair, base)
  local newer, newest = {}, pair.target:newest()
  if base and newest.createtxg <= base.to.createtxg then return nil end
  for _, s in ipairs(pair.target:snapshots()) do
    if not base or s.createtxg > base.to.createtxg then newer[#newer + 1] = s end
  end
  local fault = divergence(pair, base, newer)
  if not fault then return nil end
  local state = { base = base, newer = newer, target = pair.target_name }
  local action = policy.call(run.policy, "on_diverged", pair.source, state, context.of(run, "target", pair)) or "fail"
  if ACTIONS[action] == nil then
    errors.fail("policy", "%s returned '%s' for %s; it can be fail, skip, rollback, destroy, rename, full or force",
      policy.described(run.policy, "on_diverged"), tostring(action), pair.name)
  end
  if action == "fail" or (ACTIONS[action] and not base) then errors.raise(fault) end
  state.action = action
  return state
end

local function is_sent(run, s) return (s.own or run.options.other_snapshots) and not run.excluded(s.name) end

-- Own snapshots after the base (and others, if they are asked for), without those that the target's retention would destroy at once. The newest one always
-- goes, and so does the newest own one, which nothing would destroy there.
local function wanted_snapshots(run, pair, base, anew)
  local newest = pair.source:newest()
  if not newest or base and newest.createtxg <= base.from.createtxg then return {}, {} end
  local source, wanted = pair.source:snapshots(), {}
  for _, s in ipairs(source) do
    local is_after = not base or s.createtxg > base.from.createtxg
    if is_after and is_sent(run, s) then wanted[#wanted + 1] = s end
  end
  if #wanted < 2 then return source, wanted end
  local there = {}
  for _, s in ipairs(pair.target and not anew and pair.target:snapshots() or {}) do
    if s.own then there[#there + 1] = s end
  end
  for _, s in ipairs(wanted) do
    if s.own then there[#there + 1] = s end
  end
  local kept = plan.keep(run, "target", pair, there)
  local newest_own, result = there[#there], {}
  for i, s in ipairs(wanted) do
    if kept[s] or not s.own or s == newest_own or i == #wanted then result[#result + 1] = s end
  end
  return source, result
end

-- The fewest streams that send exactly these snapshots: neighbours go together (-I), if they begin at a snapshot.
local function steps_of(source, base, wanted)
  local is_wanted, steps = {}, {}
  for _, s in ipairs(wanted) do is_wanted[s] = true end
  local from, gap = base and base.from, false
  for _, s in ipairs(source) do
    local step = steps[#steps]
    if is_wanted[s] then
      if step and step.from and step.from.kind == "@" and not gap and not step.gap then
        step.to, step.all = s, true
      else
        step = { from = from, to = s, gap = gap, snapshots = {} }
        steps[#steps + 1] = step
      end
      table.insert(step.snapshots, s)
      from, gap = s, false
    elseif not base or s.createtxg > base.from.createtxg then
      gap = true
    end
  end
  return steps
end

-- The snapshot that a clone was made of, if the target has it: then only what is different is sent, and it is a clone there too.
local function origin_of(run, pair)
  if not pair.source.origin or run.options.clones == "never" then return nil end
  local name, _, snapshot = zfs.split_snapshot(pair.source.origin)
  for _, other in ipairs(run.pairs) do
    if other.name == name and other.target then
      local on_target = common.by_guid(other.target:snapshots())
      for _, s in ipairs(other.source:snapshots()) do
        if s.name == snapshot and on_target[s.guid] then
          -- It is older than everything that the clone has itself.
          return setmetatable({ createtxg = 0 }, { __index = s })
        end
      end
    end
  end
end

-- What to go on from: the newest that both sides have, unless the policy wants another one of these.
local function base_of(run, pair)
  if not policy.has(run.policy, "base") then return common.newest(pair) end
  local candidates = common.list(pair)
  local base = candidates[1] and policy.call(run.policy, "base", pair.source, candidates, context.of(run, "source", pair))
  if not base then return candidates[1] end
  for _, candidate in ipairs(candidates) do
    if candidate == base then return base end
  end
  errors.fail("policy", "%s returned for %s what is not one of the candidates that it was given", policy.described(run.policy, "base"), pair.name)
end

--- What to send of one dataset.
-- @param run the run; @param pair the pair
-- @return { base, steps = array of { from, to, all, snapshots }, skip = reason or nil, mend = what is first to be done to the target, or nil,
--   force = true to receive with -F }; steps is empty if there is nothing new
-- @raise diverged: no base although the target exists, or the target went on by itself; or what a hook raised
function plan.transfer(run, pair)
  local base = base_of(run, pair)
  local mend
  if pair.target then mend = divergence_of(run, pair, base) end
  if mend and mend.action == "skip" then return { base = base, steps = {}, skip = "the target has newer snapshots" } end
  local anew = mend and (mend.action == "rename" or mend.action == "full")
  if anew then base = nil end
  local source, wanted = wanted_snapshots(run, pair, base, anew)
  local origin = not base and (not pair.target or anew) and origin_of(run, pair)
  if origin then
    local steps = steps_of(source, { from = origin }, wanted)
    return { base = { from = origin }, steps = steps, mend = mend }
  end
  return { base = base, steps = steps_of(source, base, wanted), mend = mend, force = mend and mend.action == "force" }
end

--- Whether a receive that was cut off may be continued with its token.
-- @param run the run; @param pair the pair; @param token the fields of `zfs send -nvt` (zfs.parse_token), or nil if it could not be read
-- @param raw whether this dataset is sent raw
-- @return true, or false and the reason
function plan.check_token(run, pair, token, raw)
  if not token or not token.toguid then return false, "it can't be read on the source" end
  local on_source = common.by_guid(pair.source:snapshots())
  local snapshot = on_source[token.toguid]
  if not snapshot then return false, "its snapshot is no longer on the source" end
  if not is_sent(run, snapshot) then return false, "its snapshot is not one that is sent" end
  if zfs.split_snapshot(token.toname or "") ~= pair.name then return false, "it is of another dataset" end
  local has_base = token.fromguid and token.fromguid ~= 0
  local on_target = pair.target:snapshots()
  local base = on_target[#on_target] or origin_of(run, pair)
  if has_base and (not base or base.guid ~= token.fromguid) then return false, "its base is not the newest snapshot of the target" end
  if not has_base and #on_target > 0 then return false, "it is of a full stream, but the target has snapshots" end
  if (token.rawok or false) ~= (raw or false) then return false, raw and "it is not of a raw stream" or "it is of a raw stream" end
  return true
end

-- ---- what stays -----------------------------------------------------------------------------------------

-- Names a key of what the hook `keep` returned that is none of the snapshots.
local function refuse_strangers(run, kept, snapshots, ctx)
  local given = {}
  for _, s in ipairs(snapshots) do given[s] = true end
  for key in pairs(kept) do
    if not given[key] then
      errors.fail("policy", "%s returned a table with the key %s for %s; its keys must be snapshots, its values reasons",
        policy.described(run.policy, "keep"), tostring(key), ctx.dataset)
    end
  end
end

--- Asks the policy which of these own snapshots stay.
-- @param run the run; @param side "source" or "target"; @param pair the pair; @param snapshots own ones, oldest first
-- @return { [snapshot] = reason }
-- @raise policy: the hook raised or returned nonsense
function plan.keep(run, side, pair, snapshots)
  local ctx = context.of(run, side, pair)
  -- The hook's own list: what it adds to it, or takes from it, is no answer.
  local kept = policy.call(run.policy, "keep", table.move(snapshots, 1, #snapshots, 1, {}), ctx)
  if type(kept) ~= "table" then
    errors.fail("policy", "%s returned %s for %s, not a table of the snapshots that stay", policy.described(run.policy, "keep"), type(kept), ctx.dataset)
  end
  -- A list instead of a set would name no snapshot at all, and so let all of them go.
  local left = 0
  for _, s in ipairs(snapshots) do
    if kept[s] ~= nil then left = left + 1 end
  end
  for _ in pairs(kept) do left = left - 1 end
  if left < 0 then refuse_strangers(run, kept, snapshots, ctx) end
  return kept
end

local function thin_facts(side, pair, shared, snapshots)
  local facts = { common_guid = shared and shared.to.guid, origins = side.origins, to_send = {} }
  if side.label == "source" and pair.target_name then
    for i = #snapshots, 1, -1 do
      local s = snapshots[i]
      if shared and s.createtxg <= shared.from.createtxg then break end
      facts.to_send[s.guid or s] = true
    end
  end
  for _, span in ipairs(side.underway and side.underway[pair.name] or {}) do
    for _, s in ipairs(snapshots) do
      if s.createtxg > span.first and s.createtxg < span.last then facts.to_send[s.guid or s] = true end
    end
  end
  return facts
end

-- The names of own snapshots, and why some of them stay although no rule of the policy names them (by their places in the list). As it is before the hook
-- is asked, which is given the same tables and could change what is in them. All snapshots of all datasets come by here: nothing is called for each.
local function protections(facts, own)
  local names, protected, common_guid, to_send = {}, {}, facts.common_guid or false, facts.to_send
  local origins = next(facts.origins) and facts.origins
  for i = 1, #own do
    local s = own[i]
    local name, guid = s.name, s.guid
    names[i] = name
    if guid == common_guid then
      protected[i] = "the newest one that both sides have"
    elseif s.userrefs > 0 then
      protected[i] = "held"
    elseif origins and origins[s.dataset .. "@" .. name] then
      protected[i] = "the origin of a clone"
    elseif to_send[guid or s] then
      protected[i] = "still to be sent"
    end
  end
  if own[1] then protected[#own] = "the newest of this backup" end
  return names, protected
end

--- What of one dataset may be destroyed on one side.
-- @param run the run; @param side "source" or "target"; @param pair the pair
-- @return { destroy = array of own snapshots, oldest first, names = array of the parts after their `@`, own = all of them, reasons = { [snapshot] = the
--   policy's }, protected = { [place in own] = what protects that one in any case } }
-- @raise policy: a hook failed, so nothing of this dataset is destroyed; clock: it is earlier than the newest snapshot
function plan.thin(run, side, pair)
  local ds = side == "source" and pair.source or pair.target
  -- Nothing that a hook did to a snapshot's table earlier may weaken what protects it.
  if pair.source then pair.source:forget() end
  if pair.target then pair.target:forget() end
  local own = ds:own_snapshots()
  local newest = own[#own]
  if newest and newest.time > run.now then
    errors.fail("clock", "the clock is earlier than the newest snapshot %s@%s, so nothing of it is destroyed", ds.name, newest.name)
  end
  local names, protected = protections(thin_facts(run[side], pair, common.newest(pair), own), own)
  local reasons = plan.keep(run, side, pair, own)
  local destroy, doomed = {}, {}
  for i, s in ipairs(own) do
    if not reasons[s] and not protected[i] then destroy[#destroy + 1], doomed[#doomed + 1] = s, names[i] end
  end
  local share = run.options.max_destroy
  if share and #destroy * 100 > share * #own then
    errors.fail("policy", "%d of %d snapshots of %s would be destroyed, more than --max-destroy %d allows", #destroy, #own, ds.name, share)
  end
  return { destroy = destroy, names = doomed, own = own, reasons = reasons, protected = protected }
end

--- Which holds and bookmarks are due once a pair is in step: the newest common snapshot is held on both sides, older ones no longer.
-- @param run the run; @param pair the pair
-- @return nil without a common snapshot, else { common, hold = { source, target }, old = { source = array, target = array },
--   bookmarks = array of ours that are older }
function plan.settle(run, pair)
  local newest = common.newest(pair)
  if not newest or not newest.to.guid then return nil end
  local due = { common = newest, hold = {}, old = { source = {}, target = {} }, bookmarks = {} }
  if newest.from.kind ~= "#" and newest.from.userrefs == 0 and not run.options.no_holds then due.hold.source = newest.from end
  if newest.to.userrefs == 0 then due.hold.target = newest.to end
  local function older(ds, limit, list)
    for _, s in ipairs(ds:held()) do
      if s.createtxg < limit then list[#list + 1] = s end
    end
  end
  older(pair.source, newest.from.createtxg, due.old.source)
  older(pair.target, newest.to.createtxg, due.old.target)
  for _, b in ipairs(pair.source:bookmarks()) do
    if plan.is_our_bookmark(run, b.name) and b.guid ~= newest.to.guid and b.createtxg < newest.from.createtxg then
      due.bookmarks[#due.bookmarks + 1] = b
    end
  end
  return due
end

--- The bookmark that stands for a snapshot as a base of this target. @param run the run; @param name the snapshot's, after the `@`; @return text
function plan.bookmark_name(run, name) return name .. ":" .. run.id end

--- Whether a bookmark is one of this target. @param run the run; @param name after the `#`; @return boolean
function plan.is_our_bookmark(run, name) return name:find(":" .. run.id, 1, true) == #name - #run.id end

return plan
