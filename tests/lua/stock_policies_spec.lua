-- The policies beside autobackup, on simulated machines.

local dkjson = require "dkjson"
local errors = require "moonpool.error"
local helper = require "helper"
local log = require "moonpool.log"
local sched = require "moonpool.sched"

local DAY, HOUR = 86400, 3600

-- Runs a policy as the command line would. @return exit status or nil, lines said, error
-- `opening` is called with what is to be opened.
local function run(world, name, values, opening)
  local p = require("policies." .. name):with(values)
  local lines, saved = {}, log.sink
  log.sink = function(level, line) lines[#lines + 1] = level .. ": " .. line end
  local env = {
    lock = false,
    clock = function() return world.now end,
    open = function(destination, options)
      if opening then opening(destination) end
      return world:host(destination or "src", { dry = options.test })
    end,
  }
  local ok, result = pcall(sched.run, p.run, p, p.options, env)
  log.sink, log.level = saved, "quiet"
  return ok and result or nil, table.concat(lines, "\n"), not ok and errors.wrap(result) or nil
end

local function refused(pattern, ...)
  local status, said, err = run(...)
  assert.is_nil(status, said)
  assert.matches(pattern, tostring(err))
end

local function names(world, host, dataset) return helper.snapshots(world:host(host), dataset) end
local function exists(world, host, name) return world:host(host):run({ "zfs", "list", name }, { check = false }).status == 0 end

describe("snapshot", function()
  it("takes one when a period has none yet, and keeps so many of each", function()
    local world = helper.world()
    for _ = 1, 30 * 2 do -- every half hour of 30 hours
      local status, said = run(world, "snapshot", { backup_name = "nas", hourly = 6, daily = 3, weekly = 0, monthly = 0 })
      assert.are.equal(0, status, said)
      world:tick(HOUR / 2)
    end
    local list = names(world, "src", "tank/a")
    -- The last six hours, and the first of each of the two days, of which one is among them.
    assert.are.equal(6 + 1, #list, table.concat(list, " "))
    assert.matches("^nas%-20261123000000", list[1])
    assert.matches("^nas%-20261124000000", list[2])
  end)

  it("refuses a target, and a schedule that keeps nothing", function()
    refused("TARGET%-PATH: the policy snapshot sends nothing", helper.world(), "snapshot", { backup_name = "nas", target_path = "back" })
    refused("all are 0", helper.world(), "snapshot", { backup_name = "nas", hourly = 0, daily = 0, weekly = 0, monthly = 0 })
  end)
end)

describe("prune", function()
  local function auto_snapshots(world)
    for i = 1, 10 do
      for _, name in ipairs { "auto-", "mine-" } do world:host("src"):run { "zfs", "snapshot", "tank/a@" .. name .. i } end
      world:tick(DAY)
    end
  end

  it("thins what matches, by its age, and nothing else", function()
    local world = helper.world()
    auto_snapshots(world)
    world:host("src"):run { "zfs", "hold", "keep", "tank/a@auto-2" }
    local status, said = run(world, "prune", { dataset = { "tank/a" }, pattern = "^auto-", keep_source = "3" })
    assert.are.equal(0, status, said)
    local left = table.concat(names(world, "src", "tank/a"), " ")
    assert.are.equal(10, select(2, left:gsub("mine%-", "")))
    assert.are.equal("auto-2 auto-8 auto-9 auto-10", left:gsub("mine%-%d+ ?", ""):gsub(" $", ""))
  end)

  it("refuses to begin without a pattern, a dataset, or with a target", function()
    local world = helper.world()
    refused("%-%-pattern: which snapshots may go", world, "prune", { dataset = { "tank/a" } })
    refused("%-%-pattern: '%(': ", world, "prune", { dataset = { "tank/a" }, pattern = "(" })
    refused("%-%-dataset: which datasets", world, "prune", { pattern = "x" })
    refused("works on one side", world, "prune", { dataset = { "tank/a" }, pattern = "x", target_path = "back" })
    refused("there is no dataset tank/none on src", world, "prune", { dataset = { "tank/none" }, pattern = "x" })
  end)

  it("makes no snapshots", function()
    local world = helper.world()
    run(world, "prune", { dataset = { "tank/a" }, pattern = "x" })
    assert.are.same({}, names(world, "src", "tank/a"))
  end)
end)

describe("replicate", function()
  it("takes the trees that are named, without properties", function()
    local world = helper.world()
    local src = world:host "src"
    src:run { "zfs", "inherit", "autobackup:nas", "tank/a" }
    for _, name in ipairs { "tank/a/tmp", "tank/other" } do src:run { "zfs", "create", name } end
    local values = { backup_name = "nas", target_path = "back/nas", ssh_target = "dst", dataset = { "tank/a" }, exclude = { "**/tmp" } }
    local status, said = run(world, "replicate", values)
    assert.are.equal(0, status, said)
    assert.is_true(exists(world, "dst", "back/nas/tank/a/b"))
    assert.is_false(exists(world, "dst", "back/nas/tank/a/tmp"))
    assert.is_false(exists(world, "dst", "back/nas/tank/other"))
  end)

  it("says that there is no such dataset", function()
    refused("there is no dataset tank/x on src", helper.world(), "replicate", { backup_name = "nas", target_path = "back/nas", dataset = { "tank/x" } })
  end)
end)

describe("fleet", function()
  local function fleet()
    local world = helper.world()
    for _, name in ipairs { "web", "db" } do
      local host = world:host(name)
      host:run { "zpool", "create", "data" }
      host:run { "zfs", "set", "autobackup:nas=true", "data" }
      world:write("data", 1000, { host = name })
    end
    return world
  end
  local values = { backup_name = "nas", target_path = "back/fleet", ssh_target = "dst", hosts = { "web", "db" }, verbose = true }

  it("pulls each host into a place of its own", function()
    local world = fleet()
    local status, said = run(world, "fleet", values)
    assert.are.equal(0, status, said)
    assert.are.equal(1, #names(world, "dst", "back/fleet/web/data"))
    assert.are.equal(1, #names(world, "dst", "back/fleet/db/data"))
  end)

  it("goes on when one host can't be reached, names it, and counts it", function()
    local world = fleet()
    world:fail { host = "web", code = "connect", message = "no route", times = 99 }
    local status, said = run(world, "fleet", values)
    assert.are.equal(1, status)
    assert.matches("error: web: ", said)
    assert.are.equal(1, #names(world, "dst", "back/fleet/db/data"))
    assert.is_false(exists(world, "dst", "back/fleet/web/data"))
  end)

  it("names the host of a dataset that fails", function()
    local world = fleet()
    world:fail { verb = "receive", dataset = "back/fleet/db/data", message = "cannot receive: oh" }
    local status, said = run(world, "fleet", values)
    assert.are.equal(1, status, said)
    assert.matches("error: db: data: .*oh", said)
  end)

  it("reports of all hosts in one file, also of those that could not be reached", function()
    local world, json, metrics = fleet(), os.tmpname(), os.tmpname()
    world:host("mail"):run { "zpool", "create", "data" } -- without the property
    world:fail { verb = "receive", dataset = "back/fleet/db/data", message = "cannot receive: oh" }
    local all = { hosts = { "web", "db", "mail" }, json = json, metrics = metrics }
    for key, value in pairs(values) do all[key] = all[key] or value end
    local status, said = run(world, "fleet", all)
    assert.are.equal(2, status, said)
    local made, text = dkjson.decode(assert(io.open(json)):read "a"), assert(io.open(metrics)):read "a"
    os.remove(json)
    os.remove(metrics)
    assert.are.same({ "failed", 2, "fleet", "nas", "dst", "back/fleet" },
      { made.result, made.failures, made.policy, made.backup, made.target_host, made.target_path })
    local results = {}
    for _, r in ipairs(made.runs) do results[r.source_host] = r.result .. " " .. r.failures .. " " .. (r.error and r.error.code or #r.datasets) end
    assert.are.same({ web = "ok 0 1", db = "failed 1 1", mail = "failed 0 nothing" }, results)
    assert.is_true(made.bytes > 0)
    assert.matches('moonpool_run_ok{backup="nas",source="web",target="dst"} 1\n', text)
    assert.matches('moonpool_run_ok{backup="nas",source="db",target="dst"} 0\n', text)
    assert.matches('moonpool_run_failures{backup="nas",source="mail",target="dst"} 1\n', text)
    assert.matches('moonpool_dataset_ok{backup="nas",source="db",target="dst",dataset="data"} 0\n', text)
    local _, types = text:gsub("# TYPE moonpool_run_ok ", "")
    assert.are.equal(1, types)
  end)

  it("reports of a host whose backup could not even begin, and counts a report that can't be written", function()
    local world, json = fleet(), os.tmpname()
    local all = { json = json, metrics = "/nowhere/at/all" }
    for key, value in pairs(values) do all[key] = all[key] or value end
    local status, said = run(world, "fleet", all, function(host)
      if host == "db" then errors.fail("connect", "no such host") end
    end)
    assert.are.equal(2, status)
    assert.matches("error: %-%-metrics: /nowhere/at/all: ", said)
    local made = dkjson.decode(assert(io.open(json)):read "a")
    os.remove(json)
    local by_host = {}
    for _, r in ipairs(made.runs) do by_host[r.source_host] = r end
    assert.are.equal("ok", by_host.web.result)
    assert.are.equal("no such host", by_host.db.error.message)
    assert.are.equal("back/fleet/db", by_host.db.target_path)
  end)

  it("refuses hosts that would share a place", function()
    refused("a@web and b@web would both be received in back/web", fleet(), "fleet", { backup_name = "nas", target_path = "back", hosts = { "a@web", "b@web" } })
    refused("%-%-hosts: which hosts", fleet(), "fleet", { backup_name = "nas", target_path = "back" })
  end)
end)

describe("monitor", function()
  local values = { backup_name = "nas", target_path = "back/nas", ssh_target = "dst" }

  it("is OK while backups are young, then WARNING, then CRITICAL", function()
    local world = helper.world()
    helper.backup(world)
    local status, said = run(world, "monitor", values)
    assert.are.equal(0, status)
    assert.matches("^print: OK: backup nas: 2 datasets, the oldest backup is .* | 'tank/a'=0s;93600;180000;0 'tank/a/b'=", said)
    world:tick(30 * HOUR)
    status, said = run(world, "monitor", values)
    assert.are.equal(1, status)
    assert.matches("^print: WARNING: backup nas: tank/a .*old, tank/a/b .*old |", said)
    world:tick(30 * HOUR)
    assert.are.equal(2, (run(world, "monitor", values)))
  end)

  it("is CRITICAL for a dataset that has no backup, and UNKNOWN when it can't look", function()
    local world = helper.world()
    local status, said = run(world, "monitor", values)
    assert.are.equal(2, status)
    assert.matches("tank/a has no backup", said)
    world:fail { host = "src", code = "connect", message = "no route", times = 99 }
    status, said = run(world, "monitor", values)
    assert.are.equal(3, status)
    assert.matches("^print: UNKNOWN: backup nas: ", said)
    assert.is_false(exists(world, "dst", "back/nas"))
  end)

  it("is CRITICAL for a dataset with a bad value of the property, or of which a hook fails to tell", function()
    local world = helper.world()
    helper.backup(world)
    world:host("src"):run { "zfs", "set", "autobackup:nas=yes", "tank/a" }
    local status, said = run(world, "monitor", values)
    assert.are.equal(2, status)
    assert.matches("print: CRITICAL: backup nas: tank/a: property autobackup:nas has the value 'yes'", said)
    world = helper.world()
    helper.backup(world)
    local failing = require("policies.monitor"):extend { name = "failing", select = function(_, ds) return ds.name == "tank/a/b" and error "oh" or nil end }
    local lines
    status, lines = helper.backup(world, {}, failing)
    log.level = "quiet"
    assert.are.equal(2, status)
    assert.matches("print: CRITICAL: backup nas: tank/a/b: hook 'select' .*oh", table.concat(lines, "\n"))
  end)

  it("looks at the newest snapshot where there is no target", function()
    local world = helper.world()
    helper.backup(world)
    assert.are.equal(0, (run(world, "monitor", { backup_name = "nas" })))
  end)
end)

describe("restore", function()
  local function backed_up()
    local world = helper.world()
    helper.backup(world)
    world:tick(DAY)
    world:write("tank/a/b", 1000)
    helper.backup(world)
    return world
  end
  local function values(more)
    local all = { from = "back/nas/tank/a/b", to = "tank/back", ssh_source = "dst", ssh_target = "src" }
    for key, value in pairs(more or {}) do all[key] = value end
    return all
  end

  it("brings the newest snapshot back beside the original", function()
    local world = backed_up()
    local status, said, err = run(world, "restore", values())
    assert.are.equal(0, status, said .. tostring(err))
    local there = names(world, "dst", "back/nas/tank/a/b")
    assert.are.same({ there[#there] }, names(world, "src", "tank/back"))
  end)

  it("brings back the snapshot that is named", function()
    local world = backed_up()
    local first = names(world, "dst", "back/nas/tank/a/b")[1]
    assert.are.equal(0, (run(world, "restore", values { from = "back/nas/tank/a/b@" .. first })))
    assert.are.same({ first }, names(world, "src", "tank/back"))
    refused("has no snapshot @none", world, "restore", values { from = "back/nas/tank/a/b@none", to = "tank/c" })
  end)

  it("never goes over data without being told", function()
    local world = backed_up()
    local before = names(world, "src", "tank/a/b")
    refused("tank/a/b exists on src", world, "restore", values { to = "tank/a/b" })
    assert.are.same(before, names(world, "src", "tank/a/b"))
  end)

  it("keeps what is there aside when told so, or gives it up once the new one is there", function()
    local world = backed_up()
    local before = names(world, "src", "tank/a/b")
    assert.are.equal(0, (run(world, "restore", values { to = "tank/a/b", over = "aside" })))
    local aside = world:host("src"):run({ "zfs", "list", "-H", "-o", "name", "-r", "tank/a" }).out:match "tank/a/b%.before%-%d+"
    assert.are.same(before, names(world, "src", aside))
    assert.are.equal(1, #names(world, "src", "tank/a/b"))
    world:host("src"):run { "zfs", "create", "tank/d" }
    assert.are.equal(0, (run(world, "restore", values { to = "tank/d", over = "destroy" })))
    assert.is_nil(world:host("src"):run({ "zfs", "list", "-H", "-o", "name", "-r", "tank" }).out:match "tank/d%.before")
  end)

  it("that is cut off has what was there still, and goes on when called again", function()
    local world = backed_up()
    world:write("tank/a/b", 5000000)
    world:tick(DAY)
    helper.backup(world)
    world:fail { verb = "receive", after_bytes = 2000000, code = "disconnect" }
    local _, _, err = run(world, "restore", values())
    assert.are.equal("disconnect", err.code)
    assert.are.equal(0, (run(world, "restore", values())))
    assert.are.equal(1, #names(world, "src", "tank/back"))
  end)

  it("that fails gives what was there its name back", function()
    local world = backed_up()
    local before = names(world, "src", "tank/a")
    world:fail { verb = "receive", host = "src", message = "cannot receive: out of space" }
    local _, _, err = run(world, "restore", values { from = "back/nas/tank/a", to = "tank/a", over = "aside" })
    assert.matches("out of space", tostring(err))
    assert.matches("make room.*; tank/a is again what it was", errors.line(err))
    assert.are.same(before, names(world, "src", "tank/a"))
    assert.is_true(exists(world, "src", "tank/a/b"))
  end)

  it("that is cut off tells where what was there is", function()
    local world = backed_up()
    world:write("tank/a/b", 5000000)
    world:tick(DAY)
    helper.backup(world)
    local before = names(world, "src", "tank/a/b")
    local over = values { to = "tank/a/b", over = "aside" }
    world:fail { verb = "receive", host = "src", after_bytes = 2000000, code = "disconnect" }
    local _, _, err = run(world, "restore", over)
    local aside = errors.line(err):match "what was tank/a/b is kept as (tank/a/b%.before%-%d+); the same command goes on"
    assert.are.same(before, names(world, "src", aside))
    assert.are.equal(0, (run(world, "restore", over)))
    assert.are.equal(1, #names(world, "src", "tank/a/b"))
  end)

  it("refuses to bring a backup back over itself, and names that are none", function()
    refused("is, or holds, the backup itself", backed_up(), "restore", { from = "back/nas/tank/a", to = "back/nas", ssh_source = "dst", ssh_target = "dst" })
    refused("%-%-to: 'tank/a@x'", backed_up(), "restore", values { to = "tank/a@x" })
    refused("%-%-from: which", backed_up(), "restore", { to = "tank/x" })
  end)

  it("as a test changes nothing", function()
    local world = backed_up()
    assert.are.equal(0, (run(world, "restore", values { test = true })))
    assert.is_false(exists(world, "src", "tank/back"))
  end)
end)

describe("verify", function()
  local values = { backup_name = "nas", target_path = "back/nas", ssh_target = "dst" }

  it("finds a backup that is as it should be", function()
    local world = helper.world()
    helper.backup(world)
    assert.are.equal(0, (run(world, "verify", values)))
  end)

  it("names what is not there, and what is another snapshot under the same name", function()
    local world = helper.world()
    helper.backup(world)
    local name = names(world, "src", "tank/a")[1]
    local dst = world:host "dst"
    dst:run { "zfs", "release", "zfs_autobackup:nas", "back/nas/tank/a/b@" .. name }
    dst:run { "zfs", "destroy", "-r", "back/nas/tank/a/b" }
    dst:run { "zfs", "release", "zfs_autobackup:nas", "back/nas/tank/a@" .. name }
    dst:run { "zfs", "destroy", "back/nas/tank/a@" .. name }
    dst:run { "zfs", "snapshot", "back/nas/tank/a@" .. name }
    local status, said = run(world, "verify", values)
    assert.are.equal(2, status)
    assert.matches("tank/a: @" .. name:gsub("%-", "%%-") .. " is another snapshot on the target", said)
    assert.matches("tank/a/b: is not on the target", said)
  end)
end)
