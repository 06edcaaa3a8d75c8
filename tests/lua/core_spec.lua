-- The border between C and Lua: what is started is kept alive, what is wrong raises before anything is started, what the
-- world does wrong comes back as a word and a message.

local core = require "moonpool.core"

local here = assert(core.host(nil, false))

local function finished(queue, job)
  assert.is_true(rawequal(queue:take(20), job))
  return job:result()
end

local function run(argv, input, timeout, limit)
  local queue <close> = core.queue()
  return finished(queue, assert(core.run(queue, here, argv, input, timeout, limit)))
end

-- A file of its own for a test. @return path, removed at the end of the scope through the second value
local function scratch()
  local path = os.tmpname()
  return path, setmetatable({}, { __close = function() os.remove(path) end })
end

local function is_running(pid) return run { "kill", "-0", pid }.code == "ok" end

-- Waits, asleep, until a process has ended.
local function gone(pid)
  local queue <close> = core.queue()
  for _ = 1, 100 do
    if not is_running(pid) then return true end
    queue:take(0.05)
  end
end

-- Starts a program that says its process id and then sleeps.
local function sleeper(queue)
  local path, remove = scratch()
  local job = core.run(queue, here, { "sh", "-c", 'echo $$ >"$0"; exec sleep 60', path })
  local wait <close> = core.queue()
  local pid
  repeat
    wait:take(0.02)
    for line in io.lines(path) do pid = line end
  until pid
  return job, pid, remove
end

describe("a command", function()
  it("gives output, error stream, status and bytes", function()
    local r = run { "sh", "-c", "echo out; echo err >&2; exit 3" }
    assert.same({ "exit", "out\n", 4, 1 }, { r.code, r.out, r.bytes, r.stage })
    assert.same({ code = "exit", status = 3, signal = 0, err = "err\n", message = r.stages[1].message }, r.stages[1])
  end)

  it("keeps every byte of its input and output", function()
    local bytes = {}
    for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
    local text = table.concat(bytes):rep(1000)
    assert.equal(text, run({ "cat" }, text).out)
  end)

  it("tells with a word how it ended", function()
    assert.equal("spawn", run({ "no-such-program-here" }).code)
    assert.equal("timeout", run({ "sleep", "60" }, nil, 0.1).code)
    assert.equal("limit", run({ "yes" }, nil, 0, 1000).code)
    assert.equal("signal", run({ "sh", "-c", "kill -9 $$" }).code)
  end)

  it("has no result before its end", function()
    local queue <close> = core.queue()
    local job <close> = core.run(queue, here, { "sleep", "60" })
    assert.is_false(job:done())
    assert.is_nil(job:result())
  end)

  it("ends as cancelled when it is cancelled", function()
    local queue <close> = core.queue()
    local job = core.run(queue, here, { "sleep", "60" })
    job:cancel()
    assert.equal("cancelled", finished(queue, job).code)
    assert.is_true(job:done())
  end)

  it("that writes is refused on a dry host, and one that reads is not", function()
    local queue <close> = core.queue()
    local dry <close> = core.host("local", true)
    assert.is_true(dry:dry())
    assert.equal("dry", finished(queue, core.run(queue, dry, { "zfs", "destroy", "tank" })).code)
    assert.is_false(core.reads { "zfs", "destroy", "tank" })
    assert.is_true(core.reads { "zfs", "list" })
  end)

  it("ends on the machine when nobody refers to it any more and it has no queue", function()
    local job, pid, remove <close> = sleeper(nil)
    assert.is_false(job:done())
    job = nil -- luacheck: ignore 311
    collectgarbage()
    assert.is_true(gone(pid))
    assert.is_not_nil(remove)
  end)

  it("goes on when its host is closed", function()
    local queue <close> = core.queue()
    local host = core.host()
    local job = core.run(queue, host, { "sh", "-c", "sleep 0.1; echo done" })
    host:close()
    assert.equal("done\n", finished(queue, job).out)
  end)
end)

