-- Names, command lines and what zfs prints.

local errors = require "moonpool.error"
local zfs = require "moonpool.zfs"

local function line(argv) return table.concat(argv, " ") end

describe("a name", function()
  it("is one of a dataset if every component is", function()
    assert.is_true(zfs.valid_name "tank/a b/c_d-e.f:g")
  end)

  local faults = {
    [""] = "empty component or misplaced '@' or '#' delimiter in name",
    ["tank//a"] = "empty component or misplaced '@' or '#' delimiter in name",
    ["/tank"] = "leading slash in name",
    ["tank/"] = "trailing slash in name",
    ["tank/a%b"] = "invalid character % in name",
    ["tank/é"] = "invalid character \xc3 in name",
    ["tank/.."] = "parent reference, '..' is found in name",
    ["tank/./a"] = "self reference, '.' is found in name",
    ["tank/a@x"] = "snapshot delimiter '@' is not expected here",
    ["tank/a#x"] = "bookmark delimiter '#' is not expected here",
    [("x"):rep(256)] = "name is too long",
  }
  for name, fault in pairs(faults) do
    it(("is none of a dataset if it is '%s'"):format(name:sub(1, 10)), function()
      assert.are.same({ false, fault }, { zfs.valid_name(name) })
    end)
  end

  it("may have 255 bytes", function() assert.is_true(zfs.valid_name(("x"):rep(255))) end)

  it("of a snapshot has one @ with something on both sides", function()
    assert.is_true(zfs.valid_name("tank/a@x", "snapshot"))
    assert.is_false((zfs.valid_name("tank/a", "snapshot")))
    assert.is_false((zfs.valid_name("tank/a@", "snapshot")))
    assert.is_false((zfs.valid_name("tank/a@x@y", "snapshot")))
    assert.is_false((zfs.valid_name("tank/a@x/y", "snapshot")))
  end)

  it("is cut into its parts", function()
    assert.are.same({ "tank/a", "@", "x" }, { zfs.split_snapshot "tank/a@x" })
    assert.are.same({ "tank/a", "#", "x" }, { zfs.split_snapshot "tank/a#x" })
    assert.are.same({ "tank/a" }, { zfs.split_snapshot "tank/a" })
    assert.are.equal("tank", zfs.pool "tank/a@x")
    assert.are.equal("tank", zfs.pool "tank@x")
    assert.are.equal("tank/a", zfs.parent "tank/a/b")
    assert.is_nil(zfs.parent "tank")
  end)

  it("is below another one by component only", function()
    assert.is_true(zfs.is_below("tank/a/b", "tank/a"))
    assert.is_false(zfs.is_below("tank/ab", "tank/a"))
    assert.is_false(zfs.is_below("tank/a", "tank/a"))
  end)

  it("of a user's property has a colon and no capitals", function()
    assert.is_true(zfs.is_user_property "autobackup:nas-1_x.y")
    assert.is_false(zfs.is_user_property "autobackup")
    assert.is_false(zfs.is_user_property "Auto:backup")
  end)

  it("of a hold does not start with a dot", function()
    assert.is_true(zfs.valid_tag "zfs_autobackup:nas")
    assert.is_false((zfs.valid_tag ".x"))
  end)
end)

