-- Prints the milliseconds that a command on a host takes: moonpool lua commands.lua SSH_CONFIG COUNT. Connecting is not counted.

local core = require "moonpool.core"
local host = require "moonpool.host"

local config, count = ...
local far <close> = host.open("far", { ssh_config = config })
far:run { "true" }
local began = core.monotonic()
for _ = 1, tonumber(count) do far:run { "true" } end
print(("%.4f"):format((core.monotonic() - began) / tonumber(count) * 1000))
