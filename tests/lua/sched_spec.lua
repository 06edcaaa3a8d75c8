-- Tasks over real commands of this machine.

local core = require "moonpool.core"
local errors = require "moonpool.error"
local host = require "moonpool.host"
local sched = require "moonpool.sched"

local function sleeper(seconds) return { "sleep", tostring(seconds) } end

describe("a task", function()
  local here
  before_each(function() here = host.open() end)
  after_each(function() here:close() end)

  it("gives what its function returned", function()
    assert.are.same({ 1, nil, 3 }, { sched.run(function() return 1, nil, 3 end) })
  end)

  it("raises what its function raised, as it was", function()
    local ok, err = pcall(sched.run, function() errors.fail("usage", "no %s", "way") end)
    assert.is_false(ok)
    assert.are.equal("no way", tostring(err))
    assert.is_true(errors.is(err, "usage"))
  end)

  it("lets others go on while its command runs", function()
    local began = core.monotonic()
    sched.run(function()
      local a <close> = sched.spawn(here.run, here, sleeper(2))
      local b <close> = sched.spawn(here.run, here, sleeper(2))
      a:await()
      b:await()
    end)
    assert.is_true(core.monotonic() - began < 3.9)
  end)

  it("is cancelled at the end of its scope, and its command with it", function()
    local began = core.monotonic()
    local ended
    sched.run(function()
      local _ <close> = sched.spawn(function()
        local ok, err = pcall(here.run, here, sleeper(30))
        ended = not ok and err.code
      end)
      sched.sleep(0.05)
    end)
    assert.are.equal("cancelled", ended)
    assert.is_true(core.monotonic() - began < 3)
  end)

  it("that was cancelled can still run what cleans up", function()
    local cleaned
    sched.run(function()
      local task = sched.spawn(function()
        local guard <close> = setmetatable({}, { __close = function() cleaned = here:run({ "echo", "clean" }).out end })
        sched.sleep(30)
        return guard
      end)
      sched.sleep(0.01)
      task:close()
    end)
    assert.are.equal("clean\n", cleaned)
  end)

  it("that fails closes what its scopes hold", function()
    local closed = false
    local ok = pcall(sched.run, function()
      local guard <close> = setmetatable({}, { __close = function() closed = true end })
      sched.sleep(0.001)
      error(guard)
    end)
    assert.is_false(ok)
    assert.is_true(closed)
  end)

  it("sleeps as long as it was told", function()
    local began = core.monotonic()
    sched.run(sched.sleep, 0.1)
    local took = core.monotonic() - began
    assert.is_true(took >= 0.1 and took < 5, took)
  end)
end)

describe("outside a task", function()
  it("a command blocks, while tasks go on", function()
    local here <close> = host.open()
    local ran = false
    local _ <close> = sched.spawn(function()
      sched.sleep(0.01)
      ran = true
    end)
    here:run(sleeper(0.1))
    assert.is_true(ran)
  end)
end)

describe("each", function()
  it("calls the function for all, at most so many at a time", function()
    local at_work, most, seen = 0, 0, {}
    sched.run(sched.each, { "a", "b", "c", "d", "e" }, 2, function(item, index)
      at_work = at_work + 1
      most = math.max(most, at_work)
      sched.sleep(0.01)
      at_work = at_work - 1
      seen[index] = item
    end)
    assert.are.equal(2, most)
    assert.are.same({ "a", "b", "c", "d", "e" }, seen)
  end)

  it("goes on after one has failed, and raises the first error at the end", function()
    local seen = 0
    local ok, err = pcall(sched.run, sched.each, { 1, 2, 3, 4 }, 2, function(item)
      sched.sleep(0.01 * item)
      seen = seen + 1
      if item < 3 then errors.fail("usage", "item %d", item) end
    end)
    assert.is_false(ok)
    assert.are.equal("item 1", tostring(err))
    assert.are.equal(4, seen)
  end)

  it("that is cancelled cancels all", function()
    local ended = 0
    sched.run(function()
      local task = sched.spawn(sched.each, { 1, 2, 3 }, 3, function()
        local guard <close> = setmetatable({}, { __close = function() ended = ended + 1 end })
        sched.sleep(30)
        return guard
      end)
      sched.sleep(0.01)
      task:close()
    end)
    assert.are.equal(3, ended)
  end)
end)

describe("a group", function()
  it("waits for all of its tasks, and raises the first error", function()
    local done = 0
    local ok, err = pcall(sched.run, function()
      local group <close> = sched.group()
      group:spawn(function() errors.fail("usage", "first") end)
      group:spawn(function()
        sched.sleep(0.02)
        done = done + 1
      end)
      group:wait()
    end)
    assert.is_false(ok)
    assert.are.equal("first", tostring(err))
    assert.are.equal(1, done)
  end)
end)
