--- Options from declarations: the one source of their parsing, checking and help.
--
-- A declaration is { name = "keep-source", type =, help =, default =, short = "k", metavar =, group =, implies = { "verbose" } } or, for an argument
-- without dashes, { name =, positional = true, optional = true, help = }. Values are found under the name with underscores. Types: string
-- (default), flag, integer, size ("16M"), duration ("3d"), list (repeated, or with commas), strings (repeated), settings (a list of NAME=VALUE),
-- choice (one of `choices`), time (epoch, or YYYYMMDDHHMMSS). With `optional_value` an option may stand alone, and then has that value; another one
-- is given as --name=value (or, of a choice, as the next word).

local argparse = require "argparse"
local errors = require "moonpool.error"
local names = require "moonpool.names"
local suggest = require "moonpool.suggest"
local zfs = require "moonpool.zfs"

local options = {}

local function usage(message, ...) errors.fail("usage", message, ...) end

-- How messages and the command line call an option.
local function spelled(d) return d.positional and d.name:upper() or "--" .. d.name end

local function key_of(d) return (d.name:gsub("-", "_")) end

-- ---- values ---------------------------------------------------------------------------------------------

local function to_integer(d, value)
  local number = math.tointeger(tonumber(value))
  if not number or number < 0 then usage("%s: '%s' is not a whole number", spelled(d), tostring(value)) end
  return number
end

local function to_time(d, value, all)
  local text = tostring(value)
  local time
  if #text == 14 then
    time = names.new("%Y%m%d%H%M%S", "", all.utc):time(text)
  else
    time = math.tointeger(tonumber(text))
  end
  if not time then usage("%s: '%s' is not a time: seconds since the epoch, or YYYYMMDDHHMMSS", spelled(d), text) end
  return time
end

