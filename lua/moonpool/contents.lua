--- The contents of a snapshot as checksums, one a file: what a backup is compared by. Nothing but sh, find, sort and cksum (POSIX) is needed on a side;
-- sha256sum is used where both sides have it.
--
-- A snapshot of a filesystem is mounted read-only in a directory of its own, and unmounted again whatever happens. One of a volume is read through a clone.

local errors = require "moonpool.error"
local zfs = require "moonpool.zfs"

local contents = {}

-- A snapshot may have very many files.
local MAX_OUTPUT_BYTES = 1 << 30

local FILESYSTEM = [[set -e; dir=$(mktemp -d); trap 'cd /; umount "$dir" 2>/dev/null || :; rmdir "$dir"' EXIT
mount -t zfs "$1" "$dir"; cd "$dir"; find . -type f -exec $2 {} + | LC_ALL=C sort; find . -type l -exec ls -ld {} + | sed 's/.* \.\//.\//' | LC_ALL=C sort]]

-- The device of a clone appears a moment later.
local VOLUME = [[set -e; clone=$1.verify-$$; clone=$(echo "$clone" | tr @ -); zfs clone "$1" "$clone"; trap 'zfs destroy "$clone"' EXIT
device=/dev/zvol/$clone; n=0; while [ ! -e "$device" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done; $2 <"$device"]]

--- Whether a host can be asked to compute sha256sum. @param host a host; @return boolean
function contents.has_sha256(host) return host:run({ "sh", "-c", "command -v sha256sum" }, { check = false }).status == 0 end

--- The checksums of a snapshot.
-- @param host a host that is not dry; @param full name of the snapshot; @param kind "filesystem" or "volume"; @param program "sha256sum" or "cksum"
-- @return text: a line a file, sorted by file or sum; the same on two sides means the same contents
-- @raise what the commands met: a snapshot that can't be mounted, a key that is not loaded
function contents.sums(host, full, kind, program)
  local script = kind == "volume" and VOLUME or FILESYSTEM
  local result = host:run({ "sh", "-c", script, "sh", full, program }, { limit = MAX_OUTPUT_BYTES })
  return result.out
end

-- Lines that only one of two texts has.
local function only_in(one, other)
  local seen, list = {}, {}
  for line in other:gmatch "[^\n]+" do seen[line] = true end
  for line in one:gmatch "[^\n]+" do
    if not seen[line] then list[#list + 1] = line end
  end
  return list
end

--- Compares two texts of `sums`.
-- @param here, there texts; @return number of files, array of lines that differ
function contents.compare(here, there)
  local differing = only_in(here, there)
  table.move(only_in(there, here), 1, #only_in(there, here), #differing + 1, differing)
  return select(2, here:gsub("\n", "\n")), differing
end

--- The name of a snapshot. @param ds a dataset; @param s its snapshot; @return full name; @raise invalid: a name that zfs would not take
function contents.name(ds, s)
  local full = ds.name .. "@" .. s.name
  if not zfs.valid_name(full, "snapshot") then errors.fail("invalid", "'%s' is no snapshot's name", full) end
  return full
end

return contents
