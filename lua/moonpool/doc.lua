--- What functions and modules are for, from the comments above them: for `help` in the interactive loop, and for the references (docs/references.lua).

local core = require "moonpool.core"

local doc = {}

-- The text of a chunk's source: one of the files in the program, or a file.
local function text_of(source)
  local inside = source:match "^@moonpool:(.*)$"
  if inside then return core.embedded(inside) end
  local path = source:match "^@(.*)$"
  local file = path and io.open(path, "r")
  if not file then return nil end
  local text <const> = file:read "a"
  file:close()
  return text
end

local function lines_of(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return lines
end

-- The name and parameters of a definition's line: "Host:run(argv, options)"; nil if it defines no function.
local function signature(line)
  local name, parameters = line:match "^%s*local function ([%w_]+)(%b())"
  if not name then name, parameters = line:match "^%s*function ([%w_%.:]+)(%b())" end
  if not name then name, parameters = line:match "^%s*([%w_%.]+)%s*=%s*function%s*(%b())" end
  return name and name .. parameters
end

-- The comment that ends above a line: array of lines without their dashes.
local function comment_above(lines, at)
  local first = at
  while first > 1 and lines[first - 1]:find "^%s*%-%-" and not lines[first - 1]:find "^%s*%-%- %-%-%-%-" do first = first - 1 end
  local comment = {}
  for i = first, at - 1 do comment[#comment + 1] = (lines[i]:gsub("^%s*%-%-+ ?", "")) end
  return comment
end

--- What is known of a function. @param fn the function
-- @return { signature, comment = array of lines, file, line }; nil if it is not of Lua, or its source is not found
-- @example for _, line in ipairs(doc.of(require "moonpool.zfs".pool).comment) do print(line) end
function doc.of(fn)
  local info = debug.getinfo(fn, "S")
  local text = info.what == "Lua" and text_of(info.source)
  if not text then return nil end
  local lines = lines_of(text)
  local line = lines[info.linedefined] or ""
  return { signature = signature(line) or line, comment = comment_above(lines, info.linedefined), file = info.short_src, line = info.linedefined }
end

--- The comment at the beginning of a file. @param text of the file; @return array of lines
function doc.heading(text)
  local comment = {}
  for line in text:gmatch "([^\n]*)\n" do
    local part = line:match "^%-%-+ ?(.*)$"
    if not part then break end
    comment[#comment + 1] = part
  end
  return comment
end

--- The functions of a file that have a comment of three dashes: what others may call.
-- @param text of the file; @return array of { signature, comment = array of lines, line }, in their order
function doc.entries(text)
  local lines, entries = lines_of(text), {}
  for i, line in ipairs(lines) do
    local name = signature(line)
    if name and not line:find "^%s*local" then
      local comment = comment_above(lines, i)
      local opening = lines[i - #comment] or ""
      if #comment > 0 and opening:find "^%s*%-%-%-" then entries[#entries + 1] = { signature = name, comment = comment, line = i } end
    end
  end
  return entries
end

return doc