describe("batches", function()
  local function collect(...)
    local list = {}
    for batch in zfs.batches(...) do list[#list + 1] = line(batch) end
    return list
  end

  it("keep to the limit, quotes and spaces counted, and keep the order", function()
    assert.are.same({ "aaa bbb", "ccc" }, collect({ "aaa", "bbb", "ccc" }, 12))
  end)

  it("have a name that is longer than the limit alone", function()
    assert.are.same({ "a", "bbbbbbbbbb", "c" }, collect({ "a", "bbbbbbbbbb", "c" }, 5))
  end)

  it("never mix pools if that is asked for", function()
    assert.are.same({ "p/a@x p/b@x", "q/a@x" }, collect({ "p/a@x", "p/b@x", "q/a@x" }, 1000, true))
  end)

  it("of nothing are none", function() assert.are.same({}, collect({}, 10)) end)
end)

describe("a command line", function()
  it("lists", function()
    local argv = zfs.list_argv { types = { "snapshot", "bookmark" }, columns = { "name", "guid" }, datasets = { "tank/a b", "c" }, depth = 1 }
    assert.are.equal("zfs list -Hp -d 1 -t snapshot,bookmark -o name,guid tank/a b c", line(argv))
    assert.are.equal("tank/a b", argv[#argv - 1])
  end)

  it("lists with depth 0, which is the dataset alone", function()
    assert.are.equal("zfs list -Hp -d 0 tank", line(zfs.list_argv { datasets = { "tank" }, depth = 0 }))
  end)

  it("gets properties with the value in the last column", function()
    assert.are.equal("zfs get -Hp -o name,property,source,value -t filesystem -s local all",
      line(zfs.get_argv { types = { "filesystem" }, sources = { "local" }, properties = { "all" } }))
  end)

  it("sends", function()
    assert.are.equal("zfs send -p -L -e -c -I tank/a@x tank/a@y", line(zfs.send_argv {
      to = "tank/a@y", from = "tank/a@x", incremental_all = true, props = true, large_blocks = true, embed = true, compressed = true,
    }))
    assert.are.equal("zfs send -w -i tank/a#x tank/a@y", line(zfs.send_argv { to = "tank/a@y", from = "tank/a#x", raw = true }))
    assert.are.equal("zfs send -n -v -t 1-a-b-c", line(zfs.send_argv { token = "1-a-b-c", dry = true, verbose = true }))
  end)

  it("receives, properties in the order of their names", function()
    assert.are.equal("zfs receive -u -s -o a:b=1 -o canmount=off -x mountpoint back/a", line(zfs.receive_argv {
      target = "back/a", unmounted = true, resumable = true, set = { canmount = "off", ["a:b"] = 1 }, exclude = { "mountpoint" },
    }))
    assert.are.equal("zfs receive -A back/a", line(zfs.receive_argv { target = "back/a", abort = true }))
  end)

  it("snapshots, creates, holds and destroys", function()
    assert.are.equal("zfs snapshot -o a:b=c tank/a@x tank/b@x", line(zfs.snapshot_argv({ "tank/a@x", "tank/b@x" }, { ["a:b"] = "c" })))
    assert.are.equal("zfs create -p -o canmount=off back/nas", line(zfs.create_argv { dataset = "back/nas", parents = true, set = { canmount = "off" } }))
    assert.are.equal("zfs create -s -V 1048576 tank/v", line(zfs.create_argv { dataset = "tank/v", sparse = true, volsize = 1048576 }))
    assert.are.equal("zfs hold keep tank/a@x tank/b@x", line(zfs.hold_argv("keep", { "tank/a@x", "tank/b@x" })))
    assert.are.equal("zfs destroy -d tank/a@x,y", line(zfs.destroy_argv("tank/a", { "x", "y" }, { defer = true })))
    assert.are.equal("zfs destroy tank/a", line(zfs.destroy_argv "tank/a"))
  end)

  it("that would destroy no snapshots is refused, as it would destroy the dataset", function()
    local ok, err = pcall(zfs.destroy_argv, "tank/a", {})
    assert.is_false(ok)
    assert.is_true(errors.is(err, "invalid"))
  end)

  it("with a misspelt field is refused", function()
    local ok, err = pcall(zfs.send_argv, { to = "tank/a@x", rwa = true })
    assert.is_false(ok)
    assert.matches("unknown field 'rwa'", tostring(err))
  end)
end)

describe("what zfs prints:", function()
  it("properties, with tabs and newlines in values", function()
    local text = "tank/a\torg:odd\tlocal\ta\tb\n\nc\td\n\ntank/a@x\tuserrefs\t-\t0\ntank/b\torg:i\tinherited from tank/a b\t\n"
    assert.are.same({
      { name = "tank/a", property = "org:odd", source = "local", value = "a\tb\n\nc\td\n" },
      { name = "tank/a@x", property = "userrefs", source = "-", value = "0" },
      { name = "tank/b", property = "org:i", source = "inherited from tank/a b", value = "" },
    }, zfs.parse_get(text))
  end)

  it("properties, where a value can't pass for a dataset that was not asked for", function()
    local rows = zfs.parse_get("tank/a\ta:b\tlocal\tx\ntank/evil\tautobackup:nas\tlocal\ttrue\n", { "tank/a" })
    assert.are.equal(1, #rows)
    assert.are.equal("x\ntank/evil\tautobackup:nas\tlocal\ttrue", rows[1].value)
  end)

  it("no properties", function() assert.are.same({}, zfs.parse_get "") end)

  it("GUIDs above 2^63", function()
    assert.are.equal(-1, zfs.parse_guid "18446744073709551615")
    assert.are.equal(0x6f77707e914f7057, zfs.parse_guid "0x6f77707e914f7057")
    assert.are.equal(math.mininteger, zfs.parse_guid "9223372036854775808")
    assert.is_nil(zfs.parse_guid "-")
  end)

  it("estimates for programs", function()
    local estimate = zfs.parse_send_estimate "full\ttank/a@s1\t4215664\nincremental\ts1\ttank/a@s2\t4210544\nsize\t8426208\n"
    assert.are.equal(8426208, estimate.bytes)
    assert.are.same({ { to = "tank/a@s1", bytes = 4215664 }, { from = "s1", to = "tank/a@s2", bytes = 4210544 } }, estimate.steps)
  end)

  it("estimates for people", function()
    local estimate = zfs.parse_send_estimate "send from @s1 to tank/a@s2 estimated size is 4.02M\ntotal estimated size is 4.02M\n"
    assert.are.equal(4215275, estimate.bytes)
    assert.are.equal("tank/a@s2", estimate.steps[1].to)
  end)

  it("a resume token", function()
    local text = table.concat({
      "resume token contents:", "nvlist version: 0", "\tfromguid = 0x6f77707e914f7057", "\tobject = 0x3", "\toffset = 0xc0000",
      "\tbytes = 0xe1270", "\ttoguid = 0xf0f4eb4aeccfca9a", "\ttoname = tank/a b@s2", "\tembedok = 1", "\tcompressok = 1",
      "send from tank/a b@s1 to tank/a b@s2 estimated size is 3.14M", "total estimated size is 3.14M", "",
    }, "\n")
    assert.are.same({
      fromguid = 0x6f77707e914f7057, object = 3, offset = 0xc0000, bytes = 0xe1270, toguid = 0xf0f4eb4aeccfca9a, toname = "tank/a b@s2",
      embedok = true, compressok = true,
    }, zfs.parse_token(text))
  end)

  it("no token", function() assert.is_nil(zfs.parse_token "cannot resume send: resume token is corrupt (invalid format)\n") end)

  it("pools and their features, those that are disabled left out", function()
    local text = "tank\tsize\t503316480\ntank\tguid\t7309375847735634871\ntank\tfeature@bookmarks\tactive\n"
      .. "tank\tfeature@draid\tdisabled\nback\tfeature@bookmarks\tenabled\n"
    local pools = zfs.parse_pools(text)
    assert.are.equal(503316480, pools.tank.size)
    assert.are.equal(7309375847735634871, pools.tank.guid)
    assert.are.same({ tank = { bookmarks = "active" }, back = { bookmarks = "enabled" } }, zfs.parse_features(text))
  end)

  it("holds", function()
    assert.are.same({ { snapshot = "tank/a b@x", tag = "k" } }, zfs.parse_holds "tank/a b@x\tk\tMon Nov 23 12:48 2026\n")
  end)

  it("versions", function()
    local version = zfs.parse_version "zfs-2.3.2-2~bpo12+2\nzfs-kmod-2.3.2-2~bpo12+2\n"
    assert.are.same({ 2, 3, 2, "2.3.2-2~bpo12+2" }, { version.major, version.minor, version.patch, version.kernel })
    assert.is_nil(zfs.parse_version "unrecognized command 'version'")
  end)
end)

describe("a size", function()
  for text, bytes in pairs { ["4096"] = 4096, ["16M"] = 16 << 20, ["1.5g"] = 1610612736, ["2KiB"] = 2048, ["10 MB"] = 10 << 20 } do
    it(("is read: %s"):format(text), function() assert.are.equal(bytes, zfs.parse_size(text)) end)
  end

  for _, text in ipairs { "", "M", "1X", "-1", "1e3", "9000000E" } do
    it(("is refused: '%s'"):format(text), function()
      local ok, err = pcall(zfs.parse_size, text)
      assert.is_false(ok)
      assert.is_true(errors.is(err, "usage"))
    end)
  end

  local SHOWN = { [0] = "0B", [312] = "312B", [1024] = "1K", [4215664] = "4.02M", [12595200] = "12.0M", [503316480] = "480M", [354125312] = "338M" }
  for bytes, text in pairs(SHOWN) do
    it(("is shown as zfs does: %s"):format(text), function() assert.are.equal(text, zfs.format_bytes(bytes)) end)
  end
end)

describe("a duration", function()
  for seconds, text in pairs { [0.25] = "0.2 s", [42] = "42 s", [59.7] = "1 min 0 s", [200] = "3 min 20 s", [7260] = "2 h 1 min", [187200] = "2d 4h" } do
    it(("is shown: %s"):format(text), function() assert.are.equal(text, zfs.format_seconds(seconds)) end)
  end
end)
