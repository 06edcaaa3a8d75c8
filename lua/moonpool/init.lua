--- moonpool: what `require "moonpool"` gives. Parts are loaded when they are first used.
--
--     local mp = require "moonpool"
--     local nas <close> = mp.host("root@nas", { dry = true })
--     print(nas:run({ "zfs", "list", "-Ho", "name" }).out)

local moonpool = {}

local PARTS = {
  error = "moonpool.error", log = "moonpool.log", options = "moonpool.options", policy = "moonpool.policy", sched = "moonpool.sched",
  sim = "moonpool.sim", zfs = "moonpool.zfs", core = "moonpool.core",
}

local LAZY = {
  host = function() return require "moonpool.host".open end,
  throttle = function() return require "moonpool.host".throttle end,
  version = function() return require "moonpool.core".version end,
}

return setmetatable(moonpool, {
  __index = function(_, name)
    local value
    if PARTS[name] then
      value = require(PARTS[name])
    elseif LAZY[name] then
      value = LAZY[name]()
    else
      error(("moonpool has no '%s'"):format(tostring(name)), 2)
    end
    moonpool[name] = value
    return value
  end,
})
