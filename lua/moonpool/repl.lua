--- The interactive loop: a line is read, run, and what came of it is shown. Hosts are dry unless it is live, and the prompt says which.

local complete = require "moonpool.repl.complete"
local core = require "moonpool.core"
local errors = require "moonpool.error"
local names = require "moonpool.repl.names"
local sched = require "moonpool.sched"
local show = require "moonpool.repl.show"

local repl = {}

local HOOK_COUNT = 100000 -- instructions of Lua between two looks for an interrupt

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

-- The chunk of a text whose first line is the n-th that was read: an expression, else statements.
-- nil and "more": it goes on in the next line; nil and what is wrong.
local function compile(text, n, env)
  local above = ("\n"):rep(n - 1)
  local chunk = load(above .. "return " .. text, "=repl", "t", env)
  if chunk then return chunk end
  local statements, message = load(above .. text, "=repl", "t", env)
  if statements then return statements end
  return nil, message:find "near <eof>$" and "more" or message
end

-- ---- lines ----------------------------------------------------------------------------------------------

-- The file of what was typed, or nil if there is no place for it.
local function history_file()
  local home = os.getenv "HOME"
  local state = os.getenv "XDG_STATE_HOME" or home and home .. "/.local/state"
  if not state then return nil end
  local dir = state .. "/moonpool"
  return core.mkdir(dir, 448) and dir .. "/history" or nil -- 0700
end

-- Reads from a person: read(prompt) gives a line, false after an interrupt, nil at the end.
local function terminal(env)
  local file = history_file()
  local editor = core.lines(file)
  -- What to insert; true after the choice was shown; nil: nothing fits.
  local function fit(text)
    local insert, fitting = complete.find(env, text)
    if insert ~= "" then return insert end
    if #fitting < 2 then return nil end
    io.stdout:write("\n", complete.columns(fitting, core.columns() or 80), "\n"):flush()
    return true
  end
  return function(prompt)
    local line = editor:read(prompt, fit)
    if line and line:find "%S" then editor:remember(line, file) end
    if line == false then io.stdout:write "\n" end
    return line
  end
end

-- Reads a whole chunk, of one line or more, of which the first is the n-th. nil at the end; false: nothing to run. Then what is wrong, if anything.
local function read_chunk(read, prompt, env, first)
  local text = read(prompt)
  while text do
    if not text:find "%S" then return false end
    local chunk, message = compile(text, first, env)
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
  for i = 2, results.n do write(show(results[i]) .. "\n") end
end

local function loop(read, prompt, write, complain)
  local env = names.environment()
  read = read or core.isatty(0) and terminal(env) or function() return (io.stdin:read "l") end
  local failures, count = 0, 0
  local function counted(...)
    count = count + 1
    return read(...)
  end
  local function failed(message)
    failures = failures + 1
    complain(message .. "\n")
  end
  while true do
    local chunk, message = read_chunk(counted, prompt, env, count + 1)
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
  names.close()
  core.host = open
  if not ok then error(failures, 0) end
  return (failures > 0 and not core.isatty(0)) and 1 or 0
end

return repl
