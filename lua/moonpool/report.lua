--- The report of a run, for machines: JSON, and OpenMetrics for node_exporter's textfile collector. docs/report.md has the fields.

local common = require "moonpool.common"
local core = require "moonpool.core"
local dkjson = require "dkjson"
local errors = require "moonpool.error"

local report = {}

local function error_of(e)
  if not e then return nil end
  return { code = e.code, message = tostring(e), hint = e.hint or errors.hint(e.stderr), host = e.host, status = e.status }
end

-- Seconds between the newest snapshot that both sides have and now: what would be lost.
local function lag_of(run, pair)
  local newest = common.newest(pair)
  return newest and math.max(0, run.now - (newest.from.time or newest.from.creation)) or nil
end

local function result_of(pair)
  if pair.error then return "failed" end
  if pair.skip then return "skipped" end
  return pair.sent and "sent" or "unchanged"
end

local function dataset_of(run, pair)
  return {
    name = pair.name, target = pair.target_name, result = result_of(pair), base = pair.base, snapshots = pair.snapshots or {},
    bytes = pair.bytes or 0, seconds = pair.seconds or 0, lag_seconds = pair.source and lag_of(run, pair), destroyed_source = pair.destroyed_source or 0,
    destroyed_target = pair.destroyed_target or 0, error = error_of(pair.error),
  }
end

--- What came of a run, as a table: see docs/report.md.
-- @param run the run; @param err the error that ended it early, or nil
-- @return table
function report.make(run, err)
  local made = {
    version = 1, moonpool = core.version, policy = run.policy.name, backup = run.options.backup_name, source_host = run.source.host.name,
    target_host = run.target and run.target.host.name, target_path = run.options.target_path, started = run.started,
    seconds = run.clock() - run.started, bytes = run.bytes, failures = #run.failures, error = error_of(err), datasets = {},
    result = (err or #run.failures > 0) and "failed" or "ok",
  }
  for i, pair in ipairs(run.pairs) do made.datasets[i] = dataset_of(run, pair) end
  setmetatable(made.datasets, { __jsontype = "array" })
  for _, d in ipairs(made.datasets) do setmetatable(d.snapshots, { __jsontype = "array" }) end
  local others = setmetatable({}, { __jsontype = "array" })
  for _, f in ipairs(run.failures) do others[#others + 1] = { name = f.dataset, error = error_of(f.error) } end
  made.errors = others
  return made
end

--- The reports of several runs as one. @param reports array from `report.make`
-- @param head fields of all of them together: policy, backup, target_host, target_path, started, seconds, failures; @return table: `head` with the rest
function report.together(reports, head)
  head.version, head.moonpool, head.bytes, head.result = 1, core.version, 0, "ok"
  for _, made in ipairs(reports) do
    head.bytes = head.bytes + made.bytes
    if made.result ~= "ok" then head.result = "failed" end
  end
  head.runs = setmetatable(reports, { __jsontype = "array" })
  return head
end

--- The report as JSON. @param made from `report.make`; @return text
function report.json(made) return dkjson.encode(made, { indent = true }) .. "\n" end

-- ---- OpenMetrics ----------------------------------------------------------------------------------------

-- A label's value, by the rules of the format: backslash, quote and newline are escaped.
local function label(text) return (tostring(text):gsub('[\\"\n]', { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" })) end

local function add(lines, name, kind, help, samples)
  lines[#lines + 1] = ("# HELP %s %s"):format(name, help)
  lines[#lines + 1] = ("# TYPE %s %s"):format(name, kind)
  for _, sample in ipairs(samples) do
    local words = {}
    for _, pair in ipairs(sample.labels) do words[#words + 1] = ('%s="%s"'):format(pair[1], label(pair[2])) end
    lines[#lines + 1] = ("%s{%s} %s"):format(name, table.concat(words, ","), ("%.14g"):format(sample.value))
  end
end

local function labels_of(made, d)
  return { { "backup", made.backup }, { "source", made.source_host }, { "target", made.target_host or "" }, d and { "dataset", d.name } }
end

--- The report as OpenMetrics. @param made from `report.make` or `report.together`; @return text
function report.metrics(made)
  local lines, runs = {}, made.runs or { made }
  local function one(name, help, value)
    local samples = {}
    for i, r in ipairs(runs) do samples[i] = { labels = labels_of(r), value = value(r) } end
    add(lines, name, "gauge", help, samples)
  end
  local function each(name, help, value)
    local samples = {}
    for _, r in ipairs(runs) do
      for _, d in ipairs(r.datasets) do
        local v = value(d)
        if v then samples[#samples + 1] = { labels = labels_of(r, d), value = v } end
      end
    end
    add(lines, name, "gauge", help, samples)
  end
  one("moonpool_run_timestamp_seconds", "When the last run began.", function(r) return r.started end)
  one("moonpool_run_duration_seconds", "How long the last run took.", function(r) return r.seconds end)
  one("moonpool_run_ok", "1 if the last run had no failure.", function(r) return r.result == "ok" and 1 or 0 end)
  one("moonpool_run_failures", "Failures of the last run.", function(r) return r.failures + (r.error and 1 or 0) end)
  one("moonpool_run_sent_bytes", "Bytes sent by the last run.", function(r) return r.bytes end)
  each("moonpool_dataset_ok", "1 if the dataset had no failure.", function(d) return d.result == "failed" and 0 or 1 end)
  each("moonpool_dataset_lag_seconds", "Age of the newest snapshot that both sides have.", function(d) return d.lag_seconds end)
  each("moonpool_dataset_sent_bytes", "Bytes sent of the dataset.", function(d) return d.bytes end)
  each("moonpool_dataset_duration_seconds", "Seconds that its streams took.", function(d) return d.seconds end)
  lines[#lines + 1] = "# EOF"
  return table.concat(lines, "\n") .. "\n"
end

-- ---- files ----------------------------------------------------------------------------------------------

--- Writes what options ask for; each file appears complete or not at all. A dry run writes none.
-- @param options json, metrics: paths or nil; test; @param make function that returns the report
-- @return array of errors: files that can't be written
function report.write(options, make)
  local faults = {}
  for _, kind in ipairs(options.test and {} or { "json", "metrics" }) do
    local path = options[kind]
    if path then
      local ok, code, message = core.write_file(path, report[kind](make()))
      if not ok then faults[#faults + 1] = errors.new { code = code, message = ("--%s: %s"):format(kind, message) } end
    end
  end
  return faults
end

return report
