--- Runs a page of docs/ as it is written: moonpool lua tests/console.lua PAGE.md…, in a directory of its own.
--
--   ```console    a line `$ COMMAND` is run by sh; the lines behind it are what it must print (both streams), where `…` stands for anything, and a line
--                 of `…` alone for any lines. All commands of a page run in one directory, one after the other. `[1]` at the end of the output is the
--                 exit status, if it is not 0.
--   ```lua FILE   is written to FILE, before what follows it is run
-- Fails with the first place where a page and the truth differ.

local errors = require "moonpool.error"
local host = require "moonpool.host"

-- The fenced blocks of a page: array of { language, file, line, text }.
local function blocks_of(path)
  local list, block, number = {}, nil, 0
  for line in io.lines(path) do
    number = number + 1
    local info = line:match "^```(.*)$"
    if info and block then
      list[#list + 1], block = block, nil
    elseif info then
      local language, file = info:match "^(%S*)%s*(%S*)"
      block = { language = language, file = file ~= "" and file or nil, line = number, lines = {} }
    elseif block then
      block.lines[#block.lines + 1] = line
    end
  end
  return list
end

-- The commands of a console block: array of { line, text, expected = array of lines }.
local function commands_of(block)
  local list = {}
  for i, line in ipairs(block.lines) do
    local command = line:match "^%$ (.*)$"
    local last = list[#list]
    if command then
      list[#list + 1] = { line = block.line + i, text = command, expected = {} }
    elseif last and last.text:find "\\$" then
      last.text = last.text:sub(1, -2) .. line
    elseif last then
      last.expected[#last.expected + 1] = line
    end
  end
  return list
end

local function matches_line(expected, line)
  local pattern = expected:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("…", ".*")
  return line:find("^" .. pattern .. "$") ~= nil
end

-- Whether lines are as expected, where an expected line of `…` stands for any number of lines.
local function matches(expected, lines, e, l)
  e, l = e or 1, l or 1
  if e > #expected then return l > #lines end
  if expected[e] == "…" then
    for rest = l, #lines + 1 do
      if matches(expected, lines, e + 1, rest) then return true end
    end
    return false
  end
  return l <= #lines and matches_line(expected[e], lines[l]) and matches(expected, lines, e + 1, l + 1)
end

local function run_command(here, page, command)
  local result = here:run({ "sh", "-c", command.text .. " 2>&1" }, { check = false })
  local lines = {}
  for line in (result.out .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = (line:gsub("%s+$", "")) end
  while lines[#lines] == "" do lines[#lines] = nil end
  if result.status ~= 0 then lines[#lines + 1] = ("[%d]"):format(result.status) end
  while command.expected[#command.expected] == "" do command.expected[#command.expected] = nil end
  if matches(command.expected, lines) then return end
  io.stderr:write(("%s:%d: $ %s\n--- the page says\n%s\n--- the truth is\n%s\n"):format(page, command.line, command.text,
    table.concat(command.expected, "\n"), table.concat(lines, "\n")))
  errors.fail("verify", "%s:%d: not as the page says", page, command.line)
end

local function run_page(here, page)
  local count = 0
  for _, block in ipairs(blocks_of(page)) do
    if block.language == "lua" and block.file then
      local file <close> = assert(io.open(block.file, "w"))
      file:write(table.concat(block.lines, "\n"), "\n")
    elseif block.language == "console" then
      for _, command in ipairs(commands_of(block)) do
        run_command(here, page, command)
        count = count + 1
      end
    end
  end
  print(("%s: %d commands"):format(page, count))
end

local here <close> = host.open()
for _, page in ipairs { ... } do run_page(here, page) end
