--- Completion in the interactive loop: names of fields and methods over the values that exist, and in a string names of datasets.

local host = require "moonpool.host"

local MAX_SHOWN = 60
local ASK_SECONDS = 3

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

-- What stands in a string that is still open at the end of a text; nil if none is.
local function open_string(text)
  local quote, from
  local i = 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "\\" and quote then
      i = i + 1
    elseif quote == c then
      quote = nil
    elseif not quote and (c == '"' or c == "'") then
      quote, from = c, i + 1
    end
    i = i + 1
  end
  return quote and text:sub(from)
end

-- Names of datasets: those that were seen, and those of this machine, which is asked once.
local seen, asked = {}, false
local function dataset_names()
  if not asked then
    asked = true
    pcall(function()
      local result = host.open():run({ "zfs", "list", "-H", "-o", "name" }, { check = false, timeout = ASK_SECONDS })
      for name in result.out:gmatch "[^\n]+" do seen[name] = true end
    end)
  end
  return seen
end

local complete = {}

--- Notes a dataset's name, so that it can be completed. @param name full name
function complete.saw(name) seen[name] = true end

local function candidates(env, text)
  local inside = open_string(text)
  if inside then return dataset_names(), inside end
  local path, start = text:match "([%a_][%w_%.:]*[%.:])([%w_]*)$"
  if path then return members(resolve(env, path)), start end
  local names = members(env)
  for name in pairs(members(_G)) do names[name] = true end
  return names, text:match "[%a_][%w_]*$" or ""
end

--- What can be written next to the last name of a line.
-- @param env table of names; @param text of the line, up to the cursor
-- @return what to insert ("" if nothing is common to all), array of all names that fit
-- @example complete.find(_G, "string.for") --> "mat", { "format" }
function complete.find(env, text)
  local names, start = candidates(env, text)
  local fitting = {}
  for name in pairs(names) do
    if name:sub(1, #start) == start then fitting[#fitting + 1] = name end
  end
  table.sort(fitting)
  return #fitting > 0 and common_start(fitting):sub(#start + 1) or "", fitting
end

--- The names that fit, for people, in columns. @param names array; @param width of the terminal; @return text
function complete.columns(names, width)
  local longest = 0
  for _, name in ipairs(names) do longest = math.max(longest, #name + 2) end
  local per_line, words = math.max(1, width // longest), {}
  for i = 1, math.min(#names, MAX_SHOWN) do
    words[i] = names[i] .. (" "):rep(longest - #names[i]) .. (i % per_line == 0 and "\n" or "")
  end
  local left = #names - MAX_SHOWN
  return table.concat(words):gsub("%s+$", "") .. (left > 0 and ("\n… and %d more"):format(left) or "")
end

return complete
