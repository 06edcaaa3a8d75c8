--- The verb `send` of the simulator.
--
-- A stream is a table: `items`, one for each snapshot in it; `many`, whether -I or -R made it, of however many; and `bytes`, its
-- length. Nothing of a dataset's content is in it but how much there is; that is enough to cut it, to count it, and to run out
-- of space with it.

local machines = require "moonpool.sim.machine"
local native = require "moonpool.sim.native"
local properties = require "moonpool.sim.properties"
local space = require "moonpool.sim.space"
local token = require "moonpool.sim.token"
local zfs = require "moonpool.zfs"

local verbs = {}

local full_name = machines.full_name

-- ---- one snapshot in a stream ---------------------------------------------------------------------------

-- Never sent: what the dataset is itself, or what only the receiving side can know.
local NOT_SENT = { volsize = true, keylocation = true, volblocksize = true }

-- The properties that -p adds: those set or received on the dataset itself.
local function sent_properties(ds)
  local list = {}
  for name, set in pairs(ds.props) do
    local p = native.by_name[name]
    local value = set["local"]
    if value == nil and not set.cleared then value = set.received end
    if value ~= nil and not NOT_SENT[name] and (not p or p.edit ~= "ro") then list[name] = value end
  end
  return list
end

-- Which features the stream needs; the token tells them.
local function flags_of(c, ds)
  local raw = c.opts.w and ds.crypt ~= nil
  local recordsize = ds.type == "filesystem" and properties.get(ds, "recordsize") or 0
  return {
    rawok = raw or nil,
    compressok = (raw or c.opts.c) and true or nil,
    embedok = c.opts.e and not ds.crypt and true or nil,
    largeblockok = (c.opts.L or raw) and recordsize > 131072 and true or nil,
  }
end

-- The stream of one snapshot, from `from` (snapshot or bookmark) or in full.
local function make_item(c, to, from, flags)
  local ds = to.dataset
  local stats = space.stats(ds).snapshot[to]
  local changed = from and space.written_between(ds, from, to) or stats.referenced
  local item = {
    toname = full_name(to), toguid = to.guid, short = to.short, creation = to.creation,
    fromname = from and full_name(from), fromguid = from and from.guid, clone = from and from.dataset ~= ds or nil,
    written = changed, referenced = stats.referenced, bytes = changed + 2 * token.RECORD_BYTES,
    type = ds.type, letter = ds.letter, volsize = ds.props.volsize and ds.props.volsize["local"], flags = flags, snapshot_props = {},
  }
  if flags.rawok then item.crypt = { cipher = ds.crypt.cipher, format = ds.crypt.root.key.format } end
  if c.opts.p or c.opts.R then
    item.props = sent_properties(ds)
    for name, set in pairs(to.props) do item.snapshot_props[name] = set["local"] end
  end
  return item
end

-- ---- what the arguments mean ----------------------------------------------------------------------------

-- Where an incremental starts: "@x", "#x", "x" or a full name.
local function find_base(c, text, to)
  local name = text
  if text:find "^[@#]" then
    name = to.dataset.name .. text
  elseif not text:find "[@#/]" then
    c:warn "Warning: incremental source didn't specify type, assuming snapshot. Use '@' or '#' prefix to avoid ambiguity."
    name = to.dataset.name .. "@" .. text
  end
  local from = c.machine:find(name)
  if not from and name:find("#", 1, true) then c:fail(1, "warning: cannot send '%s': No such process", full_name(to)) end
  if not from then c:fail(1, "cannot open '%s': dataset does not exist", name) end
  return from
end

-- Whether a dataset is, or comes from, the dataset that a base belongs to.
local function descends(ds, from)
  local origin = ds.origin
  return from.dataset == ds or (origin ~= nil and (origin.guid == from.guid or descends(origin.dataset, from)))
end

local function check_base(c, to, from)
  if not descends(to.dataset, from) or from.createtxg >= to.createtxg then
    c:fail(1, "warning: cannot send '%s': not an earlier snapshot from the same fs", full_name(to))
  end
end

