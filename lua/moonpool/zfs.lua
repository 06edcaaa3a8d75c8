--- The vocabulary of zfs: names, and command lines as arrays of arguments. Pure: nothing here runs anything.
--
-- What the commands print is read by moonpool.zfs.parse, sizes and durations by moonpool.zfs.units; their functions are
-- found here too, so that callers need one name: `zfs.parse_get`, `zfs.format_bytes`.
--
-- Builders take one table; a field they do not know is an error, as a misspelt one would silently change what is done.

local errors = require "moonpool.error"
local parse = require "moonpool.zfs.parse"
local units = require "moonpool.zfs.units"

local zfs = {}

for _, part in ipairs { parse, units } do
  for name, fn in pairs(part) do zfs[name] = fn end
end

-- ---- names ----------------------------------------------------------------------------------------------

-- OpenZFS: ZFS_MAX_DATASET_NAME_LEN is 256 with the terminating NUL.
local MAX_NAME_BYTES = 255

--- The pool of a dataset, snapshot or bookmark.
-- @param name such as "tank/a@x"; @return the part before the first `/`, `@` or `#`
-- @example zfs.pool "tank/a@x" --> "tank"
function zfs.pool(name) return (name:match "^[^/@#]*") end

--- Cuts a name into its dataset and what is behind it.
-- @param name of a dataset, snapshot or bookmark
-- @return dataset; then "@" or "#" and the name after it, or nothing for a dataset
-- @example zfs.split_snapshot "tank/a@x" --> "tank/a", "@", "x"
function zfs.split_snapshot(name)
  local dataset, sep, rest = name:match "^([^@#]*)([@#])(.*)$"
  if not dataset then return name end
  return dataset, sep, rest
end

--- The dataset above a dataset.
-- @param name of a dataset; @return its parent's name, or nil for a pool
-- @example zfs.parent "tank/a/b" --> "tank/a"
function zfs.parent(name) return name:match "^(.*)/[^/]*$" end

