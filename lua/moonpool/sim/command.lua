--- One command of the simulator at work: options read by the facts of its verb, output collected, errors as zfs words them.
--
-- A verb is a table: `options` in getopt's spelling (a letter, a colon behind it if it takes a value), `long` names for letters, `usage` (one
-- line), `reads` (true, or a function of the options: it changes nothing), `run` (called with the command).

local command = {}

local Command = {}
Command.__index = Command

-- Unwinds a handler whose command has failed for good.
local STOP = setmetatable({}, { __tostring = function() return "command of the simulator stopped" end })

--- Prints a line to standard output. @param format, ... as for string.format
function Command:print(format, ...) self.out[#self.out + 1] = format:format(...) .. "\n" end

--- Prints fields with tabs between them. @param fields array of texts
function Command:row(fields) self.out[#self.out + 1] = table.concat(fields, "\t") .. "\n" end

--- Says something on standard error. @param format, ... as for string.format
function Command:warn(format, ...) self.err[#self.err + 1] = format:format(...) .. "\n" end

--- Says what went wrong and goes on; the exit status will be 1. @param format, ... as for string.format
function Command:complain(format, ...)
  self:warn(format, ...)
  self.status = math.max(self.status, 1)
end

--- Says what went wrong and ends the command. @param status exit status; @param format, ... as for string.format
function Command:fail(status, format, ...)
  self:warn(format, ...)
  self:stop(status)
end

--- Ends the command after what was said already. @param status exit status
function Command:stop(status)
  self.status = status
  error(STOP)
end

--- Ends the command because of how it was called: exit status 2. @param format, ... what is wrong, or nothing
function Command:usage(format, ...)
  if format then self:warn(format, ...) end
  self:fail(2, "usage:\n\t%s", self.spec.usage)
end

--- The value of an option that was given at least once. @param letter the option; @return its last value, or nil
function Command:value(letter)
  local values = self.opts[letter]
  return values and values[#values]
end

--- All values of an option, those with commas taken apart. @param letter the option; @return array, or nil if it was not given
function Command:values(letter)
  if not self.opts[letter] then return nil end
  local list = {}
  for word in table.concat(self.opts[letter], ","):gmatch "[^,]+" do list[#list + 1] = word end
  return list
end

--- Checks how many arguments there are. @param least, most numbers; most may be nil; @param what is missing if there are too few
function Command:expect(least, most, what)
  if #self.args < least then self:usage(what and "missing %s argument" or nil, what) end
  if most and #self.args > most then self:usage "too many arguments" end
end

--- What a name stands for; the command ends if there is nothing of that name. @param name full name; @return dataset, snapshot or bookmark
function Command:open(name)
  local found = self.machine:find(name)
  if not found then self:fail(1, "cannot open '%s': dataset does not exist", name) end
  return found
end

-- One word of letters, such as "-rd": the values go into opts. Returns how many words were used.
local function read_letters(c, word, next_word)
  local at = 2
  while at <= #word do
    local letter = word:sub(at, at)
    local known, takes = c.spec.options:match("(" .. letter:gsub("%W", "%%%0") .. ")(:?)")
    if not known or letter == ":" then c:usage("invalid option '%s'", letter) end
    if takes == "" then
      c.opts[letter] = c.opts[letter] or {}
    else
      local value = at < #word and word:sub(at + 1) or next_word
      if not value then c:usage("missing argument for '%s' option", letter) end
      c.opts[letter] = c.opts[letter] or {}
      c.order[#c.order + 1] = { letter = letter, value = value }
      table.insert(c.opts[letter], value)
      return at < #word and 1 or 2
    end
    at = at + 1
  end
  return 1
end

-- Options may stand anywhere, as with glibc's getopt; `--` ends them.
local function read_options(c, words)
  local i = 1
  while words[i] do
    local word = words[i]
    local long = word:match "^%-%-(.+)$"
    if word == "--" then
      table.move(words, i + 1, #words, #c.args + 1, c.args)
      return
    elseif long then
      local letter = c.spec.long and c.spec.long[long]
      if not letter then c:usage("invalid option '%s'", long) end
      i = i + read_letters(c, "-" .. letter, words[i + 1])
    elseif word:find "^%-." then
      i = i + read_letters(c, word, words[i + 1])
    else
      c.args[#c.args + 1] = word
      i = i + 1
    end
  end
end

local function guarded(fn, ...)
  local ok, err = pcall(fn, ...)
  if not ok and err ~= STOP then error(err, 0) end
end

local function spec_of(verbs, argv)
  local family = verbs[argv[1]]
  local spec = family and family[argv[2]]
  if type(spec) == "string" then spec = family[spec] end
  return family, spec
end

--- Whether a command changes nothing. @param verbs table of verbs; @param argv the command
-- @return boolean; a program that is no zfs counts as writing
function command.reads(verbs, argv)
  local _, spec = spec_of(verbs, argv)
  if not spec then return false end
  if type(spec.reads) ~= "function" then return spec.reads == true end
  local c = setmetatable({ spec = spec, opts = {}, order = {}, args = {}, err = {}, status = 0 }, Command)
  guarded(read_options, c, table.move(argv, 3, #argv, 1, {}))
  return c.status == 0 and spec.reads(c.opts) == true
end

--- Runs a command of zfs or zpool.
-- @param verbs table of verbs by program; @param machine where; @param argv the command
-- @param input a stream for `zfs receive`, text for others, or nil
-- @return { out, err = text, status, stream = what `zfs send` made, or nil, received = bytes taken from the stream }
function command.run(verbs, machine, argv, input)
  local c = setmetatable({
    machine = machine, world = machine.world, argv = argv, input = input,
    opts = {}, order = {}, args = {}, out = {}, err = {}, status = 0,
  }, Command)
  local family, spec = spec_of(verbs, argv)
  c.spec = spec or { usage = argv[1] .. " command args ..." }
  guarded(function()
    if not spec then
      c:usage(argv[2] and "unrecognized command '%s'" or "missing command", argv[2])
    end
    read_options(c, table.move(argv, 3, #argv, 1, {}))
    spec.run(c)
  end)
  assert(family, "only programs of the simulator come here")
  return { out = table.concat(c.out), err = table.concat(c.err), status = c.status, stream = c.stream }
end

return command
