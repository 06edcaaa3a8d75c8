--- The names that lines of the interactive loop have beside Lua's own: hosts, policies, plan, explain, listings, help.

local complete = require "moonpool.repl.complete"
local doc = require "moonpool.doc"
local errors = require "moonpool.error"
local host = require "moonpool.host"
local loader = require "moonpool.loader"
local log = require "moonpool.log"
local policy = require "moonpool.policy"
local run = require "moonpool.command.run"
local suggest = require "moonpool.suggest"
local zfs = require "moonpool.zfs"

local names = {}

local opened = {}

-- ---- hosts and what is on them --------------------------------------------------------------------------

local function open(destination, options)
  local h = host.open(destination, options)
  opened[#opened + 1] = h
  return h
end

--- The hosts that were opened here. @return array of { name, dry }
-- @example hosts()
function names.hosts()
  local list = {}
  for i, h in ipairs(opened) do list[i] = { name = h.name, dry = h.dry } end
  return list
end

-- A host, or the destination of one.
local function host_of(where)
  if type(where) == "table" and where.run then return where end
  return open(where)
end

--- The datasets of a host. @param root only this one and what is below it; nil: all
-- @param where a host, or a destination such as "root@nas"; nil: this machine
-- @return array of { name, type, used, available, referenced (bytes), mountpoint }; @raise what the command met
-- @example datasets("tank", "root@nas")
function names.datasets(root, where)
  local columns = { "name", "type", "used", "available", "referenced", "mountpoint" }
  local argv = { "zfs", "list", "-Hp", "-t", "filesystem,volume", "-o", table.concat(columns, ",") }
  if root then table.move({ "-r", root }, 1, 2, #argv + 1, argv) end
  local list = {}
  for line in host_of(where):run(argv).out:gmatch "[^\n]+" do
    local record, i = {}, 0
    for word in (line .. "\t"):gmatch "([^\t]*)\t" do
      i = i + 1
      record[columns[i]] = math.tointeger(tonumber(word)) or word
    end
    complete.saw(record.name)
    list[#list + 1] = record
  end
  return list
end

--- The snapshots of a dataset, oldest first. @param dataset its name
-- @param where a host, or a destination such as "root@nas"; nil: this machine
-- @return array of { name, used, referenced (bytes), userrefs (how many holds), creation (seconds since the epoch), guid }; @raise what the command met
-- @example snapshots("tank/home", "root@nas")
function names.snapshots(dataset, where)
  local valid, fault = zfs.valid_name(dataset)
  if not valid then errors.fail("invalid", "snapshots: '%s': %s", tostring(dataset), fault) end
  local argv = zfs.list_argv {
    types = { "snapshot" }, columns = { "name", "used", "referenced", "userrefs", "creation", "guid" }, datasets = { dataset }, depth = 1,
  }
  local catalog, list = host_of(where):list(argv, "uuuuu"), {}
  local index = catalog:find(dataset)
  for _, row in ipairs(index and catalog:rows(index) or {}) do
    list[#list + 1] = { name = row.name, used = row[1], referenced = row[2], userrefs = row[3], creation = row[4], guid = ("%u"):format(row[5]) }
  end
  return list
end

-- ---- policies -------------------------------------------------------------------------------------------

local function policy_of(value)
  return type(value) == "string" and loader.policy(value) or value
end

--- What a policy would do now: it is run with --test and --verbose, and changes nothing.
-- @param p a policy, or its name or file; @param ... words as on its command line
-- @return exit status; @raise what it met
-- @example plan("autobackup", "--ssh-source", "root@nas", "nas", "backup/nas")
function names.plan(p, ...)
  local args = table.pack(...)
  return run.policy(policy_of(p), { "--test", "--verbose", table.unpack(args, 1, args.n) }, "plan")
end

--- Why a dataset is selected and sent, and why each of its snapshots stays or goes. Changes nothing.
-- @param p a policy, or its name or file; @param ... words as on its command line, the dataset or snapshot last
-- @return exit status; @raise what it met
-- @example explain("autobackup", "nas", "backup/nas", "tank/home")
function names.explain(p, ...)
  local args = table.pack(...)
  local what = table.remove(args)
  if not what then errors.fail("usage", "explain: POLICY, its words, DATASET or SNAPSHOT") end
  args[#args + 1] = "--explain=" .. what
  return run.policy(policy_of(p), { table.unpack(args) }, "explain")
end

-- ---- help -----------------------------------------------------------------------------------------------

local OVERVIEW = [[
host "root@nas"                  a host; host() is this machine. hosts() are those that were opened
datasets("tank", "root@nas")     its datasets; snapshots("tank/home", "root@nas") those of one
plan("autobackup", "nas", "backup/nas")                what a policy would do now
explain("autobackup", "nas", "backup/nas", "tank/a")   why it is kept, sent, destroyed
policy "autobackup"              a policy, as a value; mp has the modules of the library
help(value)                      what a function, module, host or policy is for: help(host.hold)
_                                the last value. Tab completes; Ctrl-C ends what runs; Ctrl-D leaves
]]

local function help_on_function(fn)
  local known = doc.of(fn)
  if not known then return "a function of C or of Lua's own: nothing is known of it here" end
  local lines = { known.signature, "" }
  for _, line in ipairs(known.comment) do lines[#lines + 1] = "  " .. line end
  lines[#lines + 1] = ("  (%s:%d)"):format(known.file, known.line)
  return table.concat(lines, "\n")
end

local function functions_of(value)
  local list = {}
  for _ = 1, 5 do
    for name, fn in next, value do
      if type(name) == "string" and type(fn) == "function" and not name:find "^__" then list[#list + 1] = name end
    end
    local meta = getmetatable(value)
    value = type(meta) == "table" and rawget(meta, "__index")
    if type(value) ~= "table" then break end
  end
  table.sort(list)
  return list
end

local function help_on_table(value)
  local lines = {}
  if policy.is(value) then lines[1] = ("a policy: %s (%s)"):format(value.summary or value.name or "?", value.where) end
  for _, name in ipairs(functions_of(value)) do
    local known = doc.of(value[name])
    lines[#lines + 1] = ("%-16s %s"):format(name, known and known.comment[1] or "")
  end
  return #lines > 0 and table.concat(lines, "\n") or "a table without functions"
end

--- Tells what a value is for. @param value a function, module, host or policy; a name of one of the loop's; nil: an overview
-- @example help(host.hold)
function names.help(value, ...)
  local text = OVERVIEW
  if type(value) == "function" then
    text = help_on_function(value)
  elseif type(value) == "table" then
    text = help_on_table(value)
  elseif value ~= nil or select("#", ...) > 0 then
    text = ("a %s"):format(type(value))
  end
  for line in (text:gsub("\n*$", "\n")):gmatch "([^\n]*)\n" do log.print("%s", line) end
end

--- The environment of lines: what is here, Lua's own, and what lines before have set. A name that is not there is an error.
-- @return table
function names.environment()
  local own = {
    mp = require "moonpool", policy = loader.policy, hosts = names.hosts, datasets = names.datasets, snapshots = names.snapshots, plan = names.plan,
    explain = names.explain, help = names.help,
    -- The methods can be asked for without a host: help(host.hold).
    host = setmetatable({}, { __index = host.methods, __call = function(_, ...) return open(...) end }),
  }
  return setmetatable(own, {
    __index = function(_, name)
      local value = _G[name]
      if value ~= nil or name == "_" then return value end
      local known = {}
      for _, t in ipairs { own, _G } do
        for k in pairs(t) do known[#known + 1] = k end
      end
      errors.fail("usage", "no global '%s'%s", tostring(name), suggest.text(tostring(name), known))
    end,
  })
end

--- Forgets the hosts that were opened, and closes them. @raise nothing
function names.close()
  for _, h in ipairs(opened) do h:close() end
  opened = {}
end

return names
