--- Policies: tables of hooks and options, which inherit from one another.
--
-- A policy is made by `policy.new { … }` or `other:extend { … }`. A hook that is not there, or answers nil, leaves the question to the policy
-- that was extended. In a hook `self` is the policy that runs, `self.super` the one that this hook's was extended from.

local answer = require "moonpool.answer"
local errors = require "moonpool.error"
local options = require "moonpool.options"
local suggest = require "moonpool.suggest"

local policy = {}

--- Every hook that exists; docs/policies.md says what each is asked and may answer.
policy.HOOKS = {
  "select", "order", "snapshot", "snapshot_name", "target_name", "keep", "filter_property", "send_options", "base", "on_diverged", "before", "after",
  "before_dataset", "after_dataset",
}

--- How many instructions of Lua a hook may take to decide: some seconds.
policy.max_instructions = 200000000

-- Beside hooks: what else a policy may have.
local FIELDS = {
  name = "string", summary = "string", options = "table", run = "function", check = "function", names = "function", nothing = "function",
}

local Policy = {}

local IS_HOOK, WORDS = {}, {}
for _, name in ipairs(policy.HOOKS) do
  IS_HOOK[name] = true
  WORDS[#WORDS + 1] = name
end
for name in pairs(FIELDS) do WORDS[#WORDS + 1] = name end

--- The file that the loader runs, or nil: `return other:extend { … }` leaves nothing of the file on the stack.
policy.loading = nil

-- "file:line: policy 'nas'": where the policy is made, for messages.
local function place(name)
  for level = 3, 8 do
    local info = debug.getinfo(level, "Sl")
    if not info or info.source:find("moonpool/loader.lua", 1, true) then break end
    if info.what ~= "C" and not info.source:find("moonpool/policy.lua", 1, true) and info.currentline > 0 then
      return ("%s:%d: policy '%s'"):format(info.short_src, info.currentline, name)
    end
  end
  return ("%spolicy '%s'"):format(policy.loading and policy.loading .. ": " or "", name)
end

local function check_fields(fields, where)
  for key, value in pairs(fields) do
    local wanted = IS_HOOK[key] and "function" or FIELDS[key]
    if not wanted then
      errors.fail("policy", "%s: no hook '%s'%s", where, tostring(key), suggest.text(key, WORDS))
    elseif type(value) ~= wanted then
      errors.fail("policy", "%s: %s is a %s, not a %s", where, key, wanted, type(value))
    end
  end
end

-- ---- making ---------------------------------------------------------------------------------------------

-- A policy on top of another one (or of none). `given` may hold declarations (its array part) and values of options.
local function make(parent, fields, where)
  check_fields(fields, where)
  local level = { parent = parent, own = fields, where = where, name = fields.name or parent and parent.name, declarations = {}, values = {} }
  level.summary = fields.summary or parent and parent.summary
  for _, declaration in ipairs(parent and parent.declarations or {}) do table.insert(level.declarations, declaration) end
  for _, declaration in ipairs(fields.options or {}) do table.insert(level.declarations, options.declaration(declaration, where)) end
  for key, value in pairs(parent and parent.values or {}) do level.values[key] = value end
  for key, value in pairs(fields.options or {}) do
    if type(key) ~= "number" then level.values[key] = value end
  end
  level.options = options.bind(level.declarations, level.values, where)
  return setmetatable(level, Policy)
end

--- Makes a policy.
-- @param fields name, summary, options (array of declarations, see moonpool.options), hooks, run(self, options, env), check(self, options)
-- @return policy; its `options` are all values, defaults included
-- @raise policy: what does not exist, with the nearest that does; usage: a bad option
-- @example return policy.new { name = "hello", run = function() print "hello" end }
function policy.new(fields) return make(nil, fields, place(tostring(fields.name))) end

local methods = {}

--- A policy that inherits everything and changes some of it.
-- @param fields as for `policy.new`; `options` may also hold values: options = { keep_source = "10" }
-- @return policy
function methods:extend(fields) return make(self, fields, place(tostring(fields.name or self.name))) end

--- The same policy with values for its options. @param values { keep_source = "10", … }; @return policy; @raise usage: an unknown option, a bad value
function methods:with(values) return make(self, { options = values }, place(self.name)) end

-- ---- asking ---------------------------------------------------------------------------------------------

local ask

-- What a hook of `level` gets as self: the policy that runs, with its own super.
local function view(running, level)
  local super = level.parent and setmetatable({}, {
    __index = function(_, name)
      if IS_HOOK[name] then
        return function(_, ...) return ask(running, level.parent, name, ...) end
      end
      return level.parent[name]
    end,
  })
  return setmetatable({ super = super }, { __index = running })
end

-- Whether there is an answer behind pcall's true.
local function answered(results)
  for i = 2, results.n do
    if results[i] ~= nil then return true end
  end
end

-- "nas.lua:12"
local function place_of(fn)
  local info = debug.getinfo(fn, "S")
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

local function described(name, hook, level) return ("hook '%s' of policy '%s' (%s)"):format(name, level.name, place_of(hook)) end

-- ---- a hook that does not end ---------------------------------------------------------------------------

-- What decides should do so in an instant. Effects (before, after, …) may take the time that they need.
local EFFECT = { before = true, after = true, before_dataset = true, after_dataset = true }
local MILLION = 1000000

local guards = setmetatable({}, { __mode = "k" })

-- Calls a hook like pcall, and ends it after so many instructions. Once they are used up, every further instruction of it raises, so that no pcall of
-- its own can go on with it.
local function limited(name, hook, ...)
  local previous, mask, count = debug.gethook()
  if EFFECT[name] or guards[previous] then return pcall(hook, ...) end
  local left = policy.max_instructions // MILLION
  local function guard()
    local info = debug.getinfo(2, "Slf")
    if info.func == limited then return end
    if type(previous) == "function" then previous() end
    left = left - 1
    if left > 0 then return end
    debug.sethook(guard, "", 1)
    errors.fail("policy", "hook '%s' did not end within %d million instructions of Lua, at %s:%d: does it loop for ever?", name,
      policy.max_instructions // MILLION, info.short_src, info.currentline)
  end
  guards[guard] = true
  debug.sethook(guard, "", MILLION)
  local results = table.pack(pcall(hook, ...))
  debug.sethook(previous, mask, count)
  return table.unpack(results, 1, results.n)
end

-- Asks the hook of a level, then those below it, until one has an opinion.
function ask(running, level, name, ...)
  while level do
    local hook = level.own[name]
    if hook then
      local results = table.pack(limited(name, hook, view(running, level), ...))
      if not results[1] then
        local err = results[2]
        if errors.is(err) then error(err, 0) end
        errors.fail("policy", "hook '%s' of policy '%s' failed: %s", name, level.name, tostring(err))
      end
      if answered(results) then
        if results[2] ~= nil then answer.check(name, results[2], described(name, hook, level)) end
        return table.unpack(results, 2, results.n)
      end
    end
    level = level.parent
  end
end

--- Asks a hook. @param p a policy; @param name the hook's; @param ... what it is asked
-- @return its answers, or nothing if no one has an opinion; @raise policy: it raised, with its file and line
function policy.call(p, name, ...)
  assert(IS_HOOK[name], name)
  return ask(p, p, name, ...)
end

--- Where a hook is, for messages. @param p a policy that has it, or extends one that has; @param name the hook's
-- @return "hook 'keep' of policy 'nas' (nas.lua:12)"
function policy.described(p, name)
  while not p.own[name] do p = p.parent end
  return described(name, p.own[name], p)
end

--- Whether a policy, or one that it extends, has a hook. @param p a policy; @param name the hook's; @return boolean
function policy.has(p, name)
  while p do
    if p.own[name] then return true end
    p = p.parent
  end
  return false
end

--- Whether something is a policy. @param p anything; @return boolean
function policy.is(p) return getmetatable(p) == Policy end

-- The nearest level that has a field, and what it is.
local function inherited(p, name)
  while p and not p.own[name] do p = p.parent end
  return p, p and p.own[name]
end

--- What the nearest policy that has a function which is no hook answers. @param p a policy; @param name "names" or "nothing"; @param ... what it is asked
-- @return its answers; @raise policy: none has it, it raised, or it answered what can't be meant
function policy.ask(p, name, ...)
  local level, fn = inherited(p, name)
  if not fn then errors.fail("policy", "%s has no function '%s'", p.where, name) end
  local where = ("'%s' of policy '%s' (%s)"):format(name, level.name, place_of(fn))
  local results = table.pack(pcall(fn, view(p, level), ...))
  if not results[1] then
    if errors.is(results[2]) then error(results[2], 0) end
    errors.fail("policy", "%s failed: %s", where, tostring(results[2]))
  end
  answer.check(name, results[2], where)
  return table.unpack(results, 2, results.n)
end

--- Whether options are such that the policy could run. @param values its options, checked one by one; @raise usage
function methods:check_options(values) ask(self, self, "check", values) end

--- Runs the policy. @param values its options, checked (moonpool.options); @param env { open, clock, lock }; @return exit status; @raise what it met
function methods:run(values, env)
  self:check_options(values)
  local level, run = inherited(self, "run")
  if not level then errors.fail("policy", "%s has nothing to run: it is a policy without `run`", self.where) end
  return run(view(self, level), values, env)
end

Policy.__index = methods
Policy.__tostring = function(self) return ("policy '%s'"):format(self.name) end

return policy
