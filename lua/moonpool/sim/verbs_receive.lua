--- The verb `receive` of the simulator: what a stream does to a dataset, and everything that zfs may have against it.

local birth = require "moonpool.sim.birth"
local machines = require "moonpool.sim.machine"
local properties = require "moonpool.sim.properties"
local space = require "moonpool.sim.space"
local token = require "moonpool.sim.token"
local zfs = require "moonpool.zfs"

local verbs = {}

-- ---- where it goes --------------------------------------------------------------------------------------

-- What an error is about: the words change with the stream.
local function label_of(item)
  if item.resumed then return "cannot receive resume stream" end
  return item.fromguid and not item.clone and "cannot receive incremental stream" or "cannot receive new filesystem stream"
end

-- The dataset and the snapshot's name that an item goes to: -d and -e take parts of the sent name.
local function destination(c, item)
  local target, _, short = zfs.split_snapshot(c.args[1])
  local sent = zfs.split_snapshot(item.toname)
  if c.opts.d or c.opts.e then
    if not c.machine.datasets[target] then c:fail(1, "cannot receive: specified fs (%s) does not exist", target) end
    local tail = c.opts.d and sent:match "^[^/]*/?(.*)$" or sent:match "[^/]*$"
    return tail == "" and target or target .. "/" .. tail, item.short
  end
  return target .. (item.below or ""), short or item.short
end

-- ---- properties given with -o and -x --------------------------------------------------------------------

