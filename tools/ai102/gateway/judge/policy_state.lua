-- state.json, which the gateway writes about once a second, made ready for judging.

local cjson = require("cjson")
local jwt = require("jwt")
local revocations = require("revocations")
local rights = require("rights")

local policy_state = {}

-- By issuer: what it has revoked stays known whatever state comes next.
local revoked = {}

local function issuer_from(name, raw)
  assert(type(raw.revoked or "") == "string")
  revoked[name] = revoked[name] or revocations.new()
  local issuer = {
    audience = raw.audience,
    roles_claim = raw.roles_claim,
    roles = type(raw.roles) == "table" and raw.roles or {},
    is_ours = raw.is_ours == true,
    keys = {},
    revoked = revoked[name],
    journal = raw.revoked ~= "" and raw.revoked or nil, -- the name of a file
  }
  for kid, key in pairs(raw.keys) do
    local parsed = jwt.key_from_pem(key.alg, key.pem)
    if parsed then
      issuer.keys[kid] = { alg = key.alg, key = parsed }
    end
  end
  return issuer
end

local function state_from(raw)
  local state = { written = raw.written, issuers = {}, role_grants = {}, routes = {}, classes = {} }
  state.cache, state.older, state.cached = {}, {}, 0
  for iss, issuer in pairs(raw.issuers) do
    assert(type(issuer.audience) == "string" and type(issuer.roles_claim) == "string")
    state.issuers[iss] = issuer_from(iss, issuer)
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
  elseif raw.version ~= 2 or type(raw.written) ~= "number" then
    return nil, "a state of another version"
  end
  local is_ok, state = pcall(state_from, raw)
  if not is_ok then
    return nil, "a state that is not complete: " .. tostring(state)
  end
  return state
end

-- Reads on in the journals in `folder`, at most `most_bytes` of each; true when there is no more now.
function policy_state.read_revocations(state, folder, most_bytes)
  local is_all = true
  for _, issuer in pairs(state and state.issuers or {}) do
    if issuer.journal then
      is_all = issuer.revoked:read(folder .. "/" .. issuer.journal, most_bytes) and is_all
    end
  end
  return is_all
end

-- Forgets a part of what is over, the next part at the next call.
function policy_state.sweep(state, now_s)
  for _, issuer in pairs(state and state.issuers or {}) do
    issuer.revoked:sweep(now_s)
  end
end

return policy_state
