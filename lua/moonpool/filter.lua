--- Filters in a stream: compression between the hosts, and commands of the user. What is done on one end is undone on the other, in reverse order.

local log = require "moonpool.log"

local filter = {}

-- What --compress can be: the programs that pack and unpack.
local COMPRESSORS = {
  ["gzip"] = { { "gzip", "-3" }, { "gzip", "-dc" } },
  ["pigz-fast"] = { { "pigz", "-3" }, { "pigz", "-dc" } },
  ["pigz-slow"] = { { "pigz", "-9" }, { "pigz", "-dc" } },
  ["zstd-fast"] = { { "zstd", "-T0", "-3", "-qc" }, { "zstd", "-dqc" } },
  ["zstd-slow"] = { { "zstd", "-T0", "-19", "-qc" }, { "zstd", "-dqc" } },
  ["zstd-adapt"] = { { "zstd", "-T0", "--adapt", "-qc" }, { "zstd", "-dqc" } },
  ["xz"] = { { "xz", "-c" }, { "xz", "-dc" } },
  ["lzo"] = { { "lzop", "-c" }, { "lzop", "-dc" } },
  ["lz4"] = { { "lz4", "-c" }, { "lz4", "-dc" } },
}

--- The names of compressors, sorted.
filter.NAMES = {}
for name in pairs(COMPRESSORS) do filter.NAMES[#filter.NAMES + 1] = name end
table.sort(filter.NAMES)

-- Whether a host has a program. On a dry host it can't be asked, and is supposed.
local function has_program(host, name)
  local result = host:run({ name, "--version" }, { check = false })
  return result.dry or not result.error or result.error.code == "exit"
end

-- The compressor of a run, looked for once on both ends; false if there is none to be used.
local function compressor(run)
  local name = run.options.compress
  if not name or run.same_machine then return false end
  local commands = COMPRESSORS[name]
  for _, host in ipairs { run.source.host, run.target.host } do
    if not has_program(host, commands[1][1]) then
      log.warn("%s has no %s: sending uncompressed", host.name, commands[1][1])
      return false
    end
  end
  return commands
end

local function shell(command) return { "sh", "-c", command } end

--- The stages of a pipe from `zfs send` to `zfs receive`.
-- @param run the run; @param send argv; @param receive argv
-- @return array of { host =, argv = }
function filter.stages(run, send, receive)
  local source, target = run.source.host, run.target.host
  local stages = { { host = source, argv = send } }
  local function add(host, argv) stages[#stages + 1] = { host = host, argv = argv } end
  if run.compressor == nil then run.compressor = compressor(run) end
  for _, command in ipairs(run.options.send_pipe or {}) do add(source, shell(command)) end
  if run.compressor then
    add(source, run.compressor[1])
    add(target, run.compressor[2])
  end
  local undo = run.options.recv_pipe or {}
  for i = #undo, 1, -1 do add(target, shell(undo[i])) end
  add(target, receive)
  return stages
end

return filter
