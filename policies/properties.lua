--- Rules for properties on the target: which are set, which are left out when a dataset is received.

local context = require "moonpool.context"
local dataset = require "moonpool.dataset"
local policy = require "moonpool.policy"

local properties = {}

-- What a volume does not have: it is never mounted, shared or walked through.
local FILESYSTEM_ONLY = {}
for name in ([[aclinherit aclmode acltype atime canmount casesensitivity devices dnodesize exec filesystem_limit mountpoint nbmand normalization overlay quota
  recordsize refquota relatime setuid sharenfs sharesmb snapdir utf8only vscan xattr zoned]]):gmatch "%S+" do
  FILESYSTEM_ONLY[name] = true
end

-- What the options of the stock policy ask for.
local function from_options(options, pair, given)
  for _, name in ipairs(options.filter_properties or {}) do given.exclude[#given.exclude + 1] = name end
  for name, value in pairs(options.set_properties or {}) do given.set[name] = value end
  if options.encrypt and not pair.source.encrypted then given.exclude[#given.exclude + 1] = "encryption" end
  if options.clear_refreservation then given.set.refreservation = "none" end
  if options.clear_mountpoint then given.set.canmount = "noauto" end
  if pair.source.type ~= "volume" then return end
  for name in pairs(FILESYSTEM_ONLY) do given.set[name] = nil end
end

-- Properties of the encryption itself, which a dataset in plain can't have; others go along with the receive.
local ENCRYPTION = { encryption = true, keyformat = true, keylocation = true, pbkdf2iters = true, keystatus = true, encryptionroot = true }

local function in_plain(list, given)
  for _, p in ipairs(list) do
    if p.source == "local" and not ENCRYPTION[p.name] and given.set[p.name] == nil then given.set[p.name] = p.value end
  end
end

--- What `zfs receive` is told about properties.
-- @param run the run; @param pair the pair; @param list the source's own properties, { name, value, source } each, if the policy has
--   the hook `filter_property`
-- @return { set = { [name] = value }, exclude = array of names }
-- @raise policy: the hook raised
function properties.receive(run, pair, list)
  local given = { set = {}, exclude = {} }
  local pool = dataset.pool(run.source, pair.name)
  if pool and pool.guid then given.set[dataset.MARK] = ("%x"):format(pool.guid) end
  from_options(run.options, pair, given)
  if run.options.decrypt and pair.source.encrypted then in_plain(list, given) end
  local ctx = context.of(run, "source", pair)
  for _, p in ipairs(list) do
    local answer = policy.call(run.policy, "filter_property", pair.source, p.name, p.value, p.source, ctx)
    if answer == false then
      given.exclude[#given.exclude + 1] = p.name
    elseif answer ~= nil then
      given.set[p.name] = answer
    end
  end
  return given
end

return properties
