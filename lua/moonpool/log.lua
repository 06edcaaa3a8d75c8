--- What a run says: errors and warnings on standard error, the rest on standard output if it was asked for.

local log = {}

--- "quiet", "verbose" or "debug".
log.level = "quiet"

local SHOWN = {
  quiet = { error = true, warn = true },
  verbose = { error = true, warn = true, info = true },
  debug = { error = true, warn = true, info = true, debug = true },
}

--- Called before each line, to wipe away what is drawn on the terminal; nil: nothing is.
log.before_line = nil

local function write(level, line)
  if log.before_line then log.before_line() end
  if level == "error" or level == "warn" then
    io.stderr:write("moonpool: ", level == "warn" and "warning: " or "", line, "\n")
  else
    io.stdout:write(line, "\n")
    io.stdout:flush()
  end
end

--- Where lines go: function(level, line), for tests and embedders. The level was decided before.
log.sink = write

-- Names and messages of other machines must not steer the terminal.
local function printable(line)
  return (line:gsub("[%c\127]", function(c) return c == "\t" and c or c == "\n" and "\\n" or ("\\x%02x"):format(c:byte()) end)
    :gsub("\xc2[\x80-\x9f]", function(c) return ("\\x%02x\\x%02x"):format(c:byte(1, 2)) end))
end

local function say(level, format, ...)
  if SHOWN[log.level][level] then log.sink(level, printable(format:format(...))) end
end

--- A failure. @param format, ... as for string.format
function log.error(format, ...) say("error", format, ...) end

--- Something that is not right, but went well. @param format, ... as for string.format
function log.warn(format, ...) say("warn", format, ...) end

--- What is done, for --verbose. @param format, ... as for string.format
function log.info(format, ...) say("info", format, ...) end

--- What was asked for, at any level. @param format, ... as for string.format
function log.print(format, ...) log.sink("print", printable(format:format(...))) end

--- Every command, for --debug. @param format, ... as for string.format
function log.debug(format, ...) say("debug", format, ...) end

return log
