--- `moonpool policy new|edit|check|diff|list|show|doc`.

local core = require "moonpool.core"
local doc = require "moonpool.doc"
local errors = require "moonpool.error"
local loader = require "moonpool.loader"
local log = require "moonpool.log"
local options = require "moonpool.options"
local policy = require "moonpool.policy"
local policyfile = require "moonpool.policyfile"
local suggest = require "moonpool.suggest"

local command = {}

local actions = {}

function actions.list()
  for _, found in ipairs(loader.list()) do
    local ok, p = pcall(loader.policy, found.name)
    if ok then
      io.stdout:write(("%-16s %s  (%s)\n"):format(found.name, p.summary or "", found.path))
    elseif not tostring(p):find("not a policy", 1, true) then
      log.error("%s", errors.line(errors.wrap(p)))
    end
  end
  return 0
end

function actions.show(name)
  local _, text = loader.find_policy(name)
  io.stdout:write(text)
  return 0
end

-- A name is a file in the user's directory; with a slash or .lua it is a path.
function actions.new(name)
  local is_path = name:find "/" or name:find "%.lua$"
  local path = is_path and name or policyfile.directory() .. "/" .. name .. ".lua"
  policyfile.create(path, policyfile.start((path:match "([^/]*)%.lua$" or path:match "[^/]*$")))
  io.stdout:write(path, "\n")
  return 0
end

local function open_editor(path)
  local editor = os.getenv "VISUAL" or os.getenv "EDITOR"
  if not editor or not core.isatty(0) or not core.isatty(1) then return end
  core.edit(editor, path)
end

function actions.edit(name)
  local relative, text = policyfile.copy(name)
  local path = policyfile.directory() .. "/" .. relative
  if not core.stat(path) then policyfile.create(path, text) end
  io.stdout:write(path, "\n")
  open_editor(path)
  return 0
end

function actions.diff(name)
  local lines, path, has_changed = policyfile.diff(name)
  io.stdout:write(("- policies/%s.lua of moonpool %s\n+ %s\n"):format(name, core.version, path))
  for _, line in ipairs(lines) do io.stdout:write(line, "\n") end
  if #lines == 0 then io.stdout:write "no difference\n" end
  if has_changed then log.warn("the stock file has changed since this copy was made: look whether what it does now is wanted here, too") end
  return 0
end

function actions.check(name)
  local complaints, option = policyfile.check(name)
  for _, line in ipairs(complaints) do log.error("%s", line) end
  if #complaints == 0 then io.stdout:write(name, ": is right, as far as can be seen without ", option or "a pool", "\n") end
  return math.min(#complaints, 200)
end

-- What a file of rules gives: its functions, and what stands above them.
local function write_functions(entries)
  for _, entry in ipairs(entries) do io.stdout:write("\n", entry.signature, "\n  ", table.concat(entry.comment, "\n  "), "\n") end
end

function actions.doc(name)
  local _, text = loader.find_policy(name)
  local functions = doc.entries(text)
  if #functions > 0 then
    io.stdout:write(table.concat(doc.heading(text), "\n"), "\n")
    write_functions(functions)
    return 0
  end
  local p = loader.policy(name)
  io.stdout:write(table.concat(doc.heading(text), "\n"), "\n\nHooks: ")
  local hooks = {}
  for _, hook in ipairs(policy.HOOKS) do
    if policy.has(p, hook) then hooks[#hooks + 1] = hook end
  end
  io.stdout:write(#hooks > 0 and table.concat(hooks, ", ") or "none", "\n")
  for key, value in pairs(p.values) do
    if type(value) ~= "table" then io.stdout:write(("Bound: --%s %s\n"):format(key:gsub("_", "-"), tostring(value))) end
  end
  local _, help = options.parse(p.declarations, { "--help" }, { program = "moonpool run " .. name, summary = p.summary, bound = p.values })
  io.stdout:write("\n", help, "\n")
  return 0
end

--- The words that may follow `moonpool policy`, in order.
command.ACTIONS = {}
for word in pairs(actions) do table.insert(command.ACTIONS, word) end
table.sort(command.ACTIONS)

--- Runs the command. @param args its words; @return exit status; @raise usage; policy
function command.run(args)
  local what = table.remove(args, 1)
  local words = command.ACTIONS
  if not what then errors.fail("usage", "policy: one of %s", table.concat(words, ", ")) end
  local action = actions[what]
  if not action then errors.fail("usage", "policy: no '%s'%s", what, suggest.text(what, words)) end
  if (what == "list") == (args[1] ~= nil) then
    errors.fail("usage", what == "list" and "policy list: takes no more words" or "policy %s: which one? A name of `moonpool policy list`, or a file", what)
  end
  local status = 0
  for i = 1, math.max(1, #args) do
    if args[i] and args[i]:sub(1, 1) == "-" then errors.fail("usage", "policy %s: unknown option '%s'", what, args[i]) end
    status = math.max(status, action(args[i]))
  end
  return status
end

return command
