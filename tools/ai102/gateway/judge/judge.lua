-- What the gateway decides, for both proxies: who calls, what they ask, whether they may. No proxy is known here, and
-- nothing that a client sends raises an error; a defect of ours refuses.

local headers = require("headers")
local json_guard = require("json_guard")
local jwt = require("jwt")
local policy_state = require("policy_state")
local protobuf = require("protobuf")
local refusals = require("refusals")
local rights = require("rights")
local routes = require("routes")
local trace_context = require("trace_context")

local judge = { refusals = refusals.all, refusal = refusals.new, our_headers = headers.OURS, request_id = headers.request_id }

-- Of Authorization headers with a verified token kept per generation; there are two.
local CACHE_SIZE = 2048
-- A state older than this when a gateway starts is not to be relied on: whoever writes it may have died long ago.
judge.STALE_S = 60

-- So much of a journal of revocations is read at once: a millisecond or two.
judge.JOURNAL_BYTES = 16384

judge.state_from_json = policy_state.from_json
judge.read_revocations = policy_state.read_revocations
judge.sweep_revocations = policy_state.sweep

-- Whether a state read when the gateway starts is recent enough to begin with.
function judge.is_fresh(state, now_s)
  return state ~= nil and now_s - state.written <= judge.STALE_S and state.written - now_s <= judge.STALE_S
end

-- `f` with a defect of ours turned into the refusal "unavailable", in the place where f gives its refusal.
local function guarded(f, place)
  return function(...)
    local ok, first, second = pcall(f, ...)
    if ok then
      return first, second
    end
    local refusal = refusals.new("unavailable", "defect: " .. tostring(first))
    if place == 1 then
      return refusal
    end
    return nil, refusal
  end
end

-- The grants that the roles in a token have by the policy of now; only our own issuer is believed about attributes.
local function grants_of(claims, issuer, state)
  local attributes = issuer.is_ours and type(claims.attributes) == "table" and claims.attributes or {}
  local words, grants = claims[issuer.roles_claim], {}
  if type(words) == "string" then
    local list = {}
    for word in words:gmatch("%S+") do
      list[#list + 1] = word
    end
    words = list
  end
  for _, word in ipairs(type(words) == "table" and words or {}) do
    local role = type(word) == "string" and (issuer.roles[word] or word)
    for _, grant in ipairs(role and state.role_grants[role] or {}) do
      if rights.suits(grant, attributes) then
        grants[#grants + 1] = grant
      end
    end
  end
  return grants
end

local function remember(state, authorization, identity)
  if state.cached >= CACHE_SIZE then
    state.older, state.cache, state.cached = state.cache, {}, 0
  end
  state.cache[authorization] = identity
  state.cached = state.cached + 1
end

local function unauthenticated(reason)
  return nil, refusals.new("unauthenticated", reason)
end

local function authenticate(state, authorization, now_s)
  if not state then
    return nil, refusals.new("unavailable", "no state")
  end
  local known = authorization and (state.cache[authorization] or state.older[authorization])
  if known then
    local reason = known.exp <= now_s and "expired" or known.revoked:reason(known)
    if reason then
      return unauthenticated(reason)
    end
    return known
  end
  local token = type(authorization) == "string" and authorization:match("^[Bb][Ee][Aa][Rr][Ee][Rr] +([%w%._%-]+)$")
  if not token then
    return unauthenticated("no bearer token")
  end
  local claims, issuer, name = jwt.claims_from(token, state, now_s)
  if not claims then
    return nil, refusals.new(name or "unauthenticated", issuer)
  end
  local identity = {
    sub = claims.sub,
    issuer = not issuer.is_ours and claims.iss or nil, -- of whom a service must not take for one of our users
    jti = claims.jti,
    sid = claims.sid,
    iat = claims.iat,
    exp = claims.exp,
    revoked = issuer.revoked,
    grants = grants_of(claims, issuer, state),
  }
  remember(state, authorization, identity)
  return identity
end

judge.authenticate = guarded(authenticate)
judge.rest_route = guarded(routes.rest_route)
judge.grpc_route = guarded(routes.grpc_route)
judge.passes_authorization = routes.passes_authorization
judge.decide = guarded(rights.decide)
judge.may_infer = rights.may_infer
judge.json_problem = guarded(json_guard.problem, 1)
judge.json_length = guarded(headers.json_length)
judge.header_problem = guarded(headers.problem, 1)
judge.trace_context = guarded(trace_context.from)

-- What judge.scanner and judge.json_problem want as limits for a request to `model`: `limits` of the policy, which outputs
-- may be asked for their classes, and how long a message may be (nil: as long as a body).
function judge.limits_for(limits, state, model, max_message_bytes)
  return {
    max_json_bytes = limits.max_json_bytes,
    max_elements = limits.max_elements,
    max_message_bytes = max_message_bytes,
    classes = state and model and state.classes[model] or nil,
  }
end

-- A scanner's answer is its refusal, or a defect: after one nothing more is believed.
local function asking(name)
  local ask = guarded(function(inner, argument)
    return inner[name](inner, argument)
  end, 1)
  return function(self, argument)
    local inner = self.inner
    inner.refusal = ask(inner, argument)
    return inner.refusal
  end
end

local Scanner = { feed = asking("feed"), judge = asking("judge"), skip = asking("skip"), finish = asking("finish") }
Scanner.__index = Scanner

function Scanner:named()
  return self.inner:named()
end

function Scanner:skippable()
  return self.inner:skippable()
end

-- judge.scanner(method, name, version, limits): an object with :feed(chunk), :skip(count), :judge(limits) and :finish(),
-- each giving nil or a refusal, and with :named() and :skippable().
function judge.scanner(...)
  return setmetatable({ inner = protobuf.scanner(...) }, Scanner)
end

return judge
