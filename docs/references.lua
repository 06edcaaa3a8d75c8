--- Writes the references from the comments and declarations of the source: moonpool lua docs/references.lua FOLDER, as `make docs` does.
--
--   FOLDER/lua.md       every function that policies, scripts and tests may call
--   FOLDER/options.md   every option of the stock policies
--   FOLDER/moonpool.1   the manual page
-- Fails, and names it, where a function has no comment or an option no help.

local cli = require "moonpool.cli"
local core = require "moonpool.core"
local doc = require "moonpool.doc"
local errors = require "moonpool.error"

local references = {}

-- What is told in lua.md: the name of the module, and its file inside the program.
local MODULES = {
  { "moonpool", "lua/moonpool/init.lua" }, { "moonpool.host", "lua/moonpool/host.lua" }, { "moonpool.hold", "lua/moonpool/hold.lua" },
  { "moonpool.sched", "lua/moonpool/sched.lua" },
  { "moonpool.error", "lua/moonpool/error.lua" }, { "moonpool.log", "lua/moonpool/log.lua" }, { "moonpool.zfs", "lua/moonpool/zfs.lua" },
  { "moonpool.policy", "lua/moonpool/policy.lua" }, { "moonpool.options", "lua/moonpool/options.lua" }, { "moonpool.names", "lua/moonpool/names.lua" },
  { "moonpool.sim", "lua/moonpool/sim.lua" }, { "moonpool.testing", "lua/moonpool/testing.lua" },
  { "policies.retention", "policies/retention.lua" }, { "policies.calendar", "policies/calendar.lua" }, { "policies.select", "policies/select.lua" },
  { "policies.filter_property", "policies/filter_property.lua" }, { "policies.send", "policies/send.lua" }, { "policies.windows", "policies/windows.lua" },
  { "policies.notify", "policies/notify.lua" },
}

local POLICIES = { "autobackup", "snapshot", "prune", "replicate", "fleet", "monitor", "restore", "verify" }

-- A comment as lines of a page: tags begin lines of their own, an example is set as code.
local function as_markdown(comment)
  local text = table.concat(comment, "\n")
  text = text:gsub("%s*;?%s*@(%l+)%s", function(tag)
    return ({ param = "\n- parameter ", ["return"] = "\n- returns ", raise = "\n- raises ", example = "\n- example: " })[tag]
  end)
  return (text:gsub("\n%s+", "\n  "):gsub("\n%s*(%- )", "\n%1"):gsub("(%- example: )([^\n]*)", "%1`%2`"))
end

--- One file's functions. @param text of the file; @param name of the module, for messages; @return array of lines; @raise invalid: one has no comment
-- @example references.of_module("--- Adds.\nfunction m.add(a, b) end\n", "m")
function references.of_module(text, name)
  local lines = { "## " .. name, "", table.concat(doc.heading(text), "\n"), "" }
  for _, entry in ipairs(doc.entries(text)) do
    if entry.comment[1] == "" then errors.fail("invalid", "%s:%d: %s has no comment", name, entry.line, entry.signature) end
    table.move({ "### `" .. entry.signature .. "`", "", as_markdown(entry.comment), "" }, 1, 4, #lines + 1, lines)
  end
  return lines
end

local function shown_default(default)
  if default == nil or default == false then return "" end
  return type(default) == "table" and table.concat(default, " ") or tostring(default)
end

--- One policy's options. @param p the policy; @param name of the policy; @return array of lines; @raise invalid: one has no help
-- @example references.of_policy(require "policies.autobackup", "autobackup")
function references.of_policy(p, name)
  local lines = { "## " .. name, "", p.summary .. ".", "", "| option | type | default | |", "| --- | --- | --- | --- |" }
  for _, d in ipairs(p.declarations) do
    if (d.help or "") == "" then errors.fail("invalid", "option '%s' of policy '%s' has no help", d.name, name) end
    local shown = d.positional and d.name:upper() or "--" .. d.name .. (d.metavar and " " .. d.metavar or "")
    local kind = d.positional and "argument" or d.type or "flag"
    lines[#lines + 1] = ("| `%s` | %s | %s | %s |"):format(shown, kind, shown_default(d.default), (d.help:gsub("|", "\\|")))
  end
  lines[#lines + 1] = ""
  return lines
end

-- Text as roff sets it as it stands.
local function roff(text) return (text:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("^[.']", "\\&%0")) end

local function add_options(lines, p)
  for _, d in ipairs(p.declarations) do
    local shown = d.positional and d.name:upper() or (d.short and "-" .. d.short .. ", " or "") .. "--" .. d.name
    local value = d.metavar and " \\fI" .. roff(d.metavar) .. "\\fR" or ""
    local default = shown_default(d.default)
    local help = d.help .. (default ~= "" and (" (default: %s)"):format(default) or "")
    table.move({ ".TP", "\\fB" .. roff(shown) .. "\\fR" .. value, roff(help) }, 1, 3, #lines + 1, lines)
  end
end

--- The manual page. @param list names of policies whose options it has; @return array of lines of roff
-- @example references.manual { "autobackup" }
function references.manual(list)
  local lines = {
    ('.TH MOONPOOL 1 "" "moonpool %s"'):format(core.version), ".SH NAME", "moonpool \\- back up ZFS datasets, by policies written in Lua",
    ".SH SYNOPSIS", "\\fBmoonpool\\fR [\\fB\\-P\\fR \\fIDIR\\fR]... \\fICOMMAND\\fR ...", ".SH COMMANDS",
  }
  for _, c in ipairs(cli.COMMANDS) do
    table.move({ ".TP", "\\fB" .. c.name .. "\\fR " .. roff(c.words), roff(c.help) }, 1, 3, #lines + 1, lines)
  end
  for _, name in ipairs(list) do
    local p = require("policies." .. name)
    table.move({ ".SH OPTIONS OF " .. name:upper(), roff(p.summary) .. "." }, 1, 2, #lines + 1, lines)
    add_options(lines, p)
  end
  table.move({ ".SH EXIT STATUS", roff(cli.EXIT_STATUS), ".SH FILES", "Policies are found in the directories of \\fB\\-P\\fR, of MOONPOOL_PATH,",
    "in ~/.config/moonpool, /etc/moonpool, the share directory of the installation, and in the program itself; the first one counts.",
    ".SH SEE ALSO", "\\fBzfs\\fR(8), \\fBzfs\\-send\\fR(8), \\fBzfs\\-receive\\fR(8), \\fBssh_config\\fR(5)", "" }, 1, 7, #lines + 1, lines)
  return lines
end

local function write(path, lines)
  local ok, _, message = core.write_file(path, table.concat(lines, "\n"))
  if not ok then errors.fail("system", "%s", message) end
end

--- Writes all. @param folder where; it must be there; @raise invalid; system
function references.write(folder)
  local lua = { "# The Lua reference", "", "Made from the comments above the functions, by `make docs`.", "" }
  for _, module in ipairs(MODULES) do
    local lines = references.of_module(core.embedded(module[2]), module[1])
    table.move(lines, 1, #lines, #lua + 1, lua)
  end
  local options = { "# The option reference", "", "Made from the declarations of the stock policies, by `make docs`.", "" }
  for _, name in ipairs(POLICIES) do
    local lines = references.of_policy(require("policies." .. name), name)
    table.move(lines, 1, #lines, #options + 1, options)
  end
  write(folder .. "/lua.md", lua)
  write(folder .. "/options.md", options)
  write(folder .. "/moonpool.1", references.manual(POLICIES))
end

-- As a program it has an argument; loaded as a module, it has none.
if ... then references.write(...) end

return references
