--- The command line: what `moonpool` does with its arguments, and the exit status.

local errors = require "moonpool.error"
local loader = require "moonpool.loader"
local log = require "moonpool.log"
local sched = require "moonpool.sched"
local suggest = require "moonpool.suggest"

local cli = {}

-- Exit statuses beside the number of failures.
local USAGE, LOCKED, NOTHING = 253, 254, 255

--- The commands in the order of the help: name, words that follow it, help.
cli.COMMANDS = {
  { name = "autobackup", words = "[OPTIONS] BACKUP-NAME [TARGET-PATH]", help = "back up what has the property autobackup:BACKUP-NAME" },
  { name = "run", words = "FILE|NAME [OPTIONS] …", help = "run a policy" },
  { name = "policy", words = "list | show NAME | doc NAME", help = "policies, and where they are found; the text of one; what it is for" },
  { name = "policy", words = "new NAME | edit NAME | diff NAME", help = "a new one; a copy of a stock file of your own, and what is different" },
  { name = "policy", words = "check NAME", help = "whether one is right, without touching a pool" },
  { name = "explain", words = "[POLICY …] DATASET[@SNAPSHOT]", help = "why it is selected, sent, kept or destroyed" },
  { name = "test", words = "FILE…", help = "tests of policies, on simulated machines" },
  { name = "simulate", words = "POLICY [--every TIME] [--for TIME] …", help = "what a policy would keep after so many runs, as a picture" },
  { name = "repl", words = "[--live]", help = "try things out; hosts are dry without --live" },
  { name = "lua", words = "FILE [ARGUMENTS]", help = "run a Lua script with moonpool in it" },
  { name = "completion", words = "bash | fish | zsh", help = "a script that completes all this in that shell" },
}

local HELP = [[
Usage: moonpool [-P DIR]… COMMAND …

%s
  -P DIR       look for policies in DIR first
  --version    print the version
  -h, --help   this help; `moonpool autobackup --help` has the options of a policy

Exit status: %s
]]

--- What the exit status tells.
cli.EXIT_STATUS = "0 all well, 1-200 the number of failures, 253 usage, 254 another run is at work, 255 nothing could be done."

local function write_help()
  local lines = {}
  for i, c in ipairs(cli.COMMANDS) do
    local what = c.name .. " " .. c.words
    lines[i] = ("  %s%s   %s\n"):format(what, (" "):rep(46 - utf8.len(what)), c.help)
  end
  io.stdout:write(HELP:format(table.concat(lines), cli.EXIT_STATUS))
end

local function usage(message, ...) errors.fail("usage", message, ...) end

-- ---- running a policy -----------------------------------------------------------------------------------

local function run_policy(p, args, program) return sched.run(require "moonpool.command.run".policy, p, args, program) end

-- ---- commands -------------------------------------------------------------------------------------------

local commands = {}

function commands.autobackup(args) return run_policy(loader.policy "autobackup", args, "moonpool autobackup") end

function commands.run(args)
  local name = table.remove(args, 1)
  if not name then usage "run: which policy? A file, or a name of `moonpool policy list`" end
  return run_policy(loader.policy(name), args, "moonpool run " .. name)
end

function commands.policy(args) return require "moonpool.command.policy".run(args) end

-- The policy that is named first, if one is; else autobackup.
local function named_policy(args)
  local word = args[1] or "-"
  if word:sub(1, 1) == "-" then return "autobackup" end
  local is_file = word:find "/" or word:find "%.lua$"
  return (is_file or pcall(loader.find_policy, word)) and table.remove(args, 1) or "autobackup"
end

function commands.explain(args)
  local what = table.remove(args)
  if not what or what:sub(1, 1) == "-" then usage "explain: [POLICY] [ITS ARGUMENTS] DATASET[@SNAPSHOT]" end
  local name = named_policy(args)
  args[#args + 1] = "--explain=" .. what
  return run_policy(loader.policy(name), args, "moonpool explain " .. name)
end

function commands.test(args) return require "moonpool.command.test".run(args) end

function commands.simulate(args) return require "moonpool.command.simulate".run(args) end

function commands.repl(args)
  local live = false
  for _, word in ipairs(args) do
    if word ~= "--live" then usage("repl: unknown option '%s'", word) end
    live = true
  end
  loader.install()
  return require "moonpool.repl".run { live = live }
end

function commands.lua(args)
  local file = table.remove(args, 1)
  if not file then usage "lua: which file?" end
  loader.install()
  local result = sched.run(loader.run_file, file, table.unpack(args))
  return math.type(result) == "integer" and result or 0
end

function commands.completion(args)
  local list, seen = {}, {}
  for _, c in ipairs(cli.COMMANDS) do
    if not seen[c.name] then list[#list + 1] = c end
    seen[c.name] = true
  end
  return require "moonpool.command.completion".run(args, list)
end

local function command_of(word)
  local names = {}
  for name in pairs(commands) do names[#names + 1] = name end
  table.sort(names)
  return commands[word] or usage("no command '%s'%s", word, suggest.text(word, names))
end

local function dispatch(args)
  while args[1] == "-P" do
    loader.add(args[2] or usage "-P: which directory?")
    table.remove(args, 1)
    table.remove(args, 1)
  end
  local word = table.remove(args, 1)
  if not word or word == "-h" or word == "--help" or word == "help" then
    write_help()
    return word and 0 or USAGE
  elseif word:sub(1, 1) == "-" then
    usage("unknown option '%s': moonpool --help tells what there is", word)
  end
  local command = command_of(word)
  -- A policy has options of its own to tell of.
  if (args[1] == "--help" or args[1] == "-h") and word ~= "autobackup" then
    write_help()
    return 0
  end
  return command(args)
end

-- ---- the program ----------------------------------------------------------------------------------------

-- What is not an error object is a fault of the program, and where it stands helps to find it.
local function with_traceback(err)
  return errors.is(err) and err or errors.new { code = "internal", message = debug.traceback(tostring(err), 2) }
end

local STATUS = { usage = USAGE, locked = LOCKED }

local function report(err)
  if err.code == "internal" then
    io.stderr:write("moonpool: internal error: ", err.message, "\n")
  else
    log.error("%s", errors.line(err))
  end
  return STATUS[err.code] or NOTHING
end

-- Called by the name of the program that it replaces, moonpool is that program.
local function is_autobackup(program)
  local name = (program or ""):match "[^/]*$"
  return name == "zfs_autobackup" or name == "zfs-autobackup"
end

--- Runs the program.
-- @param args array of arguments; args[0] is the program's name
-- @return exit status
function cli.main(args)
  local words = table.move(args, 1, #args, 1, {})
  if is_autobackup(args[0]) then table.insert(words, 1, "autobackup") end
  local ok, result = xpcall(dispatch, with_traceback, words)
  return ok and result or report(result)
end

return cli
