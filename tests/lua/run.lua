-- Runs specs inside the program: moonpool lua tests/lua/run.lua [SPEC…]. Prints TAP. busted comes from the system.

local core = require "moonpool.core"

local specs = { ... }
if #specs == 0 then
  for _, name in ipairs(core.readdir "tests/lua") do
    if name:match "_spec%.lua$" then specs[#specs + 1] = "tests/lua/" .. name end
  end
  table.sort(specs)
end

-- Of the system: those that its lua5.4 finds. Of this checkout: what the specs share; moonpool itself is the one inside the program.
package.path = "tests/lua/?.lua;/usr/local/share/lua/5.4/?.lua;/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua;/usr/share/lua/5.3/?.lua;"
  .. "/usr/share/lua/5.3/?/init.lua"
package.cpath = "/usr/local/lib/lua/5.4/?.so;/usr/lib/x86_64-linux-gnu/lua/5.4/?.so;/usr/lib/aarch64-linux-gnu/lua/5.4/?.so;/usr/lib/lua/5.4/?.so"

-- busted ends the process by os.exit, which the program has no use for otherwise.
local status
os.exit = function(code) -- luacheck: ignore 122
  status = code == true and 0 or code == false and 1 or code or 0
  error("busted has ended", 0)
end
_G.arg = table.move(specs, 1, #specs, 4, { [0] = "busted", "-o", "TAP", "--" })
local ok, err = pcall(require "busted.runner", { standalone = false })
if not ok and not status then error(err, 0) end
return status or 0
