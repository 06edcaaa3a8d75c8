--- Policies as files: a new one, a copy of a stock one to edit, what has changed since, and whether a file is right.

local core = require "moonpool.core"
local errors = require "moonpool.error"
local loader = require "moonpool.loader"
local policy = require "moonpool.policy"

local policyfile = {}

--- Where a user's own policies are: $XDG_CONFIG_HOME/moonpool or ~/.config/moonpool. @return path
-- @raise nothing: there is no home
function policyfile.directory()
  local home = os.getenv "HOME"
  local config = os.getenv "XDG_CONFIG_HOME" or home and home .. "/.config"
  if not config then errors.fail("nothing", "there is no HOME: name a file instead") end
  return config .. "/moonpool"
end

--- Writes a file that is not there yet. @param path where; @param text what; @raise exists: there is one; system
function policyfile.create(path, text)
  if core.stat(path) then errors.fail("exists", "%s is there already, and stays as it is", path) end
  core.mkdir(path:match "^(.*)/" or ".", 448) -- 0700
  local ok, _, message = core.write_file(path, text)
  if not ok then errors.fail("system", "%s", message) end
end

local START = [==[
--- NAME: what this policy is for.
--
-- Try it:   moonpool policy check NAME          is it right?
--           moonpool simulate NAME              what would be kept after two years?
--           moonpool run NAME --test            what would be done now?
-- Use it:   moonpool run NAME                   from cron, for instance
-- A hook that is not here is that of the stock policy: moonpool policy show autobackup. docs/policies.md has all hooks.

local retention = require "policies.retention"

return require "policies.autobackup":extend {
  name = "NAME",
  summary = "What this policy is for",

  -- Any option of autobackup (moonpool autobackup --help), with _ for -. zfs set autobackup:NAME=true selects datasets.
  options = { backup_name = "NAME", target_path = "backup/NAME" },

  -- Which snapshots of one dataset stay, and why. ctx.side is "source" or "target".
  keep = function(_, snapshots, ctx)
    local rule = retention.parse(ctx.side == "source" and "1d1w" or "10,1d1m,1w3m,1m1y")
    return rule(snapshots, ctx)
  end,

  -- Which datasets are backed up; nil: as the property says.
  -- select = function(_, ds, ctx)
  --   if ds.name:find "/scratch$" then return false, "scratch" end
  -- end,
}
]==]

--- A commented starting point. @param name of the policy: lower case letters, digits, - and _; @return text; @raise usage: no such name is possible
-- @example print(policyfile.start "nas")
function policyfile.start(name)
  if not name:find "^[%l%d][%l%d_-]*$" then errors.fail("usage", "policy new: '%s': a name has lower case letters, digits, - and _", name) end
  return (START:gsub("NAME", name))
end

-- ---- copies of stock files ------------------------------------------------------------------------------

-- A number for a text, to see whether it has changed (FNV-1a, 64 bits).
local function fingerprint(text)
  local hash = 0xcbf29ce484222325
  for i = 1, #text do hash = (hash ~ text:byte(i)) * 0x100000001b3 end
  return ("%016x"):format(hash)
end

-- The stock file of a name: its path inside and its text.
local function stock_file(name)
  local relative = "policies/" .. name .. ".lua"
  local text = core.embedded(relative)
  if not text then errors.fail("policy", "there is no stock policy '%s': moonpool policy list shows those that there are", name) end
  return relative, text
end

local NOTE = "-- A copy of %s of moonpool %s, fingerprint %s. `moonpool policy diff %s` shows what is different.\n"

--- A copy of a stock file, with a note of its origin in the first line.
-- @param name of the policy or rule file; @return its path below a directory that is searched, text; @raise policy: there is none
function policyfile.copy(name)
  local relative, text = stock_file(name)
  return relative, NOTE:format(relative, core.version, fingerprint(text), name) .. text
end

--- What a copy tells of its origin. @param text of the file; @return the stock file's path, version, fingerprint; nil if it is no copy
function policyfile.origin(text) return text:match "^%-%- A copy of (%S+) of moonpool (%S+), fingerprint (%x+)%." end

