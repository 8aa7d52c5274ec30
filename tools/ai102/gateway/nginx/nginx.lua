-- nginx's side of the gateway: hands each request to the decision core, and sets what goes on to the replica.

local addresses = require("addresses")
local answers = require("answers")
local balance = require("balance")
local body = require("body")
local cjson = require("cjson.safe")
local judge = require("judge")
local traces = require("traces")

local glue = { refused = answers.of_nginx }

local READ_STATE_EVERY_S = 1
local WINDOW_S = 10
-- The name of the model stands in front of all that is large.
local HEAD_BYTES = 8192
local rates = ngx.shared.gateway_rates
local settings, secret
local REST_S = 0.002 -- between two steps through a journal of revocations requests get their turn
local state, state_text
local is_reading = false

-- The file is replaced in one step, so what is read is whole. One that cannot be used leaves the last in force. The
-- first must be fresh, unless this is a reload: then the workers of before had a fresh one.
local function read_state()
  local text, err = body.content_of(settings.state_file)
  if text == state_text then
    return
  end
  state_text = text
  local new_state, reason = nil, err
  if text then
    new_state, reason = judge.state_from_json(text)
  end
  if new_state and not rates:get("had a state") and not judge.is_fresh(new_state, ngx.time()) then
    new_state, reason = nil, "written too long ago to begin with"
  end
  if new_state then
    state = new_state
    rates:set("had a state", true)
  else
    local force = state and "the state of before stays in force" or "no token is taken"
    ngx.log(ngx.ERR, settings.state_file, ": ", reason, "; ", force)
  end
end

local function read_step()
  return judge.read_revocations(state, settings.revoked_folder, judge.JOURNAL_BYTES)
end

local function refresh(premature)
  if premature or is_reading then
    return
  end
  is_reading = true
  read_state()
  local ok, err = pcall(function()
    while not read_step() do
      ngx.sleep(REST_S)
    end
    judge.sweep_revocations(state, ngx.time())
  end)
  is_reading = false
  if not ok then
    ngx.log(ngx.ERR, "revocations: ", err)
  end
end

-- Before the workers start; `prefix` is the folder of nginx.conf and settings.json.
function glue.load(prefix)
  settings = assert(cjson.decode(assert(body.content_of(prefix .. "settings.json"))))
  settings.revoked_folder = settings.state_file:match("^(.*)/") .. "/revoked"
  secret = assert(body.content_of(settings.secret_file)):gsub("%s+$", "")
  balance.load(settings)
  traces.load(settings)
end

-- In each worker.
function glue.start()
  read_state()
  repeat
  until read_step() -- no request is here yet that could wait
  ngx.timer.every(READ_STATE_EVERY_S, refresh)
  balance.start()
end

-- How many requests of `name` came in the last WINDOW_S seconds, this one included: the window of before counts for
-- as much of it as the last WINDOW_S seconds still cover.
local function requests_of(name)
  local now = ngx.now()
  local window = math.floor(now / WINDOW_S)
  local count = rates:incr(name .. " " .. window, 1, 0, 2 * WINDOW_S)
  local before = rates:get(name .. " " .. window - 1) or 0
  return (count or 1) + before * (1 - (now / WINDOW_S - window))
end

-- Who asks; nothing to a public address. A refusal ends the request, here and below.
local function identified(variables, verb)
  if verb == "public" then
    return nil
  end
  local identity, refusal = judge.authenticate(state, variables.http_authorization, ngx.time())
  if not identity then
    return answers.refuse(refusal)
  end
  variables.gateway_subject = identity.sub
  if requests_of(identity.sub) > settings.requests_per_10s then
    return answers.refuse_as("rate_limited", "too many requests")
  end
  return identity
end

