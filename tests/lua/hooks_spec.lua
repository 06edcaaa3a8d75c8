-- What hooks get and what their answers do, on two simulated machines.

local helper = require "helper"

local policy = require "moonpool.policy"
local stock = require "policies.autobackup"

-- Runs a policy that extends the stock one, and notes what a hook of it is given.
local function run_with(world, hooks, options) return helper.backup(world, options, stock:extend(hooks)) end

local function said(lines) return table.concat(lines, "\n") end

describe("ctx", function()
  it("tells the side, its host, the dataset, its type and the clock", function()
    local world, seen = helper.world(), {}
    run_with(world, { keep = function(_, _, ctx) table.insert(seen, ("%s %s %s %s %d"):format(ctx.side, ctx.host, ctx.dataset, ctx.type, ctx.now)) end })
    assert.is_truthy(said(seen):find("source src tank/a filesystem " .. world.now, 1, true))
    assert.is_truthy(said(seen):find("target dst back/nas/tank/a filesystem " .. world.now, 1, true))
  end)

  it("has the pool's size, free space and share used", function()
    local pool
    run_with(helper.world(), { keep = function(_, _, ctx) pool = pool or ctx.pool end })
    assert.are.equal("tank", pool.name)
    assert.is_true(pool.free > 0 and pool.free < pool.size and pool.capacity <= 100)
  end)

  it("asks for a property of all datasets with one command", function()
    local world, seen = helper.world(), {}
    world:host("src"):run { "zfs", "set", "x:keep=all", "tank/a" }
    run_with(world, {
      keep = function(_, _, ctx) if ctx.side == "source" then seen[ctx.dataset] = { ctx.properties["x:keep"], ctx.properties["x:other"] } end end,
    })
    assert.are.same({ ["tank/a"] = { "all", nil }, ["tank/a/b"] = { "all", nil } }, seen)
    local count = 0
    for _, command in ipairs(world.commands) do
      if command.host == "src" and table.concat(command.argv, " "):find "zfs get .*x:keep" then count = count + 1 end
    end
    assert.are.equal(1, count)
  end)

  it("has the other side's snapshots and what both have", function()
    local world, seen = helper.world(), {}
    helper.backup(world)
    world:tick(86400)
    world:write("tank/a", 1000)
    run_with(world, { keep = function(_, _, ctx)
      if ctx.dataset ~= "tank/a" and ctx.dataset ~= "back/nas/tank/a" then return end
      local d = ctx.destinations[1]
      seen[ctx.side] = { d.host, d.dataset, d.exists, #d.snapshots, d.common and d.common.dataset }
    end })
    assert.are.same({ source = { "dst", "back/nas/tank/a", true, 2, "tank/a" }, target = { "src", "tank/a", true, 2, "back/nas/tank/a" } }, seen)
  end)

  it("has in select the type and the snapshots of what is not selected yet", function()
    local seen = {}
    run_with(helper.world(), { select = function(_, ds, ctx) seen[ds.name] = ctx.type .. " " .. #ctx.snapshots end })
    assert.are.same({ tank = "filesystem 0", ["tank/a"] = "filesystem 0", ["tank/a/b"] = "filesystem 0" }, seen)
  end)
end)

describe("a snapshot", function()
  it("that the run itself has made tells its sizes too", function()
    local seen = {}
    run_with(helper.world(), { keep = function(_, snapshots, ctx) seen[ctx.side .. ctx.dataset] = math.type(snapshots[1].referenced) end })
    assert.are.same({ ["sourcetank/a"] = "integer", ["sourcetank/a/b"] = "integer", ["targetback/nas/tank/a"] = "integer",
      ["targetback/nas/tank/a/b"] = "integer" }, seen)
  end)

  it("tells the tags of its holds to who asks", function()
    local world, seen = helper.world(), {}
    helper.backup(world)
    local first = helper.snapshots(world:host "src", "tank/a")[1]
    world:host("src"):run { "zfs", "hold", "mine", "tank/a@" .. first }
    world:tick(86400)
    world:write("tank/a", 5000)
    run_with(world, { keep = function(_, snapshots, ctx)
      if ctx.dataset == "tank/a" then for _, s in ipairs(snapshots) do seen[#seen + 1] = table.concat(s.holds, " "):gsub(":%x+$", "") end end
    end })
    assert.are.same({ "mine", "zfs_autobackup:nas" }, seen)
  end)

  it("tells its sizes to who asks", function()
    local world, seen = helper.world(), {}
    helper.backup(world)
    world:tick(86400)
    world:write("tank/a", 5000)
    run_with(world, { keep = function(_, snapshots, ctx)
      if ctx.side == "target" and #snapshots == 2 then seen[#seen + 1] = snapshots[1] end
    end }, { no_snapshot = true })
    run_with(world, { keep = function(_, snapshots)
      for _, s in ipairs(snapshots) do seen[#seen + 1] = math.type(s.used) == "integer" and math.type(s.referenced) == "integer" and s.written >= 0 end
    end }, { no_snapshot = true })
    assert.are.same({ true, true, true, true }, seen)
  end)
end)

describe("order", function()
  local function sent(order)
    local world = helper.world()
    world:host("src"):run { "zfs", "create", "tank/a/c" }
    local list = {}
    local status, lines = run_with(world, { order = order, before_dataset = function(_, ds) list[#list + 1] = ds.name end })
    return list, status, lines
  end

  it("decides which dataset is sent first, but parents stay before their children", function()
    local list, status = sent(function(_, datasets)
      table.sort(datasets, function(a, b) return a.name > b.name end)
      return datasets
    end)
    assert.are.same({ "tank/a", "tank/a/c", "tank/a/b" }, list)
    assert.are.equal(0, status)
  end)

  it("that leaves one out or names one twice is a failure, and all are sent", function()
    for _, wrong in ipairs { function(_, list) return { list[1] } end, function(_, list) return { list[1], list[1], list[2] } end } do
      local list, status, lines = sent(wrong)
      assert.are.equal(3, #list)
      assert.are.equal(1, status)
      assert.matches("hook 'order' of policy 'autobackup' %(.*hooks_spec", said(lines))
    end
  end)
end)

describe("a hook that fails", function()
  local function oh() error "oh" end

  -- Everything is backed up once, and a day later again with the hook in question.
  local function second(hooks, options)
    local world = helper.world()
    helper.backup(world)
    world:tick(40 * 86400)
    world:write("tank/a", 1000)
    world:write("tank/a/b", 1000)
    local status, lines, err = run_with(world, hooks, options)
    return world, status, lines, err
  end

  it("as target_name costs its dataset, and what it has on the target is not taken for missing", function()
    local hooks = { target_name = function(_, ds) if ds.name == "tank/a/b" then error "oh" end end }
    local world, status, lines = second(hooks, { destroy_missing = 1, keep_target = "60" })
    assert.are.equal(1, status)
    assert.matches("tank/a/b: hook 'target_name' of policy 'autobackup' failed: .*hooks_spec.lua:%d+: oh", said(lines))
    assert.are.equal(1, #helper.snapshots(world:host "dst", "back/nas/tank/a/b"))
    assert.are.equal(2, #helper.snapshots(world:host "dst", "back/nas/tank/a"))
  end)

  it("as keep lets everything stay, and the rest of the run goes on", function()
    local world, status, lines = second({ keep = oh }, { keep_source = "1", keep_target = "1" })
    assert.are.equal(2, status, said(lines))
    assert.are.equal(2, #helper.snapshots(world:host "src", "tank/a"))
    assert.are.equal(2, #helper.snapshots(world:host "dst", "back/nas/tank/a"))
  end)

  for _, name in ipairs { "base", "send_options", "filter_property", "before_dataset", "after_dataset" } do
    it("as " .. name .. " costs only its dataset, and destroys nothing of it", function()
      local hooks = { [name] = function(_, ds) if ds.name == "tank/a" then error "oh" end end }
      local world, status, lines = second(hooks, { keep_source = "last1", keep_target = "last1" })
      assert.are.equal(1, status, said(lines))
      assert.are.equal(2, #helper.snapshots(world:host "src", "tank/a"))
      assert.are.equal(1, #helper.snapshots(world:host "src", "tank/a/b"))
    end)
  end

  it("as base with what is no candidate is refused", function()
    local _, status, lines = second { base = function() return { from = {}, to = {} } end }
    assert.are.equal(2, status)
    assert.matches("hook 'base' of .* returned for tank/a what is not one of the candidates", said(lines))
  end)

  it("as before changes nothing at all", function()
    local world, status, _, err = second { before = oh }
    assert.is_nil(status)
    assert.matches("hook 'before'", tostring(err))
    assert.are.equal(1, #helper.snapshots(world:host "src", "tank/a"))
  end)

  it("as what before sets is said as it was raised", function()
    local _, status, lines = second { before = function(_, run) run.rate = function() error "no such window" end end }
    assert.are.equal(2, status)
    assert.matches("tank/a: .*hooks_spec.lua:%d+: no such window", said(lines))
  end)

  it("as after is a failure of a run that is done", function()
    local world, status = second({ after = oh }, { keep_target = "60" })
    assert.are.equal(1, status)
    assert.are.equal(2, #helper.snapshots(world:host "dst", "back/nas/tank/a"))
  end)

  it("and does not end costs its dataset like any other", function()
    local allowed = policy.max_instructions
    policy.max_instructions = 3000000
    local world, status = second({ keep = function(_, _, ctx)
      while ctx.dataset == "tank/a" do end
      return {}
    end })
    policy.max_instructions = allowed
    assert.are.equal(1, status)
    assert.are.equal(2, #helper.snapshots(world:host "src", "tank/a"))
    assert.are.equal(1, #helper.snapshots(world:host "src", "tank/a/b"))
  end)
end)

describe("a select that takes everything", function()
  it("never takes what is at or below the target path, which would be backed up into itself", function()
    local world = helper.world()
    local src = world:host "src"
    src:run { "zfs", "create", "tank/nas" }
    src:run { "zfs", "create", "tank/nasty" }
    local all = { select = function(_, ds) return ds.name ~= "tank" end }
    for _ = 1, 3 do
      local status, lines = run_with(world, all, { target_path = "tank/nas", ssh_target = "src", strip_path = 1 })
      assert.are.equal(0, status, said(lines))
      world:tick(86400)
    end
    assert.are.same({ "a", "nasty" }, { src:run({ "zfs", "list", "-H", "-d", "1", "-o", "name", "tank/nas" }).out:match "tank/nas/(%l+)\ntank/nas/(%l+)\n$" })
  end)
end)

describe("a target_name", function()
  it("is refused before anything is done if it is not below the target path", function()
    for _, name in ipairs { "back/else/a", "back", "back/nas", "back/nasty/a" } do
      local world = helper.world()
      local _, _, err = run_with(world, { target_name = function() return name end })
      assert.are.equal("usage", err.code)
      assert.matches("^tank/a would be received as " .. name .. ", which is not below the target path back/nas", tostring(err))
      assert.are.same({}, helper.snapshots(world:host "src", "tank/a"))
    end
  end)
end)

describe("a snapshot that somebody else destroys during a run", function()
  it("is thinned already", function()
    local world = helper.world()
    for _ = 1, 3 do
      assert.are.equal(0, (helper.backup(world)))
      world:tick(86400)
      world:write("tank/a", 5000)
    end
    local src = world:host "src"
    local first = "tank/a@" .. helper.snapshots(src, "tank/a")[1]
    local function quicker() return src:run({ "zfs", "destroy", first }, { check = false }) and nil end
    local status, lines = run_with(world, { after_dataset = quicker }, { keep_source = "last3" })
    assert.are.equal(0, status, said(lines))
    assert.are.equal(3, #helper.snapshots(src, "tank/a"))
  end)
end)

describe("a dataset that somebody else destroys during a run", function()
  -- Destroys it when a hook is asked for the first time; returns the run's exit status and what was said of tank/a/b.
  local function destroyed_in(hook, hooks)
    local world, gone = helper.world(), false
    hooks = hooks or {}
    hooks[hook] = function()
      if gone then return end
      gone = true
      world:host("src"):run { "zfs", "destroy", "-r", "tank/a/b" }
    end
    local status, lines, err = run_with(world, hooks)
    assert.is_nil(err)
    assert.is_true(gone)
    assert.are.equal(1, #helper.snapshots(world:host "dst", "back/nas/tank/a"))
    return status, said(lines)
  end

  it("is left out if it is gone before it was looked at", function()
    local asked
    local status, lines = destroyed_in("select", { order = function(_, list, ctx) asked = { #list, ctx.now } end })
    assert.are.equal(0, status, lines)
    assert.are.equal("", lines)
    assert.are.equal(1, asked[1])
  end)

  it("has no properties, and the others have theirs", function()
    local world, seen = helper.world(), {}
    local status = run_with(world, { select = function(_, ds, ctx)
      if ds.name == "tank" then world:host("src"):run { "zfs", "destroy", "-r", "tank/a/b" } end
      seen[ds.name] = tostring(ctx.properties.type)
    end })
    assert.are.equal(0, status)
    assert.are.same({ tank = "filesystem", ["tank/a"] = "filesystem", ["tank/a/b"] = "nil" }, seen)
  end)

  it("is left out if it is gone when the snapshots are made", function()
    local status, lines = destroyed_in "snapshot"
    assert.are.equal(0, status, lines)
    assert.are.equal("", lines)
  end)

  it("is a failure of its own if it is gone after that", function()
    local status, lines = destroyed_in "order"
    assert.are.equal(1, status, lines)
    assert.matches("tank/a/b", lines)
  end)
end)
