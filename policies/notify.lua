--- Hooks `after` that tell somebody how a run ended: a command, mail, Zabbix, a webhook, a health check. Combine them with `notify.all`.
--
-- They run here, on the machine that runs moonpool, and never cost the run: what fails is a warning. A run with --test tells nobody.

local dkjson = require "dkjson"
local errors = require "moonpool.error"
local host = require "moonpool.host"
local log = require "moonpool.log"
local report = require "moonpool.report"

local notify = {}

-- Nobody waits longer than that for a message to go out.
local TIMEOUT_SECONDS = 60

local function failed(run, err) return err ~= nil or #run.failures > 0 end

local function subject(run, err)
  local name = run.options.backup_name
  if err then return ("moonpool: backup %s could not run"):format(name) end
  if #run.failures > 0 then return ("moonpool: backup %s had %d failure%s"):format(name, #run.failures, #run.failures == 1 and "" or "s") end
  return ("moonpool: backup %s is well"):format(name)
end

local function text_of(run, err)
  local lines = { subject(run, err), "" }
  if err then lines[#lines + 1] = errors.line(errors.wrap(err)) end
  for _, f in ipairs(run.failures) do lines[#lines + 1] = f.dataset .. ": " .. errors.line(f.error) end
  lines[#lines + 1] = ("%d datasets, %d bytes sent"):format(#run.pairs, run.bytes)
  return table.concat(lines, "\n") .. "\n"
end

-- Runs a program here; what it complains of is a warning.
local function tell(run, argv, input)
  if run.options.test then return log.info("would tell by: %s", argv[1]) end
  local ok, err = pcall(function()
    local here <close> = host.open()
    here:run(argv, { input = input, timeout = TIMEOUT_SECONDS })
  end)
  if not ok then
    if errors.is(err, "cancelled") then errors.raise(err) end
    log.warn("nobody was told: %s", errors.line(errors.wrap(err)))
  end
end

-- A header of a mail is one line, whatever is in it.
local function header(name, value) return ("%s: %s\n"):format(name, (value:gsub("%c", " "))) end

--- A hook that runs several hooks. @param ... functions for `after`; @return function for the hook `after`
-- @example policy:extend { after = notify.all(notify.mail { to = "root" }, notify.command { "logger", "backup ended" }) }
function notify.all(...)
  local hooks = { ... }
  return function(self, run, err)
    for _, hook in ipairs(hooks) do hook(self, run, err) end
  end
end

--- A hook that only tells of failures. @param hook function for `after`; @return function for the hook `after`
-- @example policy:extend { after = notify.on_failure(notify.mail { to = "root" }) }
function notify.on_failure(hook)
  return function(self, run, err)
    if failed(run, err) then hook(self, run, err) end
  end
end

--- Runs a command, which gets the number of failures and the text as two more arguments.
-- @param argv array; @return function for the hook `after`
-- @example policy:extend { after = notify.command { "/usr/local/bin/tell" } }
function notify.command(argv)
  return function(_, run, err)
    local words = table.move(argv, 1, #argv, 1, {})
    words[#words + 1] = err and "255" or tostring(#run.failures)
    words[#words + 1] = text_of(run, err)
    tell(run, words)
  end
end

--- Sends mail through the program sendmail. @param options { to = address, from = address or nil, sendmail = program or nil }
-- @return function for the hook `after`
-- @example policy:extend { after = notify.on_failure(notify.mail { to = "root" }) }
function notify.mail(options)
  return function(_, run, err)
    local head = header("To", options.to) .. (options.from and header("From", options.from) or "") .. header("Subject", subject(run, err))
      .. header("Content-Type", "text/plain; charset=utf-8")
    tell(run, { options.sendmail or "/usr/sbin/sendmail", "-t", "-i" }, head .. "\n" .. text_of(run, err))
  end
end

--- Gives the number of failures to Zabbix through the program zabbix_sender.
-- @param options { server, host = as Zabbix knows this one, key = of the item (moonpool.NAME) or nil }; @return function for the hook `after`
-- @example policy:extend { after = notify.zabbix { server = "zabbix.lan", host = "nas" } }
function notify.zabbix(options)
  return function(_, run, err)
    local key = options.key or "moonpool." .. run.options.backup_name
    tell(run, { "zabbix_sender", "-z", options.server, "-s", options.host, "-k", key, "-o", err and "255" or tostring(#run.failures) })
  end
end

-- What curl reads from its standard input, so that no address with a secret in it is seen in a list of processes.
local function quoted(text) return '"' .. text:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"' end

local function curl(run, url, body)
  local config = "url = " .. quoted(url) .. "\n"
  if body then config = config .. 'header = "Content-Type: application/json"\ndata-binary = ' .. quoted(body) .. "\n" end
  tell(run, { "curl", "-fsS", "--max-time", "30", "--retry", "2", "-o", "/dev/null", "--config", "-" }, config)
end

--- Posts the report as JSON (docs/report.md) to an address, through the program curl. @param url where; @return function for the hook `after`
-- @example policy:extend { after = notify.webhook "https://example.org/hook" }
function notify.webhook(url)
  return function(_, run, err) curl(run, url, dkjson.encode(report.make(run, err))) end
end

--- Asks for an address, as health checks want it: URL when all is well, URL/fail when not. @param url of the check; @return function for the hook `after`
-- @example policy:extend { after = notify.ping "https://example.org/check" }
function notify.ping(url)
  return function(_, run, err) curl(run, failed(run, err) and url .. "/fail" or url) end
end

--- The hook `before` that goes with `ping`: URL/start. @param url of the check; @return function for the hook `before`
-- @example policy:extend { before = notify.ping_start "https://example.org/check", after = notify.ping "https://example.org/check" }
function notify.ping_start(url)
  return function(_, run) curl(run, url .. "/start") end
end

return notify
