-- Options: declarations, values from Lua and from command lines.

local errors = require "moonpool.error"
local options = require "moonpool.options"

local DECLARED = {
  { name = "backup-name", positional = true },
  { name = "target-path", positional = true, optional = true },
  { name = "keep-source", default = "30" },
  { name = "strip-path", type = "integer", default = 0 },
  { name = "buffer", type = "size", default = 16 },
  { name = "filter-properties", type = "list" },
  { name = "verbose", short = "v", type = "flag" },
  { name = "test", short = "n", type = "flag", implies = { "verbose" } },
  { name = "utc", type = "flag" },
  { name = "now", type = "time" },
}

local function parse(...) return options.parse(DECLARED, { ... }, { program = "moonpool x", summary = "what x does", bound = {} }) end

-- The message of the usage error that a function raises.
local function refusal(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(err, "usage"), tostring(err))
  assert.is_nil(tostring(err):find "\n")
  return tostring(err)
end

describe("a command line", function()
  it("may have options before, between and behind arguments", function()
    local values = parse("--keep-source", "5", "nas", "-v", "tank/x", "--buffer=1M")
    assert.are.same({ "5", "nas", true, "tank/x", 1048576 },
      { values.keep_source, values.backup_name, values.verbose, values.target_path, values.buffer })
  end)

  it("leaves defaults where nothing is said", function()
    local values = parse "nas"
    assert.are.same({ "30", 0, 16 }, { values.keep_source, values.strip_path, values.buffer })
    assert.is_nil(values.target_path)
    assert.is_nil(values.verbose)
  end)

  it("adds up lists that are repeated or have commas", function()
    assert.are.same({ "a", "b", "c" }, parse("nas", "--filter-properties", "a,b", "--filter-properties", "c").filter_properties)
  end)

  it("takes the last one of an option that is no list", function()
    assert.are.equal("2", parse("nas", "--keep-source", "1", "--keep-source", "2").keep_source)
  end)

  it("sets what a flag implies", function() assert.is_true(parse("nas", "-n").verbose) end)

  it("takes joined short flags", function()
    local values = parse("nas", "-nv")
    assert.is_true(values.test and values.verbose)
  end)

  it("reads a time as epoch, or as digits in the zone of --utc", function()
    assert.are.equal(86400, parse("nas", "--now", "86400").now)
    assert.are.equal(86400, parse("nas", "--utc", "--now", "19700102000000").now)
  end)

  it("gives an option that may stand alone the next word only when nothing else can be meant", function()
    local declared = {
      { name = "name", positional = true }, { name = "path", positional = true, optional = true }, { name = "jobs", type = "integer" },
      { name = "explain", type = "string", optional_value = "all" },
      { name = "compress", type = "choice", optional_value = "zstd", choices = { "zstd", "gzip" } },
    }
    local function explain(bound, ...) return options.parse(declared, { ... }, { program = "p", bound = bound }) end
    assert.are.equal("tank/a", explain({}, "nas", "back", "--explain", "tank/a").explain)
    assert.are.equal("tank", explain({ name = "nas", path = "back" }, "--jobs", "2", "--explain", "tank").explain)
    local values = explain({}, "--explain", "nas", "back")
    assert.are.same({ "all", "nas", "back" }, { values.explain, values.name, values.path })
    assert.are.equal("gzip", explain({}, "--compress", "gzip", "nas").compress)
    assert.are.equal("zstd", explain({}, "--compress", "nas", "back").compress)
  end)

  it("answers --help with all options, whatever else is missing", function()
    local values, help = parse "--help"
    assert.is_nil(values)
    assert.matches("%-%-keep%-source", help)
    assert.matches("what x does", help)
  end)

  local faults = {
    { { "nas", "--kep-source", "1" }, "unknown option '%-%-kep%-source'.*did you mean '%-%-keep%-source'" },
    { { "nas", "--strip-path", "x" }, "%-%-strip%-path: 'x' is not a whole number" },
    { { "nas", "--strip-path=-1" }, "%-%-strip%-path: '%-1' is not a whole number" },
    { { "nas", "--buffer", "lots" }, "%-%-buffer: 'lots' is not a size" },
    { { "nas", "--now", "yesterday" }, "%-%-now: 'yesterday' is not a time" },
    { { "nas", "--now", "20261332000000" }, "is not a time" },
    { { "nas", "--keep-source" }, "%-%-keep%-source" },
    { { "nas", "--keep-source", "" }, "%-%-keep%-source: an empty text" },
    { {}, "BACKUP%-NAME" },
    { { "a", "b", "c" }, "too many arguments" },
  }
  for _, case in ipairs(faults) do
    it(("is refused in one line: %s"):format(table.concat(case[1], " ")), function()
      assert.matches(case[2], refusal(parse, table.unpack(case[1])))
    end)
  end
end)

describe("values bound in Lua", function()
  it("make an argument optional, and the command line goes before them", function()
    local about = { program = "moonpool run nas", bound = { backup_name = "nas", keep_source = "7" } }
    assert.are.equal("nas", options.parse(DECLARED, {}, about).backup_name)
    assert.are.equal("9", options.parse(DECLARED, { "--keep-source", "9" }, about).keep_source)
  end)

  it("may be numbers where texts are meant", function() assert.are.equal("10", options.bind(DECLARED, { keep_source = 10 }).keep_source) end)

  it("are refused if there is no such option, with the nearest", function()
    assert.matches("no option 'keep_sorce', did you mean 'keep_source'", refusal(options.bind, DECLARED, { keep_sorce = "1" }))
  end)

  it("are durations of a thousand years at the most", function()
    local declared = { { name = "age", type = "duration" } }
    assert.are.equal(1000 * 365 * 86400, options.bind(declared, { age = "1000y" }).age)
    assert.are.equal(86400, options.bind(declared, { age = 1 }).age)
    for _, age in ipairs { "99999999999999999999d", "200000000000000000y", "9223372036854775807s", "1001y" } do
      assert.matches("%-%-age: '" .. age .. "' is longer than a thousand years", refusal(options.bind, declared, { age = age }))
    end
  end)

  it("are refused if their type is another", function()
    assert.matches("%-%-verbose: true or false, not a string", refusal(options.bind, DECLARED, { verbose = "yes" }))
    assert.matches("%-%-filter%-properties", refusal(options.bind, DECLARED, { filter_properties = { 1 } }))
  end)
end)
