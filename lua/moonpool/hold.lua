--- Holds and resume tokens: methods that every kind of host has, over its `run`.

local errors = require "moonpool.error"
local zfs = require "moonpool.zfs"

local hold = {}

-- One command a batch; complaints that say it is done already are none. Returns the set of those snapshots.
local function over_snapshots(host, build, tag, snapshots, harmless)
  local done = {}
  for batch in zfs.batches(snapshots, zfs.MAX_ARGUMENT_BYTES) do
    local result = host:run(build(tag, batch), { check = false })
    if result.error then
      local other = result.error.code ~= "exit" or result.err == ""
      for line in result.err:gmatch "[^\n]+" do
        other = other or not line:find(harmless, 1, true)
        done[line:match "'([^']+)'" or ""] = true
      end
      if other then errors.raise(result.error) end
    end
  end
  return done
end

--- Places a tag on snapshots; one that has it already is no failure.
-- @param host a host; @param tag its name; @param snapshots full names; @return { [full name] = true } of those that had it; @raise what else the commands met
function hold.place(host, tag, snapshots) return over_snapshots(host, zfs.hold_argv, tag, snapshots, "tag already exists") end

--- Takes a tag from snapshots; one that does not have it is no failure.
-- @param host a host; @param tag its name; @param snapshots full names; @raise what else the commands met
function hold.release(host, tag, snapshots) over_snapshots(host, zfs.release_argv, tag, snapshots, "no such tag") end

--- The tags of snapshots, asked for all at once.
-- @param host a host; @param snapshots full names; @return { [tag] = array of full names }; @raise what the commands met
function hold.by_tag(host, snapshots)
  local found = {}
  for batch in zfs.batches(snapshots, zfs.MAX_ARGUMENT_BYTES) do
    for line in host:run(zfs.holds_argv(batch)).out:gmatch "[^\n]+" do
      local name, tag = line:match "^([^\t]+)\t([^\t]+)\t"
      found[tag] = found[tag] or {}
      table.insert(found[tag], name)
    end
  end
  return found
end

--- The resume token of a partial receive. @param host a host; @param dataset its name; @return text, or nil; @raise what the command met
function hold.resume_token(host, dataset)
  local out = host:run({ "zfs", "get", "-Hp", "-o", "value", "receive_resume_token", dataset }).out
  local token = out:match "^[^\n]*"
  return token ~= "-" and token ~= "" and token or nil
end

return hold
