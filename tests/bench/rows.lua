-- Reads a listing into a catalog: moonpool lua rows.lua FILE

local host = require "moonpool.host"

local here <close> = host.open()
print(here:list({ "cat", (...) }, "uuuu"):datasets())
