--- The interactive loop: a line is read, run, and what came of it is shown. Hosts are dry unless it is live, and the prompt says which.

local core = require "moonpool.core"
local errors = require "moonpool.error"
local inspect = require "inspect"
local sched = require "moonpool.sched"
local suggest = require "moonpool.suggest"

local repl = {}

local MAX_LINES = 60       -- of one value that is shown
local MAX_ENTRIES = 200    -- of one table that is shown
local MAX_DEPTH = 5
local HOOK_COUNT = 100000  -- instructions of Lua between two looks for an interrupt

-- ---- showing --------------------------------------------------------------------------------------------

local function has_text(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__tostring ~= nil
end

-- For inspect: no metatables, what has a text as its text, and of a big table the beginning.
local function bounded(item, path)
  if path[#path] == inspect.METATABLE then return nil end
  if type(item) ~= "table" then return item end
  if has_text(item) then return tostring(item) end
  local part, n = {}, 0
  for key, value in next, item do
    n = n + 1
    if n > MAX_ENTRIES then
      part["…"] = "and more"
      break
    end
    part[key] = value
  end
  return part
end

--- A value as the loop shows it: tables with their keys sorted, bounded in depth, entries and lines.
-- @param value anything; @return text
-- @example print(repl.show { b = 1, a = { 2 } })
function repl.show(value)
  if type(value) ~= "string" and has_text(value) then return tostring(value) end
  local lines = {}
  for line in inspect(value, { process = bounded, depth = MAX_DEPTH }):gmatch "[^\n]+" do
    lines[#lines + 1] = line
  end
  local left = #lines - MAX_LINES
  return table.concat(lines, "\n", 1, math.min(#lines, MAX_LINES)) .. (left > 0 and ("\n… %d more lines"):format(left) or "")
end

-- One line; of a command that failed also the command.
local function line_of(err)
  if not errors.is(err) then return (tostring(err):match "[^\n]*") end
  return errors.line(err) .. (err.argv and ("  [%s]"):format(core.quote(err.argv)) or "")
end

-- ---- running --------------------------------------------------------------------------------------------

-- Runs a chunk as the main task. Waiting ends by itself on an interrupt; a loop that waits for nothing is ended here.
local function run(chunk)
  local before = core.interrupted()
  return table.pack(pcall(sched.run, function()
    debug.sethook(function()
      if core.interrupted() ~= before then errors.fail("cancelled", "interrupted") end
    end, "", HOOK_COUNT)
    return chunk()
  end))
end

-- Names in a line: Lua's own, what the loop has, and what lines before have set. One that is not there is an error.
local function environment()
  local mp = require "moonpool"
  local own = { mp = mp, host = mp.host, policy = function(name) return require "moonpool.loader".policy(name) end }
  return setmetatable(own, {
    __index = function(_, name)
      local value = _G[name]
      if value ~= nil or name == "_" then return value end
      local names = {}
      for _, t in ipairs { own, _G } do
        for known in pairs(t) do names[#names + 1] = known end
      end
      errors.fail("usage", "no global '%s'%s", tostring(name), suggest.text(tostring(name), names))
    end,
  })
end

-- The chunk of a text: an expression, else statements. nil and "more": it goes on in the next line; nil and what is wrong.
local function compile(text, env)
  local chunk = load("return " .. text, "=repl", "t", env)
  if chunk then return chunk end
  local statements, message = load(text, "=repl", "t", env)
  if statements then return statements end
  return nil, message:find "near <eof>$" and "more" or message
end

-- ---- completion -----------------------------------------------------------------------------------------

-- All names that can follow a value's dot or colon.
local function members(value)
  local names = {}
  for _ = 1, 10 do
    if type(value) == "table" then
      for name in next, value do
        if type(name) == "string" and name:find "^[%a_][%w_]*$" then names[name] = true end
      end
    end
    local meta = getmetatable(value)
    value = type(meta) == "table" and rawget(meta, "__index") or nil
    if type(value) ~= "table" then break end
  end
  return names
end

local function resolve(env, path)
  local value = env
  for name in path:gmatch "[%a_][%w_]*" do
    local ok, next_value = pcall(function() return value[name] end)
    if not ok then return nil end
    value = next_value
  end
  return value
end

local function common_start(words)
  local start = words[1]
  for _, word in ipairs(words) do
    while word:sub(1, #start) ~= start do start = start:sub(1, -2) end
  end
  return start
end

--- What can be written next to the last name of a line: over the values that exist.
-- @param env table of names; @param text of the line, up to the cursor
-- @return what to insert ("" if nothing is common to all), array of all names that fit
-- @example repl.complete(_G, "string.for") --> "mat", { "format" }
function repl.complete(env, text)
  local path, start = text:match "([%a_][%w_%.:]*[%.:])([%w_]*)$"
  local names
  if path then
    names = members(resolve(env, path))
  else
    start = text:match "[%a_][%w_]*$" or ""
    names = members(env)
    for name in pairs(members(_G)) do names[name] = true end
  end
  local fitting = {}
  for name in pairs(names) do
    if name:sub(1, #start) == start then fitting[#fitting + 1] = name end
  end
  table.sort(fitting)
  return #fitting > 0 and common_start(fitting):sub(#start + 1) or "", fitting
end

-- ---- lines ----------------------------------------------------------------------------------------------

-- The file of what was typed, or nil if there is no place for it.
local function history_file()
  local home = os.getenv "HOME"
  local state = os.getenv "XDG_STATE_HOME" or home and home .. "/.local/state"
  if not state then return nil end
  local dir = state .. "/moonpool"
  for part in dir:gmatch "()/" do
    if part > 1 then core.mkdir(dir:sub(1, part - 1), 448) end -- 0700
  end
  return core.mkdir(dir, 448) and dir .. "/history" or nil
end

-- Reads from a person: read(prompt) gives a line, false after an interrupt, nil at the end.
local function terminal(env)
  local file = history_file()
  local editor = core.lines(file)
  local function complete(text)
    local insert = repl.complete(env, text)
    return insert ~= "" and insert or nil
  end
  return function(prompt)
    local line = editor:read(prompt, complete)
    if line and line:find "%S" then editor:remember(line, file) end
    if line == false then io.stdout:write "\n" end
    return line
  end
end

-- Reads a whole chunk, of one line or more. nil at the end; false: nothing to run. Then what is wrong, if anything.
local function read_chunk(read, prompt, env)
  local text = read(prompt)
  while text do
    if not text:find "%S" then return false end
    local chunk, message = compile(text, env)
    if message ~= "more" then return chunk or false, message end
    local line = read((" "):rep(#prompt - 3) .. "-> ")
    if line == nil then return false, "the input ends inside a statement" end
    text = line and text .. "\n" .. line
  end
  return text
end

-- ---- the loop -------------------------------------------------------------------------------------------

local function show_results(results, env, write)
  if results.n < 2 then return end
  rawset(env, "_", results[2])
  for i = 2, results.n do write(repl.show(results[i]) .. "\n") end
end

local function loop(read, prompt, write, complain)
  local env = environment()
  read = read or core.isatty(0) and terminal(env) or function() return (io.stdin:read "l") end
  local failures = 0
  local function failed(message)
    failures = failures + 1
    complain(message .. "\n")
  end
  while true do
    local chunk, message = read_chunk(read, prompt, env)
    sched.forget_interrupts()
    if chunk == nil then return failures end
    if message then failed(message) end
    local results = chunk and run(chunk) or { true, n = 1 }
    sched.forget_interrupts()
    if results[1] then show_results(results, env, write) else failed(line_of(results[2])) end
  end
end

--- Reads lines and runs them, until the input ends.
-- @param options { live = hosts may write, read = function(prompt) instead of the standard input, write, complain = functions(text)
--   instead of the standard output and error stream }
-- @return exit status: 1 if something failed and nobody sits at a terminal, else 0
function repl.run(options)
  local out = options.write or function(text) io.stdout:write(text):flush() end
  local err = options.complain or function(text) io.stderr:write(text) end
  local open = core.host
  -- Every way to a host leads through here.
  if not options.live then core.host = function(destination, _, ...) return open(destination, true, ...) end end
  local ok, failures = pcall(loop, options.read, options.live and "moonpool> " or "moonpool(dry)> ", out, err)
  core.host = open
  if not ok then error(failures, 0) end
  return (failures > 0 and not core.isatty(0)) and 1 or 0
end

return repl
