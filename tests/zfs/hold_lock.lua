-- Holds the lock KEY while a command runs: moonpool lua hold_lock.lua KEY COMMAND… Its exit status and errors are the command's.

local host = require "moonpool.host"
local lock = require "moonpool.lock"

local words = { ... }
local _ <close> = lock.acquire(table.remove(words, 1))
local here <close> = host.open()
local result = here:run(words, { check = false })
io.stderr:write(result.err)
return result.status
