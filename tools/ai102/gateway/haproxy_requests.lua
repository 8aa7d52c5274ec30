-- Each request judged twice: by its headers, and then by its body, or the beginning of one that no buffer holds.
-- Every judgement gives true, or nil and a refusal.

local door = require("door")

local requests = {}

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

-- What the log is to know whatever the judgement. A request id of the client's own is kept when it is a plain one.
local function begin(txn, kind)
  local headers = txn.http:req_get_headers()
  txn:set_var("txn.kind", kind)
  txn:set_var("txn.method", txn.f:method())
  txn:set_var("txn.id", door.request_id(first(headers, "x-request-id")) or txn.f:uuid())
  txn:set_priv({ headers = headers })
  return headers
end

local function tell(txn, verb, model, version)
  txn:set_var("txn.verb", verb)
  txn:set_var("txn.model", model or "")
  txn:set_var("txn.version", version or "")
end

-- The caller's identity, or nil and a refusal; the second judgement finds it kept.
local function identify(txn, state)
  local kept = txn:get_priv()
  if kept.identity then
    return kept.identity
  end
  local identity, refusal = door.authenticate(state, first(kept.headers, "authorization"), os.time())
  if identity then
    txn:set_var("txn.subject", identity.sub)
    kept.identity = identity
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

-- Takes away what only the door may say, and says it.
local function replace_headers(txn, headers, secret_name, secret)
  for _, name in ipairs(door.our_headers) do
    if headers[name] then
      txn.http:req_del_header(name)
    end
  end
  txn.http:req_set_header("x-request-id", txn:get_var("txn.id"))
  txn.http:req_set_header("x-forwarded-for", txn.f:src())
  txn.http:req_set_header("x-forwarded-proto", "https")
  local subject = txn:get_var("txn.subject")
  if subject then
    txn.http:req_set_header("x-user", subject)
  end
  if txn:get_var("txn.verb") == "administer" then
    txn.http:req_set_header(secret_name, secret)
  end
end

-- Who asks, and whether they may, as far as headers tell.
local function judge_caller(txn, state, route, body_bytes)
  if route.verb == "public" then
    return true
  end
  local identity, refusal = identify(txn, state)
  if not identity then
    return nil, refusal
  end
  return decide(txn, identity, route.verb, route.model, route.version, body_bytes)
end

function requests.rest_head(txn, state, settings)
  local headers, limits = begin(txn, "rest"), settings.limits
  if bytes_of(headers) > limits.max_header_bytes then
    return refused("header_too_large", "more headers than allowed")
  end
  local route, refusal = door.rest_route(txn.f:method(), txn.f:pathq() or "", state)
  local problem = door.header_problem(headers, route and route.kind)
  if problem or not route then
    return nil, problem or refusal
  end
  tell(txn, route.verb, route.model, route.version)
  local length = length_of(headers)
  if length and length > limits.max_body_bytes then
    return refused("too_large", "a longer body than allowed")
  end
  local is_allowed
  is_allowed, refusal = judge_caller(txn, state, route, length)
  if not is_allowed then
    return nil, refusal
  end
  txn:set_var("txn.kind", route.kind)
  txn:set_var("txn.action", route.action or "")
  return true
end

-- The body of a request to Triton itself: JSON, or JSON and then binary tensors, which may be longer than the buffer.
local function judge_tensors(txn, headers, body, limits)
  if txn.f:method() ~= "POST" then
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
  refusal = door.json_problem(body:sub(1, json_bytes), limits, txn:get_var("txn.action"))
  return refusal == nil or nil, refusal
end

-- Without Content-Length a body may have max_json_bytes at most: then it lies whole in the buffer.
function requests.rest_body(txn, state, settings)
  local headers, limits = txn:get_priv().headers, settings.limits
  local body = txn.f:req_body() or ""
  local is_allowed, refusal = true, nil
  if not length_of(headers) and body ~= "" then
    if #body > limits.max_json_bytes then
      return refused("too_large", "a long body of untold length")
    end
    local route = door.rest_route(txn.f:method(), txn.f:pathq() or "", state)
    is_allowed, refusal = judge_caller(txn, state, route, #body)
  end
  if is_allowed and txn:get_var("txn.kind") == "triton" then
    is_allowed, refusal = judge_tensors(txn, headers, body, limits)
    txn.http:req_del_header("authorization")
  end
  if not is_allowed then
    return nil, refusal
  end
  replace_headers(txn, headers, "ai102-secret", settings.secret)
  return true
end

function requests.grpc_head(txn, state, settings)
  local headers = begin(txn, "grpc")
  if bytes_of(headers) > settings.limits.max_header_bytes then
    return refused("header_too_large", "more headers than allowed")
  end
  local problem = door.header_problem(headers, "grpc")
  if problem then
    return nil, problem
  end
  local route, refusal = door.grpc_route(txn.f:pathq() or "")
  if not route then
    return nil, refusal
  elseif txn.f:method() ~= "POST" then
    return refused("method_not_allowed", "no POST")
  end
  tell(txn, route.verb, route.model)
  txn:set_var("txn.streams", route.streams)
  if route.names_model then
    local identity
    identity, refusal = identify(txn, state)
    return identity and true, refusal
  end
  local is_allowed
  is_allowed, refusal = judge_caller(txn, state, route)
  return is_allowed, refusal
end

-- The model that the first message names, judged. True and the largest message allowed, or nil and a refusal.
local function judge_named(txn, state, route, path, body)
  local name, version = door.model_named(body, path)
  if not name then
    return nil, version
  end
  tell(txn, route.verb, name, version)
  local identity, refusal = identify(txn, state)
  if not identity then
    return nil, refusal
  end
  return decide(txn, identity, route.verb, name, version)
end

-- A body that is not whole in the buffer is scanned by the filter, part by part, before it goes on.
function requests.grpc_body(txn, state, settings)
  local headers = txn:get_priv().headers
  local path, body = txn.f:pathq(), txn.f:req_body() or ""
  local route = door.grpc_route(path)
  local largest = settings.limits.max_body_bytes
  if route.names_model then
    local is_allowed, most = judge_named(txn, state, route, path, body)
    if not is_allowed then
      return nil, most
    end
    largest = math.min(most or largest, largest)
  end
  -- No longer than this, a body lies whole in the buffer when its waiting is over.
  if #body <= settings.limits.max_json_bytes and not route.streams then
    local limits = { max_elements = settings.limits.max_elements, max_message_bytes = largest }
    local scanner = door.scanner(path, nil, nil, limits)
    local refusal = scanner:feed(body) or scanner:finish()
    if refusal then
      return nil, refusal
    end
  else
    txn:set_var("txn.scan", path)
    txn:set_var("txn.max_message_bytes", largest)
  end
  txn.http:req_del_header("authorization")
  replace_headers(txn, headers, "triton-grpc-protocol-ai102-secret", settings.secret)
  return true
end

return requests
