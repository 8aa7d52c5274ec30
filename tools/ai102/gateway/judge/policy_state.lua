-- state.json, which the gateway writes about once a second, made ready for judging.

local cjson = require("cjson")
local jwt = require("jwt")
local rights = require("rights")

local policy_state = {}

local function times_from(table_or_nil)
  local times = {}
  for name, time in pairs(type(table_or_nil) == "table" and table_or_nil or {}) do
    times[name] = type(time) == "number" and time or math.huge
  end
  return times
end

local function issuer_from(raw)
  local issuer = {
    audience = raw.audience,
    roles_claim = raw.roles_claim,
    roles = type(raw.roles) == "table" and raw.roles or {},
    trusts_grants = raw.trusts_grants == true,
    keys = {},
    revoked = {},
  }
  for kid, key in pairs(raw.keys) do
    local parsed = jwt.key_from_pem(key.alg, key.pem)
    if parsed then
      issuer.keys[kid] = { alg = key.alg, key = parsed }
    end
  end
  for _, name in ipairs({ "jti", "sid", "sub" }) do
    issuer.revoked[name] = times_from(raw.revoked and raw.revoked[name])
  end
  return issuer
end

local function state_from(raw)
  local state = { written = raw.written, issuers = {}, role_grants = {}, routes = {}, classes = {} }
  state.cache, state.older, state.cached = {}, {}, 0
  for iss, issuer in pairs(raw.issuers) do
    assert(type(issuer.audience) == "string" and type(issuer.roles_claim) == "string")
    state.issuers[iss] = issuer_from(issuer)
  end
  for role, grants in pairs(raw.role_grants) do
    state.role_grants[role] = rights.grants_from(grants)
  end
  for path, model in pairs(raw.routes) do
    assert(type(model) == "string")
    state.routes[path] = model
  end
  for model, outputs in pairs(raw.classes or {}) do
    state.classes[model] = {}
    for _, output in ipairs(outputs) do
      state.classes[model][output] = true
    end
  end
  return state
end

-- The state in `text`; nil and a reason when it is none.
function policy_state.from_json(text)
  local ok, raw = pcall(cjson.decode, text)
  if not ok or type(raw) ~= "table" then
    return nil, "no JSON"
  elseif raw.version ~= 1 or type(raw.written) ~= "number" then
    return nil, "a state of another version"
  end
  local made, state = pcall(state_from, raw)
  if not made then
    return nil, "a state that is not complete: " .. tostring(state)
  end
  return state
end

return policy_state