-- Whoever asks /auth/* has no subject yet; a refusal ends the request.
local function check_rate_of_address(variables, path)
  if path:sub(1, 6) ~= "/auth/" then
    return
  end
  -- No subject has a space in it.
  if requests_of("address " .. addresses.customer_of(variables.remote_addr)) > settings.auth_requests_per_10s then
    return answers.refuse_as("rate_limited", "too many requests to /auth/ from one address")
  end
end

-- The largest body that the grants allow, nil for any.
local function allowed(variables, identity, verb, model, version, body_bytes)
  if version == "" then
    version = nil
  end
  variables.gateway_verb, variables.gateway_model, variables.gateway_version = verb, model or "", version or ""
  local is_allowed, largest = judge.decide(identity, {
    verb = verb,
    model = model,
    version = version,
    address = variables.remote_addr,
    now_s = ngx.time(),
    body_bytes = body_bytes,
  })
  if not is_allowed then
    return answers.refuse(largest)
  end
  variables.gateway_secret = verb == "administer" and secret or ""
  return largest
end

local function refuse_if(refusal)
  return refusal and answers.refuse(refusal)
end

-- What every request has, and how the client may not write it.
local function received(variables, route, refusal, kind)
  variables.gateway_id = judge.request_id(variables.http_x_request_id) or variables.request_id
  local headers = ngx.req.get_headers(0, true)
  local problem, once = judge.header_problem(headers, kind)
  traces.begin(variables, once and once.traceparent)
  refuse_if(problem or not route and refusal)
  return once
end

-- The JSON that Triton will parse: all of the body, or what stands before binary tensors.
local function json_of(once, held)
  local length, refusal = judge.json_length(once)
  refuse_if(refusal)
  length = length or held.size
  if length > settings.max_json_bytes then
    return answers.refuse_as("too_large", "more JSON than allowed")
  elseif length > held.size then
    return answers.refuse_as("malformed", "more JSON than body")
  end
  return body.head(held, length)
end

-- Access phase of the REST port.
function glue.rest()
  local variables, method = ngx.var, ngx.req.get_method()
  local route, refusal = judge.rest_route(method, variables.request_uri, state)
  local once = received(variables, route, refusal, route and route.kind)
  local upstream = route.kind == "triton" and "triton_http" or settings.services[route.kind]
  if not upstream then
    return answers.refuse_as("not_found", "no such service here")
  end
  check_rate_of_address(variables, variables.request_uri)
  variables.gateway_verb, variables.gateway_model = route.verb, route.model or ""
  local identity = identified(variables, route.verb)
  local announced = tonumber(variables.http_content_length)
  local largest = allowed(variables, identity, route.verb, route.model, route.version, announced)
  if route.gets_rights then
    variables.gateway_may_infer = judge.may_infer(identity, variables.remote_addr, ngx.time())
    variables.gateway_issuer = identity.issuer or ""
  end
  if judge.passes_authorization(route, once.authorization) then
    variables.gateway_authorization = once.authorization
  end
  -- A job handed in again would be another job.
  variables.gateway_upstream = route.verb == "submit" and upstream .. "_once" or upstream
  local held = body.read()
  if largest and held.size > largest then
    return answers.refuse_as("too_large", "larger than the grants allow")
  elseif route.kind == "triton" and method == "POST" then
    refuse_if(judge.json_problem(json_of(once, held), judge.limits_for(settings, state, route.model), route.action))
  elseif route.kind == "triton" and held.size > 0 then
    return answers.refuse_as("malformed", "a body where none is taken")
  end
  if route.verb == "infer" then
    balance.begin(variables)
  end
  traces.sample(variables, requests_of)
end

-- A stream cannot be read before it is answered, and nginx shows its Lua no part of a body that goes by: which models it
-- will name is not known. So only who may ask all of them, in all versions, may open one, and its messages are not read.
local function open_stream(variables, identity)
  allowed(variables, identity, "infer", "*", "*", settings.max_body_bytes)
  balance.begin(variables)
end

-- Access phase of the gRPC port.
function glue.grpc()
  local variables = ngx.var
  local path = variables.request_uri
  local route, refusal = judge.grpc_route(path)
  if ngx.req.get_method() ~= "POST" then
    route, refusal = nil, judge.refusals.method_not_allowed
  elseif ngx.req.http_version() ~= 2 then
    route, refusal = nil, judge.refusals.unsupported_media_type
  end
  received(variables, route, refusal, "grpc")
  local identity = identified(variables, route.verb)
  if route.streams then
    return open_stream(variables, identity)
  end
  local held, scanner = body.read(), judge.scanner(path)
  local head = held.data or body.head(held, HEAD_BYTES)
  refuse_if(scanner:feed(head))
  local model, version = route.model, nil
  if route.names_model then
    model, version = scanner:named()
    if not model then
      return answers.refuse(version)
    end
  end
  allowed(variables, identity, route.verb, model, version, held.size)
  refuse_if(scanner:judge(judge.limits_for(settings, state, model)))
  refuse_if(body.scan_rest(held, #head, scanner) or scanner:finish())
  if route.verb == "infer" then
    balance.begin(variables)
  end
  traces.sample(variables, requests_of)
end

-- Log phase of both; the access log is written after it.
function glue.log()
  balance.done()
  local variables = ngx.var
  local seconds = ngx.now() - ngx.req.start_time()
  local answer = tonumber((variables.upstream_response_time or ""):match("([%d.]+)$"))
  variables.gateway_answer = answer and math.floor(answer * 1000 + 0.5) or ""
  variables.gateway_all = math.floor(seconds * 1000 + 0.5)
  traces.finish(variables)
end

return glue