local function to_list(d, value)
  local list = {}
  for _, part in ipairs(type(value) == "table" and value or { value }) do
    if type(part) ~= "string" then usage("%s: a list of words, not a %s", spelled(d), type(part)) end
    for word in part:gmatch "[^,]+" do list[#list + 1] = word end
  end
  return list
end

local function to_string(d, value)
  if type(value) ~= "string" and type(value) ~= "number" then usage("%s: a text, not a %s", spelled(d), type(value)) end
  if value == "" and d.optional_value ~= "" then usage("%s: an empty text", spelled(d)) end
  return tostring(value)
end

local function to_flag(d, value)
  if type(value) ~= "boolean" then usage("%s: true or false, not a %s", spelled(d), type(value)) end
  return value
end

local function to_size(d, value)
  local ok, result = pcall(zfs.parse_size, value)
  if not ok then usage("%s: %s", spelled(d), tostring(result)) end
  return result
end

local function to_strings(d, value)
  local list = type(value) == "table" and value or { value }
  for _, text in ipairs(list) do to_string(d, text) end
  return list
end

local function to_settings(d, value)
  if type(value) == "table" and #value == 0 then return value end
  local set = {}
  for _, word in ipairs(to_list(d, value)) do
    local name, text = word:match "^([^=]+)=(.*)$"
    if not name then usage("%s: '%s' is not NAME=VALUE", spelled(d), word) end
    set[name] = text
  end
  return set
end

local function to_choice(d, value)
  for _, choice in ipairs(d.choices) do
    if value == choice then return value end
  end
  usage("%s: '%s' is none of %s%s", spelled(d), tostring(value), table.concat(d.choices, ", "), suggest.text(value, d.choices))
end

-- Longer ones are slips of the finger, and some more digits would not be counted right.
local LONGEST_DURATION_SECONDS = 1000 * 365 * 86400

local DURATIONS = { s = 1, min = 60, h = 3600, d = 86400, w = 7 * 86400, m = 30 * 86400, y = 365 * 86400 }

local function to_duration(d, value)
  local count, unit = tostring(value):match "^(%d+)(%a*)$"
  local seconds = count and DURATIONS[unit == "" and "d" or unit]
  if not seconds then usage("%s: '%s' is not a duration: a number and s, min, h, d, w, m or y", spelled(d), tostring(value)) end
  local duration = tonumber(count) * (seconds + 0.0)
  if duration > LONGEST_DURATION_SECONDS then usage("%s: '%s' is longer than a thousand years", spelled(d), tostring(value)) end
  return math.tointeger(duration)
end

local CONVERT = {
  string = to_string, flag = to_flag, integer = to_integer, size = to_size, duration = to_duration, list = to_list,
  strings = to_strings, settings = to_settings, choice = to_choice, time = to_time,
}

local DECLARATION_FIELDS = {
  name = true, type = true, help = true, default = true, short = true, metavar = true, group = true, implies = true, positional = true,
  optional = true, choices = true, optional_value = true,
}

local IS_REPEATED = { list = true, strings = true, settings = true }

--- Checks a declaration. @param d the declaration; @param where "file:line: policy 'x'", for messages; @return it; @raise policy
function options.declaration(d, where)
  if type(d) ~= "table" or type(d.name) ~= "string" then
    errors.raise { code = "policy", message = where .. ": a declaration of an option is a table with a name" }
  end
  for field in pairs(d) do
    if not DECLARATION_FIELDS[field] then
      errors.fail("policy", "%s: the declaration of %s has no field '%s'", where, d.name, tostring(field))
    end
  end
  if not CONVERT[d.type or "string"] then
    errors.fail("policy", "%s: the option %s has no such type as '%s'", where, d.name, tostring(d.type))
  end
  return d
end

local function keys_of(declarations)
  local keys, by_key = {}, {}
  for i, d in ipairs(declarations) do
    keys[i] = key_of(d)
    by_key[keys[i]] = d
  end
  return keys, by_key
end

--- Values checked, converted, and completed with defaults and what they imply.
-- @param declarations array; @param values { keep_source = "10", … }; @param where for messages, or nil
-- @return table of all values; what has none and no default is nil
-- @raise usage: an unknown option (with the nearest), a bad value
-- @example options.bind({ { name = "jobs", type = "integer", default = 1 } }, {}) --> { jobs = 1 }
function options.bind(declarations, values, where)
  local keys, by_key = keys_of(declarations)
  for key in pairs(values) do
    if not by_key[key] then
      usage("%sno option '%s'%s", where and where .. ": " or "", tostring(key), suggest.text(key, keys))
    end
  end
  local bound = {}
  for i, d in ipairs(declarations) do
    local value = values[keys[i]]
    if value == nil then
      bound[keys[i]] = d.default
    else
      bound[keys[i]] = CONVERT[d.type or "string"](d, value, values)
    end
  end
  for i, d in ipairs(declarations) do
    if bound[keys[i]] then
      for _, implied in ipairs(d.implies or {}) do bound[implied:gsub("-", "_")] = true end
    end
  end
  return bound
end

-- ---- command lines --------------------------------------------------------------------------------------

local function add_option(parser, d)
  local label = (d.short and "-" .. d.short .. " " or "") .. "--" .. d.name
  local description = d.help or ""
  if d.default ~= nil and d.type ~= "flag" then description = ("%s (default: %s)"):format(description, tostring(d.default)) end
  if d.type == "flag" then return parser:flag(label):description(description):target(key_of(d)):args(0):count "*" end
  return parser:option(label):description(description):target(key_of(d)):argname("<" .. (d.metavar or "VALUE") .. ">"):count "*"
end

-- Adds declarations in their groups, and --help to the last of these; arguments that have a value already are optional.
local function add_options(parser, declarations, bound, on_help)
  local groups, order = {}, {}
  for _, d in ipairs(declarations) do
    if d.positional then
      local argument = parser:argument(d.name:upper()):target(key_of(d)):description(d.help or "")
      if d.optional or bound[key_of(d)] ~= nil then argument:args "?" end
    else
      local name = d.group or "Options"
      if not groups[name] then
        groups[name] = {}
        order[#order + 1] = name
      end
      table.insert(groups[name], add_option(parser, d))
    end
  end
  local help = parser:flag("-h --help"):description "Show this help."
  if on_help then help:action(on_help) end
  table.insert(groups[order[#order]] or {}, help)
  for _, name in ipairs(order) do parser:group(name, table.unpack(groups[name])) end
end

local function parser_of(declarations, about, on_help)
  local parser = argparse(about.program, about.summary):add_help(false):usage_max_width(100):help_max_width(120)
  add_options(parser, declarations, about.bound, on_help)
  return parser
end

-- What completion needs beside the parser: the values of options that have just some.
local function add_choices(parser, declarations)
  local by_key = {}
  for _, d in ipairs(declarations) do by_key[key_of(d)] = d end
  for _, option in ipairs(parser._options) do
    local d = by_key[option._target]
    if d and d.choices then option:choices(d.choices) end
  end
end

-- What argparse collected: every option may come several times; the last one counts, lists add up.
local function collected(declarations, found)
  local values = {}
  for _, d in ipairs(declarations) do
    local key = key_of(d)
    local value = found[key]
    if d.positional then
      values[key] = value
    elseif d.type == "flag" then
      if value and value > 0 then values[key] = true end
    elseif value and #value > 0 then
      values[key] = IS_REPEATED[d.type] and value or value[#value]
    end
  end
  return values
end

-- The words of argparse as ours: "unknown option '--kep-source'\nDid you mean '--keep-source'?" in one line.
local function one_line(message) return (message:gsub("%s*\n%s*", ", "):gsub("Did you mean", "did you mean")) end

local function is_choice(d, word)
  for _, choice in ipairs(d.choices or {}) do
    if word == choice then return true end
  end
end

-- Whether the word behind an option that may stand alone is its value: one of its choices; or any word, once all positional arguments are given.
local function is_value(d, word, missing)
  if not word or word:sub(1, 1) == "-" then return false end
  return is_choice(d, word) or not d.choices and missing <= 0
end

-- Options that may stand alone, written out: argparse would take whatever comes next as their value.
local function with_values(declarations, args, bound)
  local by_word, words, missing = {}, {}, 0
  for _, d in ipairs(declarations) do
    by_word["--" .. d.name] = not d.positional and d or nil
    if d.positional and bound[key_of(d)] == nil then missing = missing + 1 end
  end
  local i = 1
  while args[i] do
    local d = by_word[args[i]]
    if d and d.optional_value then
      local given = is_value(d, args[i + 1], missing)
      words[#words + 1] = args[i] .. "=" .. (given and args[i + 1] or d.optional_value)
      i = i + (given and 1 or 0)
    elseif d and d.type ~= "flag" then
      words[#words + 1], words[#words + 2] = args[i], args[i + 1]
      i = i + 1
    else
      words[#words + 1] = args[i]
      if args[i]:sub(1, 1) ~= "-" then missing = missing - 1 end
    end
    i = i + 1
  end
  return words
end

--- Parses a command line.
-- @param declarations array; @param args array of words
-- @param about { program = "moonpool autobackup", summary = text, bound = values that there are already }
-- @return all values, checked; or nil and the help text, if help was asked for
-- @raise usage: one line that names the option and the fault
-- @example options.parse(p.declarations, { "nas", "--keep-source", "10" }, { program = "moonpool autobackup", bound = {} })
function options.parse(declarations, args, about)
  local help_wanted = false
  local parser = parser_of(declarations, about, function()
    help_wanted = true
    error "help" -- ends the parsing before anything that is missing is complained about
  end)
  local ran, ok, found = pcall(parser.pparse, parser, with_values(declarations, args, about.bound))
  if help_wanted then return nil, parser:get_help() end
  if not ran then error(ok, 0) end
  if not ok then usage("%s", one_line(found)) end
  local values = {}
  for key, value in pairs(about.bound) do values[key] = value end
  for key, value in pairs(collected(declarations, found)) do values[key] = value end
  return options.bind(declarations, values)
end

--- A script for a shell that completes commands and their options.
-- @param shell "bash", "zsh" or "fish"; @param program the name it is for
-- @param commands array of { name, help, declarations = of its options or nil, commands = array of the same, or nil }
-- @return text, to be put where that shell looks for such scripts
-- @example options.completion("bash", "moonpool", { { name = "run", help = "run a policy" } })
function options.completion(shell, program, commands)
  local function add(parser, list)
    for _, c in ipairs(list) do
      local command = parser:command(c.name):description(c.help):add_help(c.declarations == nil)
      if c.declarations then
        add_options(command, c.declarations, {})
        add_choices(command, c.declarations)
      end
      add(command, c.commands or {})
    end
  end
  local parser = argparse(program)
  add(parser, commands)
  return parser["get_" .. shell .. "_complete"](parser)
end

return options
