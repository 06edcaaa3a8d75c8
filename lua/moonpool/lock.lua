--- The lock of a run: one run of one backup at a time. The system lets it go when the process ends, however it ends.

local core = require "moonpool.core"
local errors = require "moonpool.error"

local lock = {}

-- Below 255 bytes, with room for the ending.
local MAX_NAME = 200

-- A directory of this user that others can't write to.
local function directory()
  if core.uid() == 0 then return "/run/moonpool" end
  local runtime = os.getenv "XDG_RUNTIME_DIR"
  if runtime and runtime ~= "" then return runtime .. "/moonpool" end
  return (os.getenv "HOME" or "/tmp") .. "/.cache/moonpool"
end

-- Text as a file name; a long one is cut and told apart by a sum (FNV-1a).
local function file_name(key)
  local name = key:gsub("[^%w._-]", function(c) return ("%%%02x"):format(c:byte()) end)
  if #name <= MAX_NAME then return name end
  local sum = 0xcbf29ce484222325
  for i = 1, #key do sum = (sum ~ key:byte(i)) * 0x100000001b3 end
  return ("%s-%016x"):format(name:sub(1, MAX_NAME), sum)
end

--- Takes the lock of a name; does not wait.
-- @param key text that names what must not be done twice at once
-- @return lock; closed by scope
-- @raise locked: another process has it (the message has its number); system
-- @example local held <close> = lock.acquire "autobackup nas"
function lock.acquire(key)
  local dir = directory()
  local made, code, message = core.mkdir(dir, 448) -- 0700
  if not made then errors.raise { code = code, message = message } end
  local held
  held, code, message = core.lock(dir .. "/" .. file_name(key) .. ".lock")
  if not held then
    errors.raise { code = code, message = code == "locked" and "another run of this backup is at work: " .. message or message }
  end
  return held
end

return lock