describe("a queue", function()
  it("gives the Lua value that was started, also if nobody else has kept it", function()
    local queue <close> = core.queue()
    local names = setmetatable({}, { __mode = "k" })
    for i = 1, 20 do names[core.run(queue, here, { "echo", tostring(i) })] = tostring(i) end
    collectgarbage()
    for _ = 1, 20 do
      local job = queue:take(20)
      assert.equal(names[job] .. "\n", job:result().out)
    end
    assert.is_nil(queue:take(0))
  end)

  it("lets go of the jobs that were taken", function()
    local queue <close> = core.queue()
    local weak = setmetatable({}, { __mode = "v" })
    weak[1] = core.run(queue, here, { "true" })
    queue:take(20)
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("waits as long as it was told", function()
    local queue <close> = core.queue()
    local began = core.monotonic()
    assert.is_nil(queue:take(0.1))
    local waited = core.monotonic() - began
    assert.is_true(waited >= 0.1 and waited < 5)
  end)

  it("ends what still reports to it when it is closed", function()
    local queue = core.queue()
    local job, pid, remove <close> = sleeper(queue)
    queue:close()
    assert.is_true(gone(pid))
    assert.equal("cancelled", job:result().code)
    assert.is_not_nil(remove)
  end)

  it("can be closed twice, and not be used afterwards", function()
    local queue = core.queue()
    queue:close()
    queue:close()
    assert.has_error(function() queue:take(0) end)
    assert.has_error(function() core.run(queue, here, { "true" }) end)
  end)
end)

describe("a pipe", function()
  local function pipe(argvs, buffer, rate, stall_timeout)
    local queue <close> = core.queue()
    local hosts = {}
    for i in ipairs(argvs) do hosts[i] = here end
    return finished(queue, assert(core.pipe(queue, hosts, argvs, buffer, rate, stall_timeout)))
  end

  it("counts the bytes, and tells of every stage", function()
    local r = pipe { { "head", "-c", "1000000", "/dev/zero" }, { "cat" }, { "sh", "-c", "cat >/dev/null" } }
    assert.same({ "ok", 1000000, 3 }, { r.code, r.bytes, #r.stages })
    assert.is_nil(r.stage)
    assert.is_nil(r.out)
  end)

  it("names the stage that failed, from one", function()
    local r = pipe { { "yes" }, { "sh", "-c", "echo broken >&2; exit 4" } }
    assert.same({ "exit", 2, 4, "broken\n" }, { r.code, r.stage, r.stages[2].status, r.stages[2].err })
  end)

  it("is told when nothing moves", function()
    assert.equal("stalled", pipe({ { "sleep", "60" }, { "cat" } }, 0, 0, 0.2).code)
  end)

  it("keeps to a rate", function()
    local r = pipe({ { "head", "-c", "300000", "/dev/zero" }, { "sh", "-c", "cat >/dev/null" } }, 65536, 1000000)
    assert.equal("ok", r.code)
    assert.is_true(r.seconds > 0.1)
  end)

  -- Starts `count` pipes of so many bytes with one throttle, and answers their results.
  local function together(throttle, count, bytes, meanwhile)
    local queue <close> = core.queue()
    local argvs = { { "head", "-c", tostring(bytes), "/dev/zero" }, { "sh", "-c", "cat >/dev/null" } }
    for _ = 1, count do assert(core.pipe(queue, { here, here }, argvs, 65536, throttle)) end
    if meanwhile then meanwhile() end
    local results = {}
    for i = 1, count do results[i] = queue:take():result() end
    return results
  end

  it("keeps to one rate with others", function() -- the shares: tests/c/throttle_test.c
    local last = 0
    for _, r in ipairs(together(core.throttle(2000000), 3, 400000)) do
      assert.equal("ok", r.code)
      last = math.max(last, r.seconds)
    end
    assert.is_true(last > 0.5, last) -- 1.2 MB at 2 MB/s
  end)

  it("keeps a throttle whose variable is closed", function()
    local queue <close> = core.queue()
    local argvs = { { "head", "-c", "400000", "/dev/zero" }, { "sh", "-c", "cat >/dev/null" } }
    do
      local throttle <close> = core.throttle(1000000)
      assert(core.pipe(queue, { here, here }, argvs, 65536, throttle))
    end
    collectgarbage()
    local result = queue:take():result()
    assert.equal("ok", result.code)
    assert.is_true(result.seconds > 0.2, result.seconds)
  end)

  it("goes at another rate as soon as it is told so", function()
    local throttle = core.throttle(10000)
    local results = together(throttle, 1, 1000000, function() throttle:set(0) end)
    assert.is_true(results[1].seconds < 5, results[1].seconds)
    assert.has_error(function() throttle:set(-1) end)
    assert.has_error(function() core.throttle(-1) end)
  end)
end)

describe("wrong arguments", function()
  it("raise, and start nothing", function()
    local queue <close> = core.queue()
    local path, remove <close> = scratch()
    for _, argv in ipairs { {}, { "touch", 1 }, { "touch\0", path .. ".new" }, { "touch", {} } } do
      assert.has_error(function() core.run(queue, here, argv) end)
    end
    assert.has_error(function() core.run(queue, here, "touch " .. path) end)
    assert.has_error(function() core.run(queue, {}, { "true" }) end)
    assert.has_error(function() core.run(queue, here, { "true" }, nil, 0, -1) end)
    assert.has_error(function() core.run(queue, here, { "true" }, {}) end)
    assert.has_error(function() core.pipe(queue, {}, {}) end)
    assert.has_error(function() core.pipe(queue, { here }, { { "true" }, { "true" } }) end)
    assert.has_error(function() core.pipe(queue, { here, here }, { { "true" }, { "true", 1 } }) end)
    -- A metatable could say other words each time, which nobody keeps.
    local made = setmetatable({}, { __len = function() return 2 end, __index = function() return "tou" .. "ch" end })
    assert.has_error(function() core.run(queue, here, made) end)
    assert.is_nil(queue:take(0.05))
    assert.is_not_nil(remove)
  end)

  it("include a host that was closed", function()
    local host = core.host()
    host:close()
    host:close()
    assert.error_matches(function() core.run(nil, host, { "true" }) end, "host is closed")
    assert.has_error(function() host:name() end)
  end)

  it("include a destination that no host can have", function()
    local host, code, message = core.host "-oProxyCommand=true"
    assert.is_nil(host)
    assert.equal("invalid", code)
    assert.is_string(message)
  end)
end)

describe("a catalog", function()
  local text = "tank\t10\ton\ntank@a\t11\t-\ntank/b\t12\toff\ntank@b\t18446744073709551615\t-\n"

  local function listing(columns, words)
    local queue <close> = core.queue()
    local catalog = core.catalog(columns)
    return catalog, finished(queue, core.run(queue, here, { "printf", "%s", words }, nil, 0, 0, catalog))
  end

  it("has the rows of each dataset, in their order", function()
    local c, r = listing("us", text)
    assert.equal("ok", r.code)
    assert.same({ 2, "tank", "tank/b" }, { c:datasets(), c:name(1), c:name(2) })
    assert.same({
      { kind = "", name = "", 10, "on" }, { kind = "@", name = "a", 11, "-" }, { kind = "@", name = "b", -1, "-" },
    }, c:rows(1))
    assert.same({ { kind = "", name = "", 12, "off" } }, c:rows(2))
  end)

  it("has rows of one kind with names for their columns", function()
    local c, meta, columns = listing("us", text), {}, { "guid", "note" }
    local entries = c:entries(1, "@", columns, meta)
    assert.same({ { name = "a", guid = 11, note = "-" }, { name = "b", guid = -1, note = "-" } }, entries)
    assert.equal(meta, getmetatable(entries[1]))
    assert.same({}, c:entries(2, "@", columns, meta))
    assert.has_error(function() c:entries(1, "@", { "guid" }, meta) end)
    assert.has_error(function() c:entries(1, "@", { "guid", 2 }, meta) end)
    assert.has_error(function() c:entries(3, "@", columns, meta) end)
    assert.has_error(function() c:entries(1, "@", columns, meta, 7) end)
  end)

  it("gives them the times that are known of their names", function()
    local c = listing("us", text)
    local entries = c:entries(1, "@", { "guid", "note" }, {}, { a = 5, b = false })
    assert.same({ { name = "a", guid = 11, note = "-", time = 5, own = true }, { name = "b", guid = -1, note = "-" } }, entries)
  end)

  it("has those with another number than 0 in a column, the one with the greatest, and the one of a name", function()
    local c, meta, columns = listing("uu", "p\t1\t1\np@a\t7\t0\np#c\t99\t1\np@b\t8\t2\np@c\t8\t0\np/q\t1\t1\n"), {}, { "txg", "refs" }
    assert.same({ { name = "b", txg = 8, refs = 2 } }, c:entries(1, "@", columns, meta, nil, 2))
    assert.same({ name = "c", txg = 8, refs = 0 }, c:greatest(1, "@", columns, meta, nil, 1))
    assert.same({ name = "c", txg = 99, refs = 1 }, c:greatest(1, "#", columns, meta, nil, 1))
    assert.is_nil(c:greatest(2, "@", columns, meta, nil, 1))
    assert.has_error(function() c:greatest(1, "@", columns, meta, nil, 3) end)
    assert.has_error(function() c:greatest(1, "@", columns, meta) end)
    assert.same({ true, true, false, true }, { c:ascends(1, "@", 1), c:ascends(1, "#", 1), c:ascends(1, "@", 2), c:ascends(2, "@", 1) })
    assert.same({ true, false, true, false }, { c:has(1, "@", "a"), c:has(1, "#", "a"), c:has(1, "#", "c"), c:has(2, "@", "a") })
  end)

  it("finds a dataset by its name", function()
    local c = listing("us", text)
    assert.equal(2, c:find "tank/b")
    assert.is_nil(c:find "tank/c")
  end)

  it("refuses a row that is not as promised", function()
    local _, r = listing("us", "tank\tten\ton\n")
    assert.equal("parse", r.code)
  end)

  it("is kept alive by the command that fills it", function()
    local queue <close> = core.queue()
    local job = core.run(queue, here, { "sh", "-c", "sleep 0.1; printf 'tank\\t1\\n'" }, nil, 0, 0, core.catalog "u")
    collectgarbage()
    collectgarbage()
    assert.equal("ok", finished(queue, job).code)
  end)

  it("raises for columns and datasets that do not exist", function()
    assert.has_error(function() core.catalog "ux" end)
    assert.has_error(function() core.catalog(("u"):rep(17)) end)
    local c = listing("us", text)
    for _, i in ipairs { 0, 3, -1 } do
      assert.has_error(function() c:rows(i) end)
      assert.has_error(function() c:name(i) end)
    end
  end)
end)

describe("a lock", function()
  it("is had by one, who is named to the others, until it is closed", function()
    local path, remove <close> = scratch()
    local lock = assert(core.lock(path))
    local other, code, message = core.lock(path)
    assert.is_nil(other)
    assert.equal("locked", code)
    local pid = run({ "sh", "-c", "echo $PPID" }).out:match "%d+"
    assert.is_truthy(message:find(pid, 1, true), message)
    lock:close()
    assert(core.lock(path)):close()
    assert.is_not_nil(remove)
  end)

  it("is not inherited by commands", function()
    local path, remove <close> = scratch()
    local queue <close> = core.queue()
    local lock = assert(core.lock(path))
    local job, _, remove_pid <close> = sleeper(queue)
    lock:close()
    assert(core.lock(path)):close()
    assert.is_false(job:done())
    assert.is_not_nil(remove and remove_pid)
  end)

  it("that can't be made says why", function()
    local lock, code, message = core.lock "/no/such/directory/lock"
    assert.is_nil(lock)
    assert.equal("system", code)
    assert.is_truthy(message:find("/no/such/directory/lock", 1, true))
  end)
end)

describe("files", function()
  it("are written whole, over what was there", function()
    local path, remove <close> = scratch()
    assert.is_true(core.write_file(path, "one"))
    assert.is_true(core.write_file(path, "two\0three"))
    assert.same({ kind = "file", uid = core.uid(), size = 9, mode = core.stat(path).mode }, core.stat(path))
    assert.is_not_nil(remove)
  end)

  it("take no other thing's place", function()
    local path, remove <close> = scratch()
    run { "mkfifo", path .. ".fifo" }
    run { "ln", "-s", path, path .. ".link" }
    local queue <close> = core.queue()
    assert(core.run(queue, here, { "cat", path .. ".fifo" }))
    local done
    for _ = 1, 500 do -- until somebody reads there
      done = core.write_file(path .. ".fifo", "through a pipe")
      if done then break end
      queue:take(0.01)
    end
    assert.is_true(done)
    assert.equal("through a pipe", queue:take():result().out)
    assert.is_true(core.write_file(path .. ".link", "through a link"))
    assert.is_true(core.write_file("/dev/null", "nowhere"))
    assert.equal("through a link", io.open(path):read "a")
    for what, file in pairs { p = path .. ".fifo", L = path .. ".link", c = "/dev/null" } do
      assert.equal("ok", run({ "test", "-" .. what, file }).code)
    end
    run { "rm", path .. ".fifo", path .. ".link" }
    assert.is_not_nil(remove)
  end)

  it("have a directory made for them, with its parents", function()
    local dir = os.tmpname()
    os.remove(dir)
    assert.is_true(core.mkdir(dir .. "/a/b", 448))
    assert.is_true(core.mkdir(dir .. "/a/b", 448))
    assert.is_not_nil(core.stat(dir .. "/a/b"))
    for _, path in ipairs { "/a/b", "/a", "" } do os.remove(dir .. path) end
    assert.is_nil((core.mkdir("/dev/null/a", 448)))
  end)

  it("that can't be written leave nothing behind", function()
    local done, code = core.write_file("/no/such/directory/file", "text")
    assert.is_nil(done)
    assert.equal("system", code)
    local dir = os.tmpname()
    os.remove(dir)
    assert.is_true(core.mkdir(dir, 448))
    assert.is_true(core.mkdir(dir .. "/target", 448))
    assert.is_nil((core.write_file(dir .. "/target", "text")))
    local names = {}
    for _, name in ipairs(core.readdir(dir)) do names[name] = true end
    assert.same({ ["."] = true, [".."] = true, target = true }, names)
    run { "rm", "-r", dir }
  end)

  it("that are not there are nil", function()
    assert.is_nil((core.stat "/no/such/file"))
    assert.is_nil((core.readdir "/no/such/file"))
  end)
end)

describe("text", function()
  it("is quoted so that a shell reads the same words", function()
    local words = { "printf", "%s.", "a b", "it's", "$HOME", "`x`", "\\", "", "new\nline", "ünï" }
    assert.equal(run(words).out, run({ "sh", "-c", core.quote(words) }).out)
  end)

  it("can't move the cursor of a terminal", function()
    assert.equal("a\\x1b[2Jb\\n", core.printable "a\27[2Jb\n")
  end)

  it("is matched by extended regular expressions", function()
    local re = assert(core.regex "^tank/(a|b)[0-9]+$")
    assert.same({ true, false }, { re:match "tank/a12", re:match "tank/c12" })
    local none, message = core.regex "("
    assert.is_nil(none)
    assert.is_string(message)
  end)
end)

describe("the program", function()
  it("carries its Lua files, sorted", function()
    local names = core.embedded_names()
    local sorted = table.move(names, 1, #names, 1, {})
    table.sort(sorted)
    assert.same(sorted, names)
    assert.is_truthy(core.embedded "policies/autobackup.lua":find("return", 1, true))
    assert.is_truthy(load(core.embedded "lua/moonpool/sched.lua"))
    assert.is_nil((core.embedded "lua/moonpool/nothing.lua"))
  end)

  it("finds no Lua file of the current directory", function()
    assert.equal("@moonpool:lua/moonpool/sched.lua", debug.getinfo(require "moonpool.sched".run).source)
  end)

  it("refuses what walks around the dry run, and names the right call", function()
    assert.error_matches(function() os.execute "true" end, "host:run")
    assert.error_matches(function() io.popen "true" end, "host:pipe")
  end)
end)