--- Whether a dataset is below another one, by component: `tank/ab` is not below `tank/a`, and nothing is below itself.
-- @param name, ancestor of datasets; @return boolean
-- @example zfs.is_below("tank/a/b", "tank") --> true
function zfs.is_below(name, ancestor) return name:sub(1, #ancestor + 1) == ancestor .. "/" end

-- What is wrong with the part of a name between delimiters, in the words of zfs; nil if nothing is.
local function component_fault(component)
  if component == "" then return "empty component or misplaced '@' or '#' delimiter in name" end
  if component == "." then return "self reference, '.' is found in name" end
  if component == ".." then return "parent reference, '..' is found in name" end
  -- '%' is in names that zfs makes for itself, such as `tank/a/%recv`; nobody else may use it.
  local bad = component:match "[^%w%-_.: ]"
  if bad then return ("invalid character %s in name"):format(bad) end
end

local function dataset_fault(name)
  if name:sub(1, 1) == "/" then return "leading slash in name" end
  if name:sub(-1) == "/" then return "trailing slash in name" end
  for component in (name .. "/"):gmatch "([^/]*)/" do
    local fault = component_fault(component)
    if fault then return fault end
  end
end

local UNEXPECTED = {
  ["@"] = "snapshot delimiter '@' is not expected here",
  ["#"] = "bookmark delimiter '#' is not expected here",
}
local WANTED = { dataset = "", snapshot = "@", bookmark = "#" }
local MISSING = {
  snapshot = "missing '@' delimiter in snapshot name",
  bookmark = "missing '#' delimiter in bookmark name",
}

--- Whether a name can be one of a dataset, by the rules of OpenZFS.
-- @param name any text; @param kind "dataset" (the default), "snapshot" or "bookmark"
-- @return true; or false and the fault in the words of zfs
-- @example zfs.valid_name "tank/a%b" --> false, "invalid character % in name"
function zfs.valid_name(name, kind)
  kind = kind or "dataset"
  local wanted = WANTED[kind]
  for _, sep in ipairs { "@", "#" } do
    if sep ~= wanted and name:find(sep, 1, true) then return false, UNEXPECTED[sep] end
  end
  local dataset, sep, rest = zfs.split_snapshot(name)
  if wanted ~= "" and not sep then return false, MISSING[kind] end
  if #name > MAX_NAME_BYTES then return false, "name is too long" end
  if rest and rest:find("[@#]") then return false, "multiple '@' and/or '#' delimiters in name" end
  -- OpenZFS says it so of any slash behind the delimiter (entity_namecheck).
  local slash_fault = rest and rest:find("/", 1, true) and "trailing slash in name"
  local fault = dataset_fault(dataset) or slash_fault or (rest and component_fault(rest))
  return fault == nil, fault
end

--- Whether a name can be one of a hold. @param tag any text; @return true, or false and the fault
function zfs.valid_tag(tag)
  if tag:sub(1, 1) == "." then return false, "tag may not start with '.'" end
  if tag == "" or #tag > MAX_NAME_BYTES then return false, "tag is empty or too long" end
  return true
end

--- Whether a name is one of a property that users make up: with a colon, in lower case.
-- @param name any text; @return boolean
-- @example zfs.is_user_property "autobackup:nas" --> true
function zfs.is_user_property(name)
  return #name <= MAX_NAME_BYTES and name:find(":", 1, true) ~= nil and not name:find "[^%l%d%-_.:]"
end

--- Whether a name can be one of a property: a native one, of space or written, or a user's.
-- @param name any text; @return boolean
function zfs.valid_property(name)
  return name:find "^%l[%l%d_]*$" ~= nil or name:find "^%l[%l%d_]*[@#]." ~= nil or zfs.is_user_property(name)
end

--- Bytes of the arguments of one command: below sshd's limit of 128 KiB for one exec string, and far below ARG_MAX.
zfs.MAX_ARGUMENT_BYTES = 100000

--- Bytes of the names in one `zfs destroy`: they are one argument, which may have at most 128 KiB.
zfs.MAX_DESTROY_BYTES = 60000

--- Cuts a list of arguments into lists that fit on a command line.
-- @param names array; @param max_bytes of one list, each name counted with its quotes and the space between
-- @param per_pool true: a list never mixes pools (names are then full names, already in the order of their pools)
-- @return iterator over arrays, none of them empty
-- @example for batch in zfs.batches(snapshots, 100000) do host:run(zfs.holds_argv(batch)) end
function zfs.batches(names, max_bytes, per_pool)
  local at = 1
  return function()
    if at > #names then return nil end
    local batch, bytes, pool = {}, 0, per_pool and zfs.pool(names[at])
    while names[at] and (not per_pool or zfs.pool(names[at]) == pool) do
      bytes = bytes + #names[at] + 3
      if #batch > 0 and bytes > max_bytes then break end
      batch[#batch + 1] = names[at]
      at = at + 1
    end
    return batch
  end
end

-- ---- command lines --------------------------------------------------------------------------------------

-- Refuses fields that a builder does not know.
local function check_fields(builder, given, known)
  for field in pairs(given) do
    if not known[field] then
      errors.fail("invalid", "zfs.%s: unknown field '%s'", builder, tostring(field))
    end
  end
end

local function set_of(text)
  local set = {}
  for word in text:gmatch "%S+" do set[word] = true end
  return set
end

-- Where flags are facts: field of the table -> option of the command. A flag that takes a value is written with "=".
local FLAGS = {
  list_argv = { "recursive", "-r", "depth=", "-d", "types,", "-t", "columns,", "-o", "sort=", "-s", "sort_down=", "-S" },
  get_argv = { "recursive", "-r", "depth=", "-d", "types,", "-t", "sources,", "-s" },
  send_argv = {
    "dry", "-n", "verbose", "-v", "parsable", "-P", "replicate", "-R", "raw", "-w", "props", "-p", "large_blocks", "-L",
    "embed", "-e", "compressed", "-c", "backup", "-b", "token=", "-t",
  },
  receive_argv = { "dry", "-n", "verbose", "-v", "unmounted", "-u", "resumable", "-s", "force", "-F", "abort", "-A" },
  create_argv = { "parents", "-p", "unmounted", "-u", "sparse", "-s", "volsize=", "-V" },
  destroy_argv = { "recursive", "-r", "clones", "-R", "defer", "-d", "dry", "-n", "verbose", "-v", "parsable", "-p" },
}

-- Appends the options that `given` asks for, in the order of the table.
local function add_flags(argv, builder, given)
  local flags = FLAGS[builder]
  for i = 1, #flags, 2 do
    local field, kind = flags[i]:match "^([%l_]+)(.?)$"
    local value = given[field]
    if value then
      argv[#argv + 1] = flags[i + 1]
      if kind == "," then
        argv[#argv + 1] = table.concat(value, ",")
      elseif kind == "=" then
        argv[#argv + 1] = math.type(value) == "integer" and ("%d"):format(value) or tostring(value)
      end
    end
  end
  return argv
end

local function known_fields(builder, more)
  local known = set_of(more)
  for i = 1, #FLAGS[builder], 2 do known[FLAGS[builder][i]:match "^[%l_]+"] = true end
  return known
end

local KNOWN = {
  list_argv = known_fields("list_argv", "datasets"),
  get_argv = known_fields("get_argv", "datasets properties"),
  send_argv = known_fields("send_argv", "to from incremental_all"),
  receive_argv = known_fields("receive_argv", "target set exclude"),
  create_argv = known_fields("create_argv", "dataset set"),
  destroy_argv = known_fields("destroy_argv", ""),
}

local function start(builder, given, ...)
  check_fields(builder, given, KNOWN[builder])
  return add_flags({ "zfs", ... }, builder, given)
end

local function add_all(argv, names) return table.move(names or {}, 1, #(names or {}), #argv + 1, argv) end

-- `-o name=value` for each property, sorted so that a command is the same whenever it is built.
local function add_properties(argv, set)
  local names = {}
  for name in pairs(set or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do add_all(argv, { "-o", ("%s=%s"):format(name, set[name]) }) end
  return argv
end

--- `zfs list -Hp`: numbers in full, tabs between columns, no header.
-- @param q { types = array, columns = array, datasets = array or nil for all, recursive = boolean, depth = levels, sort = column,
--   sort_down = column }
-- @return argv
-- @example zfs.list_argv { types = { "snapshot" }, columns = { "name", "guid" }, datasets = { "tank/a" }, depth = 1 }
function zfs.list_argv(q) return add_all(start("list_argv", q, "list", "-Hp"), q.datasets) end

-- The value comes last: it alone may have tabs and newlines in it.
local GET_COLUMNS = "name,property,source,value"

--- `zfs get -Hp`, for `zfs.parse_get` to read.
-- @param q { properties = array, types, sources = arrays, datasets = array or nil for all, recursive = boolean, depth = levels }
-- @return argv
-- @example zfs.get_argv { properties = { "written@x" }, datasets = { "tank/a" } }
function zfs.get_argv(q)
  local argv = start("get_argv", q, "get", "-Hp", "-o", GET_COLUMNS)
  argv[#argv + 1] = table.concat(q.properties, ",")
  return add_all(argv, q.datasets)
end

--- `zfs snapshot` of many datasets of one pool, in one transaction.
-- @param names array of full names; @param set properties of the new snapshots, or nil; @return argv
-- @example zfs.snapshot_argv { "tank/a@x", "tank/b@x" }
function zfs.snapshot_argv(names, set) return add_all(add_properties({ "zfs", "snapshot" }, set), names) end

-- A channel program that does something with each of a list, if all of it is possible, and else nothing. `call` has the arguments from an `item`.
local function all_or_nothing(items, verb, call)
  local lines = { "items = {" }
  for _, item in ipairs(items) do lines[#lines + 1] = item .. "," end
  lines[#lines + 1] = "}"
  for _, kind in ipairs { "check", "sync" } do
    lines[#lines + 1] = ("for _, item in ipairs(items) do local e = zfs.%s.%s(%s) if e ~= 0 then error(item[1] .. ': error ' .. e) end end")
      :format(kind, verb, call)
  end
  return table.concat(lines, "\n") .. "\n"
end

--- `zfs program` with a channel program from standard input, and room for a big one. Only root may run it. (zfs-program(8))
-- @param pool its name; @return argv
function zfs.program_argv(pool) return { "zfs", "program", "-j", "-m", "100000000", "-t", "100000000", pool, "-" } end

--- A channel program that takes snapshots: all of them in one transaction, however many. It changes nothing if one of them is not possible.
-- @param names array of full names, all of one pool
-- @return text for standard input
function zfs.snapshot_program(names)
  local items = {}
  for i, name in ipairs(names) do items[i] = ("{%q}"):format(name) end
  return all_or_nothing(items, "snapshot", "item[1]")
end

--- A channel program that makes bookmarks of snapshots; nothing if one of them is not possible.
-- @param list array of { snapshot, bookmark }: full names, all of one pool
-- @return text for standard input
function zfs.bookmark_program(list)
  local items = {}
  for i, item in ipairs(list) do items[i] = ("{%q, %q}"):format(item[1], item[2]) end
  return all_or_nothing(items, "bookmark", "item[1], item[2]")
end

--- `zfs bookmark`. @param snapshot full name; @param bookmark full name; @return argv
function zfs.bookmark_argv(snapshot, bookmark) return { "zfs", "bookmark", snapshot, bookmark } end

--- `zfs send`.
-- @param q { to = full name of the snapshot, from = snapshot or bookmark to start at, incremental_all = boolean (-I: with all snapshots
--   between), raw, large_blocks, embed, compressed, props, replicate = booleans }; or { token = resume token }; and dry, verbose,
--   parsable = booleans
-- @return argv
-- @example zfs.send_argv { to = "tank/a@y", from = "tank/a@x", incremental_all = true, props = true }
function zfs.send_argv(q)
  local argv = start("send_argv", q, "send")
  if q.from then add_all(argv, { q.incremental_all and "-I" or "-i", q.from }) end
  if q.to then argv[#argv + 1] = q.to end
  return argv
end

--- `zfs receive`.
-- @param q { target = dataset, unmounted, resumable, force = booleans, set = { [property] = value }, exclude = array of properties,
--   abort = boolean (drop a partial receive), dry, verbose = booleans }
-- @return argv
-- @example zfs.receive_argv { target = "back/a", unmounted = true, set = { canmount = "noauto" }, exclude = { "mountpoint" } }
function zfs.receive_argv(q)
  local argv = add_properties(start("receive_argv", q, "receive"), q.set)
  for _, name in ipairs(q.exclude or {}) do add_all(argv, { "-x", name }) end
  argv[#argv + 1] = q.target
  return argv
end

--- `zfs create` of a filesystem, or of a volume if there is a `volsize`.
-- @param q { dataset = name, parents = boolean, unmounted = boolean, set = { [property] = value }, volsize = bytes, sparse = boolean }
-- @return argv
-- @example zfs.create_argv { dataset = "back/nas", parents = true, set = { canmount = "off" } }
function zfs.create_argv(q)
  local argv = add_properties(start("create_argv", q, "create"), q.set)
  argv[#argv + 1] = q.dataset
  return argv
end

--- `zfs destroy` of snapshots of one dataset, in one transaction; of the dataset itself if no names are given.
-- @param dataset name; @param names array of the parts after the `@`, or nil; @param q { recursive, clones, defer, dry, verbose,
--   parsable = booleans } or nil
-- @return argv
-- @raise invalid: an empty array of names, which must never turn into the destroying of the dataset
-- @example zfs.destroy_argv("tank/a", { "x", "y" }) --> { "zfs", "destroy", "tank/a@x,y" }
function zfs.destroy_argv(dataset, names, q)
  if names and #names == 0 then
    errors.fail("invalid", "zfs.destroy_argv: no snapshots of %s are named", dataset)
  end
  local argv = start("destroy_argv", q or {}, "destroy")
  argv[#argv + 1] = names and dataset .. "@" .. table.concat(names, ",") or dataset
  return argv
end

--- `zfs hold`. @param tag name of the hold; @param names full names of snapshots; @return argv
function zfs.hold_argv(tag, names) return add_all({ "zfs", "hold", tag }, names) end

--- `zfs release`. @param tag name of the hold; @param names full names of snapshots; @return argv
function zfs.release_argv(tag, names) return add_all({ "zfs", "release", tag }, names) end

--- `zfs holds`, for `zfs.parse_holds` to read. @param names full names of snapshots; @return argv
function zfs.holds_argv(names) return add_all({ "zfs", "holds", "-H" }, names) end

return zfs