local function given_properties(c, item)
  local given, seen = { set = {}, exclude = {} }, {}
  for _, option in ipairs(c.order) do
    local name, value = option.value:match "^([^=]+)=?(.*)$"
    if seen[name] then c:usage("property '%s' specified multiple times", name) end
    seen[name] = true
    if option.letter == "o" then
      local checked, fault = properties.check(c.machine, item.letter, name, value, true)
      if fault and fault:find "^invalid property" then c:fail(1, "%scannot receive: %s", c.machine:before_2_2() and "" or "cannot receive: ", fault) end
      if fault then
        c:fail(1, "%s: %s", label_of(item), (fault:gsub("^'", "property '", 1)))
      end
      given.set[name] = checked
    else
      given.exclude[#given.exclude + 1] = name
    end
  end
  return given
end

-- What the stream says of properties becomes received values; those it no longer has go.
local function apply_properties(ds, item, given)
  if item.props then
    for name, set in pairs(ds.props) do
      if set.received ~= nil and item.props[name] == nil then set.received, set.cleared = nil, nil end
    end
    for name, value in pairs(item.props) do properties.set(ds, name, value, "received") end
  end
  for _, name in ipairs(given.exclude) do properties.exclude(ds, name) end
  for name, value in pairs(given.set) do properties.set(ds, name, value, "local") end
  if item.volsize then properties.set(ds, "volsize", item.volsize, "local") end
end

-- ---- what speaks against it -----------------------------------------------------------------------------

local PARTIAL = "%s: destination %s contains partially-complete state from \"zfs receive -s\"."

-- With -d what is missing below the named dataset is made, as `zfs create` would.
local function make_parents(c, name)
  local above = zfs.parent(name)
  if not above or c.machine.datasets[above] then return end
  make_parents(c, above)
  birth.mount(birth.encrypt(c.machine:add_dataset(above, "filesystem")))
end

local function check_parent(c, item, name)
  local parent = zfs.parent(name)
  if c.opts.d and not c.opts.n then make_parents(c, name) end
  local above = parent and c.machine.datasets[parent]
  if not above then
    c:warn("cannot open '%s': dataset does not exist", parent or name)
    c:fail(1, "%s: unable to restore to destination", label_of(item))
  end
  if above.type ~= "filesystem" then c:fail(1, "%s: parent '%s' is not a filesystem", label_of(item), parent) end
  if not item.flags.rawok and above.crypt and not above.crypt.root.key.loaded then
    c:fail(1, "%s: inherited key must be loaded", label_of(item))
  end
end

-- A full stream onto a dataset that is there.
local function check_overwrite(c, item, ds)
  local label = label_of(item)
  if not c.opts.F then c:fail(1, "%s: destination '%s' exists\nmust specify -F to overwrite it", label, ds.name) end
  if ds.partial then c:fail(1, PARTIAL, label, ds.name) end
  if #ds.snapshots > 0 then
    c:fail(1, "%s: destination has snapshots (eg. %s)\nmust destroy them to overwrite it", label, machines.full_name(ds.snapshots[1]))
  end
  if ds.origin then c:fail(1, "%s: destination '%s' is a clone\nmust destroy it to overwrite it", label, ds.name) end
end

local function check_crypt(c, item, ds)
  local label = label_of(item)
  if item.flags.rawok and not ds.crypt then
    c:fail(1, "%s: cannot perform raw receive on top of existing unencrypted dataset", label)
  end
  if not item.flags.rawok and ds.crypt and not ds.crypt.root.key.loaded then c:fail(1, "%s: inherited key must be loaded", label) end
end

local function with_guid(ds, guid)
  for _, s in ipairs(ds.snapshots) do
    if s.guid == guid then return s end
  end
end

local function check_newer(c, item, ds, base)
  for _, s in ipairs(ds.snapshots) do
    if s.createtxg > base.createtxg and (s.userrefs > 0 or next(s.clones)) then
      c:fail(1, "%s: dataset is busy", label_of(item))
    end
  end
end

-- An incremental stream: returns the snapshot it builds on, or nil if what it brings is there already.
local function check_incremental(c, item, ds, short)
  local label = label_of(item)
  local there, base = ds.snapshot[short], with_guid(ds, item.fromguid)
  if (there or not base) and with_guid(ds, item.toguid) then
    if c.opts.v then c:print("snap %s@%s already exists; ignoring", ds.name, short) end
    return nil
  end
  if there then c:fail(1, "cannot restore to %s@%s: destination already exists", ds.name, short) end
  if ds.partial and not item.resumed then c:fail(1, PARTIAL, label, ds.name) end
  if not base then c:fail(1, "%s: most recent snapshot of %s does not\nmatch incremental source", label, ds.name) end
  check_crypt(c, item, ds)
  if c.opts.F then
    check_newer(c, item, ds, base)
  elseif ds.version ~= base.version or (item.flags.rawok and ds.snapshots[#ds.snapshots] ~= base) then
    c:fail(1, "%s: destination %s has been modified\nsince most recent snapshot", label, ds.name)
  end
  return base
end

-- A resumed stream needs the state that it goes on from.
local function check_resumed(c, item, ds)
  local label = label_of(item)
  if ds.partial and ds.partial.toguid == item.toguid then return end
  if not item.fromguid then
    c:fail(1, "%s: Resuming recv on existing destination '%s'\nmust specify -F to overwrite it", label, ds.name)
  end
  c:fail(1, "%s: kernel modules must be upgraded to receive this stream.", label)
end

-- ---- the bytes ------------------------------------------------------------------------------------------

-- Keeps what came of a stream that broke off, if -s asked for it and there is something to keep.
local function keep_partial(c, item, ds, came, is_new)
  if not c.opts.s or came <= token.RECORD_BYTES then
    if is_new then c.machine:remove_dataset(ds) end
    return false
  end
  local before = item.resumed or 0
  local fields = {
    toname = item.toname, toguid = item.toguid, fromguid = item.fromguid, object = 2, offset = 0, bytes = before + came - token.RECORD_BYTES,
  }
  for flag in pairs(item.flags) do fields[flag] = true end
  ds.partial = {
    first = is_new or (ds.partial and ds.partial.first) or nil, bytes = fields.bytes, toguid = item.toguid, fromguid = item.fromguid,
    token = token.encode(fields),
  }
  return true
end

local function broken_off(c, item, ds, came, is_new)
  if not keep_partial(c, item, ds, came, is_new) then
    c:fail(1, "%s: incomplete stream", label_of(item))
  end
  c:warn("%s: checksum mismatch or incomplete stream.\nPartially received snapshot is saved.", label_of(item))
  c:fail(1, "A resuming stream can be generated on the sending system by running:\n    zfs send -t %s", ds.partial.token)
end

local function check_space(c, item, ds, is_new)
  local available, quota = properties.available(ds)
  local here = ds.partial and ds.partial.bytes or 0
  local short = item.written - here - available
  if short <= 0 then return end
  local came = math.max(item.bytes - short, 0)
  keep_partial(c, item, ds, came, is_new)
  if quota then c:fail(1, "%s: destination %s space quota exceeded.", label_of(item), ds.name) end
  c:fail(1, "%s: out of space", label_of(item))
end

-- Goes back to the base of a forced receive.
local function roll_back(c, ds, base, txg)
  for i = #ds.snapshots, 1, -1 do
    if ds.snapshots[i].createtxg > base.createtxg then c.machine:remove_snapshot(ds.snapshots[i]) end
  end
  space.rollback(ds, base, txg)
end

-- The whole of an item has come: its snapshot appears.
local function complete(c, item, ds, short, base)
  local txg = c.world:next_txg()
  if base and c.opts.F then roll_back(c, ds, base, txg) end
  local stats = space.stats(ds)
  if base or ds.origin then
    space.free(ds, math.max(stats.referenced + item.written - item.referenced, 0), txg)
  else
    ds.extents, ds.inherited = {}, 0
  end
  space.write(ds, item.written, c.world:next_txg())
  ds.version = c.world:new_id()
  local props = {}
  for name, value in pairs(item.snapshot_props) do props[name] = { received = value } end
  c.machine:add_snapshot(ds, short, c.world:next_txg(), { guid = item.toguid, creation = item.creation, props = props })
  ds.partial = nil
end

-- ---- one item -------------------------------------------------------------------------------------------

local function check_pool(c, item, name)
  local pool = c.machine.pools[zfs.pool(name)]
  if c.opts.s and pool and not pool.features.extensible_dataset then
    c:fail(1, "%s: pool must be upgraded to receive this stream.", label_of(item))
  end
end

-- The dataset that an item goes to as it is now; nil if it is to be made. Ends the command if zfs would refuse.
local function existing(c, item, name)
  local ds = c.machine.datasets[name]
  if not ds and (item.fromguid and not item.clone or item.resumed) then
    c:fail(1, "%s: destination '%s' does not exist", label_of(item), name)
  end
  if not ds then
    check_parent(c, item, name)
  elseif item.resumed then
    check_resumed(c, item, ds)
  elseif not item.fromguid then
    check_overwrite(c, item, ds)
  end
  return ds
end

-- The snapshot in the target's pool that a stream of a clone builds on.
local function origin_of(c, item, name)
  for _, ds in ipairs(c.machine:all()) do
    local found = zfs.pool(ds.name) == zfs.pool(name) and with_guid(ds, item.fromguid)
    if found then return found end
  end
  c:fail(1, "%s: local origin for clone %s does not exist", label_of(item), name)
end

local function make_dataset(c, item, name)
  local ds = c.machine:add_dataset(name, item.type, item.clone and origin_of(c, item, name) or nil)
  if item.crypt then
    ds.crypt = { cipher = item.crypt.cipher, root = ds }
    ds.key = { format = item.crypt.format, loaded = false }
    properties.set(ds, "keylocation", "prompt", "local")
  end
  return birth.encrypt(ds)
end

local function say_received(c, bytes)
  if c.opts.v then c:print("received %s stream in 0.10 seconds (%s/sec)", zfs.format_bytes(bytes), zfs.format_bytes(bytes * 10)) end
end

-- Whether zfs reads on behind the end of an item that was there already: 2.0 and 2.1 do if nothing is in it, and so lose the next item.
local function reads_too_far(c, item) return item.written == 0 and c.machine:before_2_2() end

-- Receives one item of which `came` bytes arrive. Returns whether it was there already.
local function receive_item(c, item, came)
  local name, short = destination(c, item)
  local given = given_properties(c, item)
  local valid, fault = zfs.valid_name(name)
  if not valid then c:fail(1, "%s: %s", label_of(item), fault:find "invalid character %%" and "invalid backup stream" or fault) end
  local ds = existing(c, item, name)
  check_pool(c, item, name)
  if c.opts.v then
    local kind = item.fromguid and "incremental" or "full"
    c:print("%s %s stream of %s into %s@%s", c.opts.n and "would receive" or "receiving", kind, item.toname, name, short)
  end
  if c.opts.n then return end
  local base
  if item.fromguid and ds and not (item.resumed and ds.partial.first) then
    base = check_incremental(c, item, ds, short)
    if not base then
      if reads_too_far(c, item) and not c.input.many then
        c:warn "cannot receive: failed to read from stream"
        c:fail(1, "cannot restore to %s@%s: destination already exists", name, short)
      end
      say_received(c, 0)
      return true
    end
  end
  local is_new = ds == nil
  ds = ds or make_dataset(c, item, name)
  if came < item.bytes then broken_off(c, item, ds, came, is_new) end
  check_space(c, item, ds, is_new)
  complete(c, item, ds, short, base)
  apply_properties(ds, item, given)
  if is_new and not c.opts.u then birth.mount(ds) end
  say_received(c, item.bytes)
  return false
end

-- ---- receive --------------------------------------------------------------------------------------------

local function abort(c)
  local name = c.args[1]
  local ds = c.machine.datasets[name]
  if not ds then
    local _, fault = zfs.valid_name(name)
    c:warn("cannot open '%s': %s", name, fault or "dataset does not exist")
    c:usage()
  end
  if not ds.partial then c:fail(1, "'%s' does not have any resumable receive state to abort", name) end
  local first = ds.partial.first
  if first and next(ds.children) then c:fail(1, "cannot destroy '%s': dataset already exists", name) end
  ds.partial = nil
  if first then c.machine:remove_dataset(ds) end
end

local function receive(c)
  c:expect(1, 1, c.opts.A and "dataset" or "snapshot")
  if c.opts.A then return abort(c) end
  local stream = type(c.input) == "table" and c.input or nil
  local left = stream and math.min(stream.cut or stream.bytes, stream.bytes) or 0
  if left < token.RECORD_BYTES then c:fail(1, "cannot receive: failed to read from stream") end
  local passing_over = false
  for i, item in ipairs(stream.items) do
    passing_over = not passing_over and receive_item(c, item, math.min(left, item.bytes)) and reads_too_far(c, item)
    left = left - item.bytes
    local is_last = i == #stream.items
    if passing_over and is_last or left <= 0 and not is_last then c:fail(1, "cannot receive: failed to read from stream") end
  end
end

verbs.receive = {
  options = "vMnsFhudeAo:x:", run = receive, reads = function(opts) return opts.n ~= nil end,
  usage = "receive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...\n\t    <filesystem|volume|snapshot>\n"
    .. "\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ... \n\t    [-d | -e] <filesystem>\n"
    .. "\treceive -A <filesystem|volume>",
}
verbs.recv = "receive"

return verbs
