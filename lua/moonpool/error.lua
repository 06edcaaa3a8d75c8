--- The one error object: what failed, where, and why. Raised by everything in lua/; caught only where something different is then done.
--
-- Fields: code (a word), message, and where they are known host, argv, status, signal, stage (of a pipe, from 1), stderr, cause (another
-- error object) and hint (what to do about it). Codes of the core are those of `enum mp_code` ("exit", "connect", …); the library adds
-- usage, nothing, policy, diverged, parent, verify, clock, property and internal.

local errors = {}

local Error = {}
Error.__index = Error

-- What zfs says, and what helps.
local HINTS = {
  { "destination .- has been modified", "something wrote to the target after the last backup: --rollback undoes that (all later changes there are lost)" },
  { "dataset is busy", "something uses it: a mount, a hold, a clone or another receive" },
  { "out of space", "make room on the target: keep less (--keep-target), or enlarge the pool or its quota" },
  { "quota exceeded", "a quota of the target is in the way: zfs get quota,refquota" },
  { "[Kk]ey must be loaded", "zfs load-key on that machine" },
  { "permission denied", "run as root, or give the user the right with zfs allow" },
  { "I/O is currently suspended", "zpool status tells what is wrong with the pool; zpool clear resumes it" },
  { "pool .- is suspended", "zpool status tells what is wrong with the pool; zpool clear resumes it" },
  { "cannot mount", "--clear-mountpoint keeps backups from being mounted" },
  { "IV set guid mismatch", "the target was not received raw, or a plain stream was mixed in: --decrypt, or another target path for raw copies" },
  { "does not match incremental source", "the target has other snapshots than the source" },
  { "invalid backup stream", "a snapshot was made on the target meanwhile, or the stream was damaged: the next run goes on, or says what to destroy" },
  { "internal error: Invalid argument", "the target may not know a property: --filter-properties xattr leaves it out" },
  { "destination already exists", "a dataset of that name was made on the target meanwhile: --force lets a first receive take its place" },
  { "Unable to open /dev/zfs", "is the zfs module loaded, and are you root?" },
  { "The ZFS modules are not loaded", "modprobe zfs" },
}

-- The same for errors of the core that zfs has no part in.
local CODE_HINTS = {
  spawn = "is it installed there, and for this user?",
  stalled = "nothing moved for a long time: is the other end still alive?",
}

-- The last line that a program said; of zfs, which goes on about how it is called, the one before that.
local function last_line(text)
  return text and text:gsub("\nusage:\n.*", ""):gsub("%s+$", ""):match "[^\r\n]*$" or ""
end

--- What can be done about a message of zfs.
-- @param stderr text that a command printed; @return a hint, or nil
-- @example errors.hint "cannot receive: dataset is busy"
function errors.hint(stderr)
  for _, entry in ipairs(HINTS) do
    if (stderr or ""):find(entry[1]) then return entry[2] end
  end
end

-- "host: message: the last line that the program said", each only if the message does not say it already.
function Error:__tostring()
  local text = self.message
  if self.host and text:sub(1, #self.host + 2) ~= self.host .. ": " then text = self.host .. ": " .. text end
  local said = last_line(self.stderr)
  if said ~= "" and not text:find(said, 1, true) then text = text .. ": " .. said end
  return text
end

--- Makes an error object.
-- @param fields see above; code and message at least
-- @return error object
function errors.new(fields)
  assert(type(fields.code) == "string" and type(fields.message) == "string", "an error has a code and a message")
  return setmetatable(fields, Error)
end

--- Raises one. @param fields as for `new`, or whatever was caught
function errors.raise(fields)
  if type(fields) ~= "table" then fields = errors.wrap(fields) end
  error(getmetatable(fields) == Error and fields or errors.new(fields), 0)
end

--- Raises one that has only a code and a message. @param code a word; @param message, ... as for string.format
-- @example errors.fail("usage", "--jobs: '%s' is not a number", text)
function errors.fail(code, message, ...) errors.raise { code = code, message = message:format(...) } end

--- Whether something is an error object. @param e anything; @param code if given, of this code; @return boolean
function errors.is(e, code)
  return getmetatable(e) == Error and (code == nil or e.code == code)
end

--- Any value that was raised as an error object; a string becomes one with the code "internal".
-- @param e anything; @return error object
function errors.wrap(e)
  if errors.is(e) then return e end
  return errors.new { code = "internal", message = tostring(e) }
end

--- The error of a result of the core (docs/api.md).
-- @param result not "ok"; @param host the host's name; @param argvs array of argument vectors, one per stage
-- @return error object
function errors.from_result(result, host, argvs)
  local stage = result.stage or 1
  local ended = result.stages[stage] or {}
  return errors.new {
    code = result.code, message = result.message or result.code, host = host, argv = argvs[stage], stage = stage,
    status = ended.status ~= -1 and ended.status or nil, signal = ended.signal ~= 0 and ended.signal or nil, stderr = ended.err,
  }
end

--- One line for people: the error, and in brackets what can be done about it.
-- @param e error object; @return text
function errors.line(e)
  local hint = e.hint or errors.hint(e.stderr) or CODE_HINTS[e.code]
  return hint and ("%s (%s)"):format(tostring(e), hint) or tostring(e)
end

return errors
