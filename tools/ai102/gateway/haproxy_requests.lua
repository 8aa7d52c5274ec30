-- A request judged by its headers and by its body, or the beginning of one that no buffer holds.
-- Every judgement gives true, or nil and a refusal.

local door = require("door")

local requests = {}

local STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"

local function refused(name, reason)
  return nil, { name = name, reason = reason }
end

local function bytes_of(headers)
  local bytes = 0
  for name, values in pairs(headers) do
    for _, value in pairs(values) do
      bytes = bytes + #name + #value + 4
    end
  end
  return bytes
end

-- HAProxy counts the values of a header from 0.
local function first(headers, name)
  return headers[name] and headers[name][0]
end

local function length_of(headers)
  return tonumber(first(headers, "content-length") or "", 10)
end

local function tell(txn, verb, model, version)
  txn:set_var("txn.verb", verb)
  if model and model ~= "" then
    txn:set_var("txn.model", model)
  end
  if version and version ~= "" then
    txn:set_var("txn.version", version)
  end
end

-- The caller's identity, or nil and a refusal.
local function identify(txn, state, headers)
  local identity, refusal = door.authenticate(state, first(headers, "authorization"), os.time())
  if identity then
    txn:set_var("txn.subject", identity.sub)
  end
  return identity, refusal
end

-- True and the largest body that the grants allow (nil: any), or nil and a refusal.
local function decide(txn, identity, verb, model, version, body_bytes)
  return door.decide(identity, {
    verb = verb,
    model = model,
    version = version,
    address = txn.f:src(),
    now_s = os.time(),
    body_bytes = body_bytes,
  })
end

-- Takes away what only the door may say; most of it the configuration says then, the secret is said here.
local function replace_headers(txn, headers, verb, secret_name, secret)
  for _, name in ipairs(door.our_headers) do
    if headers[name] then
      txn.http:req_del_header(name)
    end
  end
  if verb == "administer" then
    txn.http:req_set_header(secret_name, secret)
  end
end

-- Who asks, and whether they may.
local function judge_caller(txn, state, headers, route, body_bytes)
  if route.verb == "public" then
    return true
  end
  local identity, refusal = identify(txn, state, headers)
  if not identity then
    return nil, refusal
  end
  return decide(txn, identity, route.verb, route.model, route.version, body_bytes)
end

-- The body of a request to Triton itself: JSON, or JSON and then binary tensors, which may be longer than the buffer.
local function judge_tensors(method, action, headers, body, limits)
  if method ~= "POST" then
    if body ~= "" then
      return refused("malformed", "a body where none belongs")
    end
    return true
  end
  local json_bytes, refusal = door.json_length(headers)
  if refusal then
    return nil, refusal
  end
  json_bytes = json_bytes or length_of(headers) or #body
  if json_bytes > limits.max_json_bytes then
    return refused("too_large", "more JSON than allowed")
  elseif json_bytes > #body then
    return refused("malformed", "more JSON than body")
  end
  refusal = door.json_problem(body:sub(1, json_bytes), limits, action)
  return refusal == nil or nil, refusal
end

-- Without Content-Length a body may have max_json_bytes at most: then it lies whole in the buffer.
function requests.rest(txn, state, settings)
  local headers, limits = txn.http:req_get_headers(), settings.limits
  if bytes_of(headers) > limits.max_header_bytes then
    return refused("header_too_large", "more headers than allowed")
  end
  local method = txn.f:method()
  local route, refusal = door.rest_route(method, txn.f:pathq() or "", state)
  local problem = door.header_problem(headers, route and route.kind)
  if problem or not route then
    return nil, problem or refusal
  end
  tell(txn, route.verb, route.model, route.version)
  local length, body = length_of(headers), txn.f:req_body() or ""
  if length and length > limits.max_body_bytes then
    return refused("too_large", "a longer body than allowed")
  end
  local is_allowed
  is_allowed, refusal = judge_caller(txn, state, headers, route, length or #body)
  if is_allowed and not length and #body > limits.max_json_bytes then
    return refused("too_large", "a long body of untold length")
  end
  if is_allowed and route.kind == "triton" then
    is_allowed, refusal = judge_tensors(method, route.action, headers, body, limits)
  end
  if not is_allowed then
    return nil, refusal
  end
  replace_headers(txn, headers, route.verb, "ai102-secret", settings.secret)
  txn:set_var("txn.kind", route.kind)
  return true
end

-- Who asks for the model that the first message names. True and the largest message allowed, or nil and a refusal.
local function judge_named(txn, state, headers, route, path, body)
  local identity, refusal = identify(txn, state, headers)
  if not identity then
    return nil, refusal
  end
  local name, version = door.model_named(body, path)
  if not name then
    return nil, version
  end
  tell(txn, route.verb, name, version)
  return decide(txn, identity, route.verb, name, version)
end

-- A body that is not whole in the buffer is scanned by the filter, part by part, before it goes on.
local function judge_messages(txn, route, path, body, largest, settings)
  -- No longer than this, a body lies whole in the buffer when its waiting is over.
  if #body > settings.limits.max_json_bytes or route.streams then
    txn:set_var("txn.scan", path)
    txn:set_var("txn.max_message_bytes", largest)
    return true
  end
  local limits = { max_elements = settings.limits.max_elements, max_message_bytes = largest }
  local scanner = door.scanner(path, nil, nil, limits)
  local refusal = scanner:feed(body) or scanner:finish()
  return refusal == nil or nil, refusal
end

function requests.grpc(txn, state, settings)
  local headers = txn.http:req_get_headers()
  if bytes_of(headers) > settings.limits.max_header_bytes then
    return refused("header_too_large", "more headers than allowed")
  end
  local problem = door.header_problem(headers, "grpc")
  if problem then
    return nil, problem
  end
  local path, body = txn.f:pathq() or "", txn.f:req_body() or ""
  local route, refusal = door.grpc_route(path)
  if not route then
    return nil, refusal
  elseif txn.f:method() ~= "POST" then
    return refused("method_not_allowed", "no POST")
  elseif route.streams ~= (path == STREAM) then
    return refused("unavailable", "defect: haproxy.cfg and the door disagree on what streams")
  end
  tell(txn, route.verb, route.model)
  local is_allowed, most
  if route.names_model then
    is_allowed, most = judge_named(txn, state, headers, route, path, body)
  else
    is_allowed, most = judge_caller(txn, state, headers, route)
  end
  if not is_allowed then
    return nil, most
  end
  local largest = math.min(most or math.huge, settings.limits.max_body_bytes)
  is_allowed, refusal = judge_messages(txn, route, path, body, largest, settings)
  if not is_allowed then
    return nil, refusal
  end
  replace_headers(txn, headers, route.verb, "triton-grpc-protocol-ai102-secret", settings.secret)
  return true
end

return requests