local function lines_of(text)
  local list = {}
  for line in text:gmatch "([^\n]*)\n" do list[#list + 1] = line end
  return list
end

-- The longest common subsequence, as lengths from each pair of lines on.
local function common_lengths(a, b)
  local lengths = {}
  for i = #a + 1, 1, -1 do
    lengths[i] = {}
    for j = #b + 1, 1, -1 do
      if i > #a or j > #b then
        lengths[i][j] = 0
      elseif a[i] == b[j] then
        lengths[i][j] = lengths[i + 1][j + 1] + 1
      else
        lengths[i][j] = math.max(lengths[i + 1][j], lengths[i][j + 1])
      end
    end
  end
  return lengths
end

--- The lines that differ: "- of the one", "+ of the other", each with its line number.
-- @param one, other texts; @return array of lines; empty if they are the same
-- @example policyfile.difference("a\nb\n", "a\nc\n") --> { "2 - b", "2 + c" }
function policyfile.difference(one, other)
  local a, b = lines_of(one), lines_of(other)
  local lengths, list = common_lengths(a, b), {}
  local i, j = 1, 1
  while i <= #a or j <= #b do
    if i <= #a and j <= #b and a[i] == b[j] then
      i, j = i + 1, j + 1
    elseif j > #b or (i <= #a and lengths[i + 1][j] >= lengths[i][j + 1]) then
      list[#list + 1] = ("%d - %s"):format(i, a[i])
      i = i + 1
    else
      list[#list + 1] = ("%d + %s"):format(j, b[j])
      j = j + 1
    end
  end
  return list
end

--- How a file differs from the stock one of this program.
-- @param name as of `moonpool policy edit`
-- @return array of lines, as of `difference`; path of the file; true if the stock file has changed since the copy was made, nil if that is not known
-- @raise policy: no stock file, or no copy of it is found
function policyfile.diff(name)
  local relative, text = stock_file(name)
  for _, dir in ipairs(loader.directories()) do
    local path = dir .. "/" .. relative
    if core.stat(path) then
      local own = loader.read(path)
      local _, _, mark = policyfile.origin(own)
      return policyfile.difference(text, (own:gsub("^%-%- A copy of [^\n]*\n", ""))), path, mark and mark ~= fingerprint(text)
    end
  end
  errors.fail("policy", "there is no copy of %s: moonpool policy edit %s makes one", relative, name)
end

-- ---- is it right? ---------------------------------------------------------------------------------------

-- The option that only the command line can give: the one that options which are otherwise right are refused for the lack of.
local function wanted(bound)
  local ok, err = pcall(bound.check_options, bound, bound.options)
  if ok then return nil end
  local option = errors.wrap(err).message:match "^%-%-([%l-]+):"
  if not option or bound.options[option:gsub("-", "_")] ~= nil then error(err, 0) end
  return "--" .. option
end

-- Runs a policy on a simulated machine for some days, so that hooks meet what they will meet.
-- Returns what failed, and the option without which it could not be tried.
local function try(p)
  local simulate = require "moonpool.simulate"
  local bound = p:with(simulate.bound(p))
  local option = wanted(bound)
  if option then return {}, option end
  return simulate.run(bound, bound.options, { start = 1767225600, every = 6 * 3600, count = 160, datasets = 2, give_up = 1 }).failures
end

-- The options that a file itself declares and never reads: those whose names stand in its code once, but for those that moonpool reads.
local function unused(p, path, text)
  local complaints, known, code = {}, {}, text:gsub("%-%-[^\n]*", "")
  for _, declaration in ipairs(require "policies.options") do known[declaration.name] = true end
  for _, declaration in ipairs(p.own.options or {}) do
    local name = declaration.name
    local declared = code:find("name%s*=%s*[\"']" .. name .. "[\"']")
    local _, count = code:gsub("%f[%w_]" .. name .. "%f[^%w_]", "")
    if declared and count == 1 and not known[name] then complaints[#complaints + 1] = ("%s: option '%s' is declared, and never used"):format(path, name) end
  end
  return complaints
end

--- What is wrong with a policy; nothing is opened.
-- @param name as for `moonpool run`
-- @return array of complaints, one line each; empty if it is right; and the option without which it could not be tried on a simulated machine, or nil
function policyfile.check(name)
  local ok, p, path, text = pcall(loader.policy, name)
  if not ok then return { errors.line(errors.wrap(p)) } end
  local complaints = unused(p, path, text)
  if not policy.has(p, "keep") then return complaints end
  local ran, failures, option = pcall(try, p)
  if not ran then
    complaints[#complaints + 1] = errors.line(errors.wrap(failures))
    return complaints
  end
  for _, f in ipairs(failures) do complaints[#complaints + 1] = f.text end
  return complaints, option
end

return policyfile
