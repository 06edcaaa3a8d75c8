--- `moonpool completion bash|zsh|fish`: a script that completes the program's commands, the policies and their options in that shell.

local errors = require "moonpool.error"
local loader = require "moonpool.loader"
local options = require "moonpool.options"
local suggest = require "moonpool.suggest"

local command = {}

local SHELLS = { "bash", "fish", "zsh" }

-- The policies that are found now; what is not right is left out, `moonpool policy check` tells of it.
local function policies()
  local list = {}
  for _, found in ipairs(loader.list()) do
    local ok, p = pcall(loader.policy, found.name)
    if ok then list[#list + 1] = { name = found.name, help = p.summary or "", declarations = p.declarations } end
  end
  return list
end

-- Those that are commands of a command.
local function below(name)
  local words = ({ policy = require "moonpool.command.policy".ACTIONS, completion = SHELLS })[name]
  local list = {}
  for i, word in ipairs(words or {}) do list[i] = { name = word, help = "" } end
  return list
end

--- Runs the command. @param args its words; @param commands array of { name, help }; @return exit status; @raise usage
function command.run(args, commands)
  local shell, known = args[1], false
  for _, name in ipairs(SHELLS) do known = known or name == shell end
  if not known or args[2] then
    local fault = shell and not known and (": no '%s'%s"):format(shell, suggest.text(shell, SHELLS)) or ""
    errors.fail("usage", "completion: bash, fish or zsh%s", fault)
  end
  local list = {}
  for i, c in ipairs(commands) do
    list[i] = { name = c.name, help = c.help, commands = c.name == "run" and policies() or below(c.name) }
    if c.name == "autobackup" then list[i].declarations = loader.policy "autobackup".declarations end
  end
  io.stdout:write(options.completion(shell, "moonpool", list))
  return 0
end

return command
