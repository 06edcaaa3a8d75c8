--- Rules for the hook `send_options`: how a dataset is sent. A rule is a function (ds, ctx) that returns a table over the defaults, or nil.

local send = {}

--- The hook made of rules; what later ones say goes over what earlier ones do. @param ... rules; @return function for the hook `send_options`
-- @example policy:extend { send_options = send.hook(send.when(select.tree "tank/db", { compressed = false })) }
function send.hook(...)
  local rules = { ... }
  return function(_, ds, ctx)
    local options
    for _, rule in ipairs(rules) do
      for name, value in pairs(rule(ds, ctx) or {}) do
        options = options or {}
        options[name] = value
      end
    end
    return options
  end
end

--- Options for the datasets that a rule of policies.select accepts.
-- @param rule of policies.select; @param options raw, large_blocks, compressed, embed, props: booleans
-- @return a rule
-- @example send.when(select.kind "volume", { large_blocks = false })
function send.when(rule, options)
  return function(ds, ctx)
    if rule(ds, ctx) then return options end
  end
end

--- Encrypted datasets in plain, for a target that can be trusted; their keys must be loaded. @return a rule
-- @example send.plain()
function send.plain()
  return function(ds)
    if ds.encrypted then return { raw = false, props = false } end
  end
end

--- Nothing that old systems don't know: no large, compressed or embedded blocks. @return a rule
-- @example send.for_old_targets()
function send.for_old_targets()
  return function() return { large_blocks = false, compressed = false, embed = false } end
end

return send
