--- Runs scripts of zfs commands on a host and writes down what happened, so that the simulator can be compared with the real thing.
--
--   as a program   moonpool lua tests/zfs/sim_agrees.lua SRC DST SCRIPT…   (SRC and DST: two empty pools of this machine, mounted somewhere)
--                  runs each script on both and shows where they differ; fails if they do.
--                  With `--record` it writes what the real one did beside each script: NAME.out, and with zfs 2.1 NAME.2.1.out where it
--                  did otherwise. tests/lua/sim_scripts_spec.lua holds the simulator to these.
--   as a module    the spec runs the same scripts on the simulator alone
--
-- A script has a line for each step: a command as a shell has it (words, '…' and "…", and pipes), of which `head -c N` may be one; or
--   write DATASET BYTES   something is written to it
--   show                  all datasets, snapshots and bookmarks, with their holds, origins and tokens
-- The pools are called src and dst in scripts and in what is written down; GUIDs, tokens and sizes, which differ, are numbered or left out.

local agrees = {}

-- ---- scripts --------------------------------------------------------------------------------------------

-- Cuts a command into words as a shell does: spaces between them, quotes around what has spaces in it.
local function words_of(text)
  local words, word, at = {}, nil, 1
  while at <= #text do
    local ch = text:sub(at, at)
    if ch == "'" or ch == '"' then
      local close = text:find(ch, at + 1, true)
      word = (word or "") .. text:sub(at + 1, close - 1)
      at = close
    elseif ch:find "%s" then
      words[#words + 1], word = word, nil
    else
      word = (word or "") .. ch
    end
    at = at + 1
  end
  words[#words + 1] = word
  return words
end

local function stages_of(line)
  local stages = {}
  for part in (line .. " | "):gmatch "(.-) | " do stages[#stages + 1] = words_of(part) end
  return stages
end

-- ---- what is written down -------------------------------------------------------------------------------

-- Numbers that differ from one run to the next, by what stands before them.
local LEFT_OUT = {
  { "^(full\t[^\t]+\t)%d+$", "%1N" }, { "^(incremental\t[^\t]+\t[^\t]+\t)%d+$", "%1N" }, { "^(size\t)%d+$", "%1N" }, { "^(reclaim\t)%d+$", "%1N" },
  { "(estimated size is )%S+$", "%1N" }, { "(%l+ reclaim )%S+$", "%1N" }, { "^received .*$", "received N" },
  { "^(\t%l+ = )0x%x?%x?%x?%x?%x?%x?%x?%x?$", "%1N" }, { "1%-%x+%-%x+%-%x+", "TOKEN" },
}

local function normal(line, run)
  for name, label in pairs(run.labels) do line = line:gsub("%f[%w]" .. name:gsub("%W", "%%%0") .. "%f[%W]", label) end
  for _, rule in ipairs(LEFT_OUT) do line = line:gsub(rule[1], rule[2]) end
  local function number(text)
    if not run.guids[text] then
      run.guid_count = run.guid_count + 1
      run.guids[text] = "G" .. run.guid_count
    end
    return run.guids[text]
  end
  return (line:gsub("0x%x%x%x%x%x%x%x%x%x+", number):gsub("%d%d%d%d%d%d%d%d%d%d%d%d%d+", number))
end

-- Lists whose order is that of a hash table in the real one.
local function sort_lists(lines, verb)
  local from = verb == "destroy" and 1 or nil
  for i, line in ipairs(lines) do
    if line:find "the following datasets:$" or line:find "the following snapshots and bookmarks:$" then from = i + 1 end
  end
  if not from then return lines end
  local tail = table.move(lines, from, #lines, 1, {})
  table.sort(tail)
  return table.move(tail, 1, #tail, from, lines)
end

local function write_down(run, mark, text, verb)
  local lines = {}
  for line in text:gmatch "[^\n]+" do
    -- How to call a verb is told at length, and differs between versions; that a reader was gone is said by the real one alone.
    if line == "usage:" then break end
    if not line:find "^warning: cannot send.*signal received" and not line:find "[Bb]roken pipe" then lines[#lines + 1] = normal(line, run) end
  end
  for _, line in ipairs(sort_lists(lines, verb)) do run.log[#run.log + 1] = ("  %s %s"):format(mark, line) end
end

local SHOWN = { "zfs", "list", "-H", "-t", "all", "-o", "name,type,userrefs,origin,receive_resume_token" }

local function step(run, place, line)
  run.log[#run.log + 1] = "$ " .. line
  local dataset, bytes = line:match "^write (%S+) (%d+)$"
  if dataset then return place.write(dataset:gsub("^%l+", place.pools), math.tointeger(tonumber(bytes))) end
  local stages = line == "show" and { { table.unpack(SHOWN) } } or stages_of(line)
  if line == "show" then table.move({ "-r", "src", "dst" }, 1, 3, #stages[1] + 1, stages[1]) end
  for _, argv in ipairs(stages) do
    for i = 3, #argv do
      for label, name in pairs(place.pools) do argv[i] = argv[i]:gsub("%f[%w]" .. label .. "%f[%W]", name) end
    end
  end
  local result = place.run(stages)
  write_down(run, "|", result.out, stages[1][2])
  write_down(run, "!", result.err, stages[1][2])
  if result.status ~= 0 then run.log[#run.log + 1] = "  = " .. result.status end
end

--- Runs a script.
-- @param place where: { pools = { src = name, dst = name }, run = function(array of argv) -> { out, err, status of the last }, write =
--   function(dataset, bytes) }; `agrees.simulated()` or `agrees.real(…)`
-- @param script text; @return what happened, as text
function agrees.run(place, script)
  local run = { log = {}, guids = {}, guid_count = 0, labels = {} }
  for label, name in pairs(place.pools) do run.labels[name] = label end
  for line in script:gmatch "[^\n]+" do
    if not line:find "^%s*#" then step(run, place, line) end
  end
  return table.concat(run.log, "\n") .. "\n"
end

-- ---- places ---------------------------------------------------------------------------------------------

--- A new simulated machine with two pools. @param version of zfs, "2.3.2" if nil; @return place
function agrees.simulated(version)
  local world = require "moonpool.sim".new { version = version }
  for _, name in ipairs { "src", "dst" } do world:pool(name, { size = 192 << 20 }) end
  local host = world:host "local"
  world:program("head", function(argv, stream)
    local cut = math.tointeger(tonumber(argv[3]))
    return { out = "", err = "", status = 0, stream = { items = stream.items, many = stream.many, bytes = stream.bytes, cut = cut } }
  end)
  -- Scripts make files that the real one needs with it.
  world:program("sh", function() return { out = "", err = "", status = 0 } end)
  return {
    pools = { src = "src", dst = "dst" },
    write = function(dataset, bytes) world:write(dataset, bytes) end,
    run = function(stages)
      if #stages == 1 then return host:run(stages[1], { check = false }) end
      local list = {}
      for i, argv in ipairs(stages) do list[i] = { host = host, argv = argv } end
      local ok, result = pcall(host.pipe, host, list)
      if ok then return { out = result.stages[#stages].out, err = "", status = 0 } end
      return { out = "", err = result.stderr, status = result.status }
    end,
  }
end

local function quote(word) return "'" .. word:gsub("'", [['\'']]) .. "'" end

local function shell_line(stages)
  local parts = {}
  for i, argv in ipairs(stages) do
    local words = {}
    for j, word in ipairs(argv) do words[j] = quote(word) end
    parts[i] = table.concat(words, " ")
  end
  return table.concat(parts, " | ")
end

-- Writes to a filesystem or a volume, and waits until it is on the pool.
local WRITE = [[set -e; if [ "$(zfs get -H -o value type "$1")" = volume ]; then to=/dev/zvol/$1; more=conv=notrunc
else to=$(zfs get -H -o value mountpoint "$1")/$(date +%s%N); more=; fi
head -c "$2" /dev/urandom | dd of="$to" bs=64k iflag=fullblock $more 2>/dev/null; sync "$to"; zpool sync "${1%%/*}"]]

--- Two pools of a real host. @param host with the method `run` of moonpool.host; @param src, dst their names; @return place
function agrees.real(host, src, dst)
  return {
    pools = { src = src, dst = dst },
    write = function(dataset, bytes) host:run { "sh", "-c", WRITE, "sh", dataset, tostring(bytes) } end,
    run = function(stages)
      if #stages == 1 then return host:run(stages[1], { check = false }) end
      return host:run({ "sh", "-c", shell_line(stages) }, { check = false })
    end,
    clear = function()
      -- One listing tells what is to be let go and destroyed; most scripts leave little.
      local clear = [[zfs list -H -o name,userrefs -t all -r "$@" | { held= left=
        while IFS="$(printf '\t')" read -r s n; do
          case $s in *@*) [ "$n" = 0 ] || held="$held $s" ;; */*) left=1 ;; esac
          case $s in *[@#]*) left=1 ;; esac
        done
        [ -z "$held" ] || zfs holds -H $held | cut -f 1,2 | while read -r s t; do zfs release "$t" "$s"; done
        [ -z "$left" ] || for pool; do zfs destroy -Rf "$pool" || true; done; }]]
      host:run { "sh", "-c", clear, "sh", src, dst }
    end,
  }
end

-- ---- as a program ---------------------------------------------------------------------------------------

local function read_file(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local function compare(path, real, simulated)
  if real == simulated then return true end
  print("DIFF " .. path)
  local r, s = real:gmatch "([^\n]*)\n", simulated:gmatch "([^\n]*)\n"
  local command = ""
  while true do
    local a, b = r(), s()
    if a and a:find "^%$" then command = a end
    if a ~= b then
      print(("  %s\n    real: %s\n    sim:  %s"):format(command, a or "(end)", b or "(end)"))
      return false
    end
  end
end

local function record(path, version, real)
  local name = path:gsub("%.txt$", "")
  local older = version:find "^2%.[01]%."
  local out = name .. (older and ".2.1.out" or ".out")
  os.remove(out)
  if older and real == read_file(name .. ".out") then return end
  local file <close> = assert(io.open(out, "w"))
  file:write(real)
end

--- The program: see the top of this file. @param args array; @raise verify: some scripts differ
function agrees.main(args)
  local recording = args[1] == "--record" and table.remove(args, 1)
  local host = require "moonpool.host".open()
  local version = require "moonpool.zfs".parse_version(host:run({ "zfs", "version" }).out).text:match "^[%d.]+"
  local place = agrees.real(host, args[1], args[2])
  local differ = 0
  for i = 3, #args do
    local script = read_file(args[i])
    local real = agrees.run(place, script)
    place.clear()
    if recording then
      record(args[i], version, real)
    elseif not compare(args[i], real, agrees.run(agrees.simulated(version), script)) then
      differ = differ + 1
    end
  end
  if differ > 0 then
    require "moonpool.error".raise { code = "verify", message = ("in %d of %d scripts the simulator differs"):format(differ, #args - 2) }
  end
end

-- As a program it has arguments; loaded as a module, it has none.
if ... then agrees.main { ... } end

return agrees