-- The steps of -I: every snapshot after the base, which may be a clone's origin, up to the last one.
local function all_steps(c, to, from)
  if from.kind == "#" then c:fail(1, "Error: multiple snapshots cannot be sent from a bookmark.") end
  if from.dataset ~= to.dataset and from ~= to.dataset.origin or from.createtxg >= to.createtxg then
    if c.opts.P then c:print "size\t0" end
    c:fail(1, "WARNING: could not send %s:\nincremental source (%s) does not exist", full_name(to), full_name(from))
  end
  local steps, last = {}, from
  for _, s in ipairs(to.dataset.snapshots) do
    if s.createtxg > from.createtxg and s.createtxg <= to.createtxg then
      -- From its origin zfs calls it full.
      steps[#steps + 1] = { to = s, from = last, label = last.dataset == to.dataset and last.short or nil }
      last = s
    end
  end
  return steps
end

-- The steps of -R for one dataset: all its snapshots up to that of the given name, from the base's name if it has that.
local function replicate_steps(ds, short, base)
  local last_wanted, steps, from = ds.snapshot[short], {}, base and ds.snapshot[base]
  if not last_wanted then return steps end
  for _, s in ipairs(ds.snapshots) do
    if s.createtxg <= last_wanted.createtxg and (not from or s.createtxg > from.createtxg) then
      local before = from or ds.origin
      steps[#steps + 1] = { to = s, from = before, label = before and before.short }
      from = s
    end
  end
  return steps
end

local function steps_of(c, to)
  local base_text = c:value "I" or c:value "i"
  local base = base_text and find_base(c, base_text, to)
  if c.opts.R then
    local steps = replicate_steps(to.dataset, to.short, base and base.short)
    for _, ds in ipairs(c.machine:below(to.dataset)) do
      local own = replicate_steps(ds, to.short, base and base.short)
      for _, step in ipairs(own) do step.below = ds.name:sub(#to.dataset.name + 1) end
      table.move(own, 1, #own, #steps + 1, steps)
    end
    return steps
  end
  if not base then return { { to = to } } end
  if c.opts.I then return all_steps(c, to, base) end
  check_base(c, to, base)
  return { { to = to, from = base, label = full_name(base) } }
end

-- ---- what is said ---------------------------------------------------------------------------------------

local function say_item(c, item, label)
  if c.opts.P then
    local size = ("%d"):format(item.bytes)
    c:row(label and { "incremental", label, item.toname, size } or { "full", item.toname, size })
  elseif label then
    c:print("send from %s to %s estimated size is %s", label, item.toname, zfs.format_bytes(item.bytes))
  else
    c:print("full send of %s estimated size is %s", item.toname, zfs.format_bytes(item.bytes))
  end
end

local function say_estimate(c, items, labels)
  if not (c.opts.v or c.opts.P) then return end
  local total = 0
  for i, item in ipairs(items) do
    say_item(c, item, labels[i])
    total = total + item.bytes
  end
  if c.opts.P then c:print("size\t%d", total) else c:print("total estimated size is %s", zfs.format_bytes(total)) end
  -- Without -n standard output is the stream's.
  if not c.opts.n then
    table.move(c.out, 1, #c.out, #c.err + 1, c.err)
    c.out = {}
  end
end

-- ---- send -----------------------------------------------------------------------------------------------

local function check_encryption(c, ds, name)
  if not ds.crypt or c.opts.w then return end
  if c.opts.p or c.opts.R then
    c:warn("cannot send %s: encrypted dataset %s may not be sent with properties without the raw flag", name, ds.name)
    c:fail(1, "warning: cannot send '%s': backup failed", name)
  end
  if not ds.crypt.root.key.loaded and not c.opts.n then c:fail(1, "warning: cannot send '%s': dataset key must be loaded", name) end
end

local function send_stream(c, items, labels)
  say_estimate(c, items, labels)
  if c.opts.n then return end
  local bytes = 0
  for _, item in ipairs(items) do bytes = bytes + item.bytes end
  c.stream = { items = items, bytes = bytes, many = (c.opts.I or c.opts.R) ~= nil }
end

local function by_guid(ds, guid)
  for _, s in ipairs(ds and ds.snapshots or {}) do
    if s.guid == guid then return s end
  end
end

-- The stream from where a partial receive stopped.
local function resume(c)
  local fields, fault = token.decode(c:value "t")
  if not fields then c:fail(255, "cannot resume send: %s", fault) end
  if (c.opts.v or c.opts.P) and c.opts.n then
    for _, line in ipairs(token.describe(fields)) do c:print("%s", line) end
  end
  local ds = c.machine.datasets[zfs.split_snapshot(fields.toname)]
  local to = by_guid(ds, fields.toguid)
  if not to then c:fail(255, "cannot resume send: '%s' used in the initial send no longer exists", fields.toname) end
  local from
  if fields.fromguid then
    from = by_guid(ds, fields.fromguid)
    if not from and ds.origin and ds.origin.guid == fields.fromguid then from = ds.origin end
    for _, b in pairs(ds.bookmarks) do
      if not from and b.guid == fields.fromguid then from = b end
    end
    if not from then c:fail(255, "cannot resume send: incremental source 0x%x no longer exists", fields.fromguid) end
  end
  c.opts.w = fields.rawok and {} or nil
  check_encryption(c, ds, full_name(to))
  local flags = { rawok = fields.rawok, compressok = fields.compressok, embedok = fields.embedok, largeblockok = fields.largeblockok }
  local item = make_item(c, to, from, flags)
  item.resumed = fields.bytes
  item.bytes = math.max(item.bytes - fields.bytes, 0) + 2 * token.RECORD_BYTES
  send_stream(c, { item }, { item.fromname })
end

local function send(c)
  if c.opts.t then return resume(c) end
  c:expect(1, 1, "snapshot")
  local to = c:open(c.args[1])
  if to.kind ~= "@" then c:fail(1, "warning: cannot send '%s': Invalid argument", c.args[1]) end
  local items, labels = {}, {}
  for i, step in ipairs(steps_of(c, to)) do
    local ds = step.to.dataset
    check_encryption(c, ds, full_name(step.to))
    items[i] = make_item(c, step.to, step.from, flags_of(c, ds))
    items[i].below, labels[i] = step.below or "", step.label
  end
  send_stream(c, items, labels)
end

verbs.send = {
  options = "DLPbcehnpsVvwRi:I:t:X:", reads = true, run = send,
  long = {
    replicate = "R", props = "p", parsable = "P", ["dry-run"] = "n", verbose = "v", ["large-block"] = "L", embed = "e",
    compressed = "c", raw = "w", ["resume-token"] = "t", backup = "b", holds = "h", dedup = "D",
  },
  usage = "send [-DLPbcehnpsVvw] [-i|-I snapshot]\n\t     [-R [-X dataset[,dataset]...]]     <snapshot>\n"
    .. "\tsend [-DnVvPLecw] [-i snapshot|bookmark] <filesystem|volume|snapshot>\n\tsend [-nVvPe] -t <receive_resume_token>",
}

return verbs
