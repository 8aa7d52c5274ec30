-- HAProxy's side of the gateway: the state kept fresh, and what the configuration calls registered. Loaded once a thread.

local cjson = require("cjson")
local judge = require("judge")
local requests = require("requests")
local scans = require("scans")

-- Most of a request's tables are garbage soon; collecting them less often costs little memory.
collectgarbage("setpause", 400)

local READ_STATE_EVERY_MS = 1000
local DRAIN_BYTES = 65536

local function content_of(path)
  local file, reason = io.open(path, "rb")
  if not file then
    return nil, reason
  end
  local content = file:read("a")
  file:close()
  return content
end

local settings = cjson.decode(assert(content_of(os.getenv("AI102_GATEWAY") .. "/settings.json")))
settings.secret = assert(content_of(settings.secret_file)):gsub("%s+$", "")

local REVOKED_FOLDER = settings.state_file:match("^(.*)/") .. "/revoked"
-- While there is more in a journal of revocations, requests get their turn so long between two steps.
local REST_MS = 2

local state, state_text

-- The file is replaced in one step, so what is read is whole. One that cannot be used leaves the last in force; a gateway
-- that starts does not begin with one that nobody has written for long.
local function read_state()
  local text = content_of(settings.state_file)
  if not text or text == state_text then
    return
  end
  local new_state, reason = judge.state_from_json(text)
  if new_state and (state or judge.is_fresh(new_state, os.time())) then
    state = new_state
  elseif core.thread <= 1 then
    core.Warning(settings.state_file .. ": " .. (reason or "too old to begin with") .. "; what was in force stays so")
  end
  state_text = text
end

local function read_step()
  return judge.read_revocations(state, REVOKED_FOLDER, judge.JOURNAL_BYTES)
end

read_state()
repeat
until read_step() -- no request is here yet that could wait
core.register_task(function()
  while true do
    core.msleep(READ_STATE_EVERY_MS)
    read_state()
    while not read_step() do
      core.msleep(REST_MS)
    end
    judge.sweep_revocations(state, os.time())
  end
end)

local function refuse(txn, name, reason)
  txn:set_var("txn.refusal", name)
  txn:set_var("txn.reason", reason)
end

-- An action that gives true, or a refusal, which the configuration and the log know from variables. HAProxy would go on
-- after an action that fails, so anything but true refuses.
local function register(name, judge)
  core.register_action(name, { "http-req" }, function(txn)
    local ran, is_allowed, refusal = pcall(judge, txn, state, settings)
    if not ran then
      refuse(txn, "unavailable", "defect: " .. tostring(is_allowed))
    elseif is_allowed ~= true then
      refuse(txn, refusal and refusal.name or "unavailable", refusal and refusal.reason or "defect: no refusal")
    else
      txn:set_var("txn.is_judged", true)
    end
  end)
end

register("gateway_rest", requests.rest)
register("gateway_grpc", requests.grpc)
scans.register(settings, function()
  return state
end)

-- Reads what is left of the body first: a client that is still sending would get a reset in the place of the answer.
local function drain(applet, most_bytes)
  local seen = 0
  while seen < most_bytes do
    local part = applet:receive(DRAIN_BYTES)
    if not part or part == "" then
      return
    end
    seen = seen + #part
  end
end

core.register_service("gateway_refuse", "http", function(applet)
  local refusal = judge.refusals[applet:get_var("txn.refusal")]
  local headers = applet.headers
  -- The body of an upgrade has no end that HAProxy would tell.
  if applet.method ~= "CONNECT" and not headers.expect and not headers.upgrade then
    drain(applet, settings.limits.max_body_bytes)
  end
  if not applet:get_var("txn.reason") then
    applet:set_var("txn.reason", refusal.reason)
  end
  if applet:get_var("txn.protocol") == "grpc" then
    applet:set_var("txn.grpc_status", refusal.grpc_status)
    applet:set_status(200)
    applet:add_header("content-type", "application/grpc")
    applet:add_header("grpc-status", tostring(refusal.grpc_status))
    applet:add_header("grpc-message", refusal.message)
    if refusal.retry_after_s then
      applet:add_header("grpc-retry-pushback-ms", tostring(refusal.retry_after_s * 1000))
    end
    applet:start_response()
    return
  end
  local body = cjson.encode({ error = refusal.message })
  applet:set_status(refusal.rest_status)
  applet:add_header("content-type", "application/json")
  applet:add_header("content-length", tostring(#body))
  if refusal.rest_status == 401 then
    applet:add_header("www-authenticate", "Bearer")
  end
  if refusal.retry_after_s then
    applet:add_header("retry-after", tostring(refusal.retry_after_s))
  end
  applet:start_response()
  applet:send(body)
end)
