-- A request judged by its headers and by its body, or the beginning of one that no buffer holds.
-- Every judgement gives true, or nil and a refusal.

local judge = require("judge")

local requests = {}

local STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"

local function refused(name, reason)
  return nil, { name = name, reason = reason }
end

local function length_of(once)
  return tonumber(once["content-length"] or "", 10)
end

local function tell(txn, verb, model, version)
  if verb then
    txn:set_var("txn.verb", verb)
  end
  if model and model ~= "" then
    txn:set_var("txn.model", model)
  end
  if version and version ~= "" then
    txn:set_var("txn.version", version)
  end
end

-- The caller's identity, or nil and a refusal.
local function identify(txn, state, once)
  local identity, refusal = judge.authenticate(state, once.authorization, os.time())
  if identity then
    txn:set_var("txn.subject", identity.sub)
  end
  return identity, refusal
end

-- True and the largest body that the grants allow (nil: any), or nil and a refusal.
local function decide(txn, identity, verb, model, version, body_bytes)
  return judge.decide(identity, {
    verb = verb,
    model = model,
    version = version,
    address = txn.f:src(),
    now_s = os.time(),
    body_bytes = body_bytes,
  })
end

-- Removes headers that only the gateway may set; the configuration sets them, but for the secret.
local function replace_headers(txn, headers, verb, secret_name, secret)
  for _, name in ipairs(judge.our_headers) do
    if headers[name] then
      txn.http:req_del_header(name)
    end
  end
  if verb == "administer" then
    txn.http:req_set_header(secret_name, secret)
  end
end

-- The caller's trace goes on in ours; whether it is sampled, haproxy.cfg decides.
local function continue_trace(txn, value)
  local context = value and judge.trace_context(value)
  if context then
    txn:set_var("txn.trace_id", context.trace_id)
    txn:set_var("txn.parent_id", context.span_id)
    if context.is_sampled then
      txn:set_var("txn.asks_for_trace", true)
    end
  end
end

-- Who asks, and whether they may.
local function judge_caller(txn, state, once, route, body_bytes)
  if route.verb == "public" then
    return true
  end
  local identity, refusal = identify(txn, state, once)
  if not identity then
    return nil, refusal
  end
  if route.gets_rights then
    txn:set_var("txn.may_infer", judge.may_infer(identity, txn.f:src(), os.time()))
    if identity.issuer then
      txn:set_var("txn.issuer", identity.issuer)
    end
  end
  return decide(txn, identity, route.verb, route.model, route.version, body_bytes)
end

-- The body of a request to Triton itself, of which `held` bytes are here: JSON, or JSON and then binary tensors.
local function judge_tensors(txn, method, route, once, held, limits)
  if method ~= "POST" then
    if held > 0 then
      return refused("malformed", "a body where none belongs")
    end
    return true
  end
  local json_bytes, refusal = judge.json_length(once)
  if refusal then
    return nil, refusal
  end
  json_bytes = json_bytes or length_of(once) or held
  if json_bytes > limits.max_json_bytes then
    return refused("too_large", "more JSON than allowed")
  elseif json_bytes > held then
    return refused("malformed", "more JSON than body")
  end
  local body = txn:get_var("txn.head")
  if not body or #body < json_bytes then
    body = txn.f:req_body() or ""
  end
  refusal = judge.json_problem(body:sub(1, json_bytes), limits, route.action)
  return refusal == nil or nil, refusal
end

-- Without Content-Length a body may have max_json_bytes at most: then it lies whole in the buffer.
function requests.rest(txn, state, settings)
  local headers, limits = txn.http:req_get_headers(), settings.limits
  local method = txn.f:method()
  local route, refusal = judge.rest_route(method, txn.f:pathq() or "", state)
  local problem, once = judge.header_problem(headers, route and route.kind, limits.max_header_bytes)
  if problem or not route then
    return nil, problem or refusal
  end
  tell(txn, route.verb, route.model, route.version)
  continue_trace(txn, settings.is_traced and once.traceparent)
  local length, held = length_of(once), txn.f:req_body_len()
  if length and length > limits.max_body_bytes then
    return refused("too_large", "a longer body than allowed")
  end
  local is_allowed
  is_allowed, refusal = judge_caller(txn, state, once, route, length or held)
  if is_allowed and not length and held > limits.max_json_bytes then
    return refused("too_large", "a long body of untold length")
  end
  if is_allowed and route.kind == "triton" then
    is_allowed, refusal = judge_tensors(txn, method, route, once, held, judge.limits_for(limits, state, route.model))
  end
  if not is_allowed then
    return nil, refusal
  end
  replace_headers(txn, headers, route.verb, "ai102-secret", settings.secret)
  txn:set_var("txn.kind", route.kind)
  if judge.passes_authorization(route, once.authorization) then
    txn:set_var("txn.passes_authorization", true)
  end
  if length and held < length then
    txn:set_var("txn.is_long", true) -- see haproxy.cfg
  end
  return true
end

-- The messages of a call, and the rights to the model that they name. A body that is not whole in the buffer is judged
-- by its head, and scanned by the filter, part by part, before it goes on.
local function judge_messages(txn, state, identity, route, path, limits)
  local head = txn:get_var("txn.head") or route.streams and ""
  local body = head or txn.f:req_body() or ""
  local scanner = judge.scanner(path)
  local refusal = scanner:feed(body)
  if refusal then
    return nil, refusal
  end
  local model, version = route.model, nil
  if route.names_model then
    model, version = scanner:named()
    if not model then
      return nil, version
    end
    tell(txn, nil, model, version)
  end
  local is_allowed, most = true, nil
  if identity then
    is_allowed, most = decide(txn, identity, route.verb, model, version)
  end
  if not is_allowed then
    return nil, most
  end
  local largest = math.min(most or math.huge, limits.max_body_bytes)
  -- No longer than this, a body lies whole in the buffer when its waiting is over.
  if head or #body > limits.max_json_bytes then
    txn:set_var("txn.scan", path)
    txn:set_var("txn.max_message_bytes", largest)
    return true
  end
  refusal = scanner:judge(judge.limits_for(limits, state, model, largest)) or scanner:finish()
  return refusal == nil or nil, refusal
end

function requests.grpc(txn, state, settings)
  local headers = txn.http:req_get_headers()
  local problem, once = judge.header_problem(headers, "grpc", settings.limits.max_header_bytes)
  if problem then
    return nil, problem
  end
  local path = txn.f:pathq() or ""
  local route, refusal = judge.grpc_route(path)
  if not route then
    return nil, refusal
  elseif txn.f:method() ~= "POST" then
    return refused("method_not_allowed", "no POST")
  elseif route.streams ~= (path == STREAM) then
    return refused("unavailable", "defect: haproxy.cfg and the gateway disagree on what streams")
  end
  tell(txn, route.verb, route.model)
  continue_trace(txn, settings.is_traced and once.traceparent)
  local identity
  if route.verb ~= "public" then
    identity, refusal = identify(txn, state, once)
    if not identity then
      return nil, refusal
    end
  end
  local is_allowed
  is_allowed, refusal = judge_messages(txn, state, identity, route, path, settings.limits)
  if is_allowed then
    replace_headers(txn, headers, route.verb, "triton-grpc-protocol-ai102-secret", settings.secret)
  end
  return is_allowed, refusal
end

return requests
