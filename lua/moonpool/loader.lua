--- Where Lua files are found: -P DIR, $MOONPOOL_PATH, ~/.config/moonpool, /etc/moonpool, $PREFIX/share/moonpool, and inside the program.
--
-- The first hit wins, per file; the current directory is never searched. As root, a file that others can write is refused. A broken file is an
-- error, also where it stands before a stock one.

local core = require "moonpool.core"
local errors = require "moonpool.error"
local policy = require "moonpool.policy"
local sched = require "moonpool.sched"
local strict = require "moonpool.strict"
local suggest = require "moonpool.suggest"

local loader = {}

local first = {} -- directories of -P

--- Puts a directory before all others. @param dir of -P
function loader.add(dir) first[#first + 1] = dir end

--- The directories that are searched, in order. @return array
function loader.directories()
  local list = table.move(first, 1, #first, 1, {})
  for dir in (os.getenv "MOONPOOL_PATH" or ""):gmatch "[^:]+" do list[#list + 1] = dir end
  local home = os.getenv "HOME"
  local config = os.getenv "XDG_CONFIG_HOME" or home and home .. "/.config"
  if config then list[#list + 1] = config .. "/moonpool" end
  list[#list + 1] = "/etc/moonpool"
  list[#list + 1] = core.prefix .. "/share/moonpool"
  return list
end

-- ---- files ----------------------------------------------------------------------------------------------

local function refuse(path, what)
  errors.fail("policy", "%s: %s", path, what)
end

local GROUP_OR_OTHERS_WRITE = 18 -- 0022

-- What root runs may be written by root only, and so may the directory that it lies in.
local function check_permissions(path)
  if core.uid() ~= 0 then return end
  for _, checked in ipairs { path, path:match "^(.*)/[^/]*$" or "." } do
    local stat = core.stat(checked == "" and "/" or checked)
    local sticky = stat and stat.kind == "directory" and stat.mode & 512 ~= 0
    if stat and (stat.uid ~= 0 or (stat.mode & GROUP_OR_OTHERS_WRITE ~= 0 and not sticky)) then
      refuse(path, ("refused, as others than root can write %s"):format(checked == path and "it" or checked))
    end
  end
end

--- The text of a file, if root may trust it. @param path the file's; @return text; @raise policy: unreadable, or others can write it
function loader.read(path)
  check_permissions(path)
  local file, message = io.open(path, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  -- A directory can be opened, and not read.
  if not text then refuse(path, (message or "can't be read"):gsub("^.*: ", "")) end
  return text
end

-- The first of a file's places: its path and text, or nil.
local function find(relative)
  for _, dir in ipairs(loader.directories()) do
    local path = dir .. "/" .. relative
    if core.stat(path) then return path, loader.read(path) end
  end
  local text = core.embedded(relative)
  if text then return "moonpool:" .. relative, text end
end

local function compile(path, text)
  if text:sub(1, 1) == "\27" then refuse(path, "is compiled Lua, which can't be checked") end
  local chunk, message = load(text, "@" .. path, "t", strict.environment { coroutine = sched.coroutine })
  if not chunk then errors.raise { code = "policy", message = message } end
  return chunk
end

-- Runs a chunk; whatever it raises is an error of that file.
local function run_chunk(path, text, ...)
  local outer = policy.loading
  policy.loading = path
  local results = table.pack(pcall(compile(path, text), ...))
  policy.loading = outer
  if results[1] then return table.unpack(results, 2, results.n) end
  if errors.is(results[2]) then error(results[2], 0) end
  errors.raise { code = "policy", message = tostring(results[2]) }
end

--- Runs a Lua file. @param path the file's; @param ... what it gets as `...`; @return what it returns; @raise policy: its syntax, or what it raised
function loader.run_file(path, ...) return run_chunk(path, loader.read(path), ...) end

-- `require "policies.retention"`: policies/retention.lua of the first directory that has one.
local function searcher(name)
  local relative = name:gsub("%.", "/") .. ".lua"
  if name:find "^moonpool" then return nil end
  local path, text = find(relative)
  if not path then return ("no file '%s' where moonpool searches"):format(relative) end
  return function(...) return run_chunk(path, text, ...) end, path
end

--- Lets `require` find files in those directories; for the whole state, once.
function loader.install()
  if package.searchers[2] ~= searcher then table.insert(package.searchers, 2, searcher) end
end

-- ---- policies -------------------------------------------------------------------------------------------

local function is_path(name) return name:find "/" ~= nil or name:find "%.lua$" ~= nil end

--- Finds a policy. @param name "nas" (NAME.lua or policies/NAME.lua in those directories), or a path: with a slash, or ending in .lua
-- @return path and text; @raise policy: there is none, with the nearest
function loader.find_policy(name)
  if is_path(name) then return name, loader.read(name) end
  for _, relative in ipairs { name .. ".lua", "policies/" .. name .. ".lua" } do
    local path, text = find(relative)
    if path then return path, text end
  end
  local known = {}
  for i, found in ipairs(loader.list()) do known[i] = found.name end
  errors.raise { code = "policy", message = ("no policy '%s'%s"):format(name, suggest.text(name, known)),
    hint = "moonpool policy list shows those that there are" }
end

--- Loads a policy. @param name as for `find_policy`; @return policy, path, text; @raise policy: the file's syntax, what it raised, or it returns no policy
function loader.policy(name)
  loader.install()
  local path, text = loader.find_policy(name)
  local p = run_chunk(path, text)
  if not policy.is(p) then
    refuse(path, ("returns %s, not a policy: it must end with `return policy.new { … }` or `return other:extend { … }`"):format(type(p)))
  end
  return p, path, text
end

local function add_names(list, seen, path, names)
  for _, file in ipairs(names) do
    local name = file:match "^([%w_-]+)%.lua$"
    if name and not seen[name] then
      seen[name] = true
      list[#list + 1] = { name = name, path = path .. file }
    end
  end
end

--- The names of all files that may be policies, in the order in which they are found. @return array of { name, path }
function loader.list()
  local list, seen = {}, {}
  for _, dir in ipairs(loader.directories()) do
    add_names(list, seen, dir .. "/", core.readdir(dir) or {})
    add_names(list, seen, dir .. "/policies/", core.readdir(dir .. "/policies") or {})
  end
  local inside = {}
  for _, name in ipairs(core.embedded_names()) do inside[#inside + 1] = name:match "^policies/(.+)$" end
  add_names(list, seen, "moonpool:policies/", inside)
  return list
end

return loader
