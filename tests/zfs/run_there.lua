-- Runs a command on a host and shows its output: moonpool lua run_there.lua HOST SSH_CONFIG COMMAND…

local host = require "moonpool.host"

local words = { ... }
local there <close> = host.open(table.remove(words, 1), { ssh_config = table.remove(words, 1) })
io.stdout:write(there:run(words).out)
