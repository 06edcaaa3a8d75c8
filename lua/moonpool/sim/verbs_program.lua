--- The verb `program` of the simulator: channel programs that take snapshots or make bookmarks. (zfs-program(8))

local zfs = require "moonpool.zfs"

local verbs = {}

-- Errors are numbers there, those of errno.
local ENOENT, EEXIST, EINVAL, ENOTSUP = 2, 17, 22, 95

local function owner_of(c, name, kind)
  local owner, sep, short = zfs.split_snapshot(name)
  if sep ~= (kind == "snapshot" and "@" or "#") or not zfs.valid_name(name, kind) then return nil, EINVAL end
  local ds = c.machine.datasets[owner]
  if not ds then return nil, ENOENT end
  return ds, 0, short
end

local checks = {}

function checks.snapshot(c, name)
  local ds, fault, short = owner_of(c, name, "snapshot")
  return ds and ds.snapshot[short] and EEXIST or fault
end

function checks.bookmark(c, source, name)
  local ds, fault, short = owner_of(c, name, "bookmark")
  local from = c.machine:find(source)
  if not ds then return fault end
  if not from then return ENOENT end
  if not ds.pool.features.bookmarks then return ENOTSUP end
  return ds.bookmarks[short] and EEXIST or from.dataset ~= ds and EINVAL or 0
end

local doers = {}

function doers.snapshot(c, name)
  local ds, _, short = owner_of(c, name, "snapshot")
  c.txg = c.txg or c.world:next_txg()
  c.machine:add_snapshot(ds, short, c.txg, { props = {} })
end

function doers.bookmark(c, source, name)
  local ds, _, short = owner_of(c, name, "bookmark")
  ds.pool.features.bookmarks = "active"
  c.machine:add_bookmark(ds, short, c.machine:find(source))
end

-- What a program finds as `zfs.check` and `zfs.sync`.
local function library(c, does)
  local functions = {}
  for verb, check in pairs(checks) do
    functions[verb] = function(...)
      local fault = check(c, ...)
      if fault == 0 and does then doers[verb](c, ...) end
      return fault
    end
  end
  return functions
end

local function program(c)
  c:expect(2, nil, "pool")
  if not c.machine.pools[c.args[1]] then c:fail(1, "cannot open '%s': no such pool", c.args[1]) end
  local env = { ipairs = ipairs, error = error, zfs = { check = library(c, false), sync = library(c, true) } }
  local chunk, message = load(c.input or "", '=[string "channel program"]', "t", env)
  local ok = chunk ~= nil
  if ok then ok, message = pcall(chunk) end
  if not ok then c:fail(1, "Channel program execution failed:\n%s", tostring(message)) end
  c:print "{}"
end

verbs.program = {
  options = "jnm:t:", usage = "program [-jn] [-t <instruction limit>] [-m <memory limit (b)>] <pool> <program file> [lua args...]", run = program,
}

return verbs
