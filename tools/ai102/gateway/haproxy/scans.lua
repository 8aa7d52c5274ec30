-- Bodies that no buffer holds, looked at part by part while they stream by.
--
-- HAProxy 2.6 lets a Lua filter change the bytes of a body, not end it; raising an error resets the client in the
-- place of an answer. So what follows a bad byte is overwritten: no replica can read 0xFF as protobuf or as the head of
-- a gRPC message, the request fails there without having run, and the configuration puts our answer in the place of its.

local judge = require("judge")

local scans = {}

local SPOILT = string.char(255)

local Scan = { id = "gateway_scan", flags = filter.FLT_CFG_FL_HTX }
Scan.__index = Scan

function Scan:new()
  return setmetatable({}, Scan)
end

-- What is to be looked for in the body of an allowed gRPC request.
local function scanner_for(txn, limits, state)
  local path = txn:get_var("txn.scan")
  if not path then
    return nil
  end
  local route = judge.grpc_route(path)
  local name = route.names_model and txn:get_var("txn.model") or nil
  local bounds = judge.limits_for(limits, state, name, txn:get_var("txn.max_message_bytes"))
  return judge.scanner(path, name, name and txn:get_var("txn.version"), bounds)
end

-- A body may take as long as an answer; a stream, as long as it likes; what is refused already, as long as headers.
local function longest_s(txn, limits)
  if txn:get_var("txn.refusal") then
    return limits.header_timeout_s
  end
  return txn:get_var("txn.streams") and math.huge or limits.answer_timeout_s
end

function Scan:http_headers(txn, message)
  if not message.channel:is_resp() and (not message:eom() or txn:get_var("txn.scan")) then
    self.ends_s = core.now().sec + longest_s(txn, self.limits)
    self.scanner = scanner_for(txn, self.limits, self.state())
    filter.register_data_filter(self, message.channel)
  end
  return filter.CONTINUE
end

-- Once the replica has begun to answer, nothing can be put in the answer's place; then the stream is cut.
local function refuse(self, txn, refusal)
  self.is_refused = true
  txn:set_var("txn.reason", refusal.reason)
  if txn:get_var("txn.is_answered") then
    error("refused: " .. refusal.name)
  end
  txn:set_var("txn.message", refusal.message)
  txn:set_var("txn.grpc_status", refusal.grpc_status)
end

function Scan:http_payload(txn, message)
  if core.now().sec > self.ends_s then
    error("a body that takes too long")
  elseif not self.scanner then
    return
  end
  local held = message:input()
  if not self.is_refused then
    -- Most of a tensor goes by without a copy of it.
    local passed = math.min(self.scanner:skippable(), held)
    local refusal = self.scanner:skip(passed)
    if not refusal and passed < held then
      refusal = self.scanner:feed(message:body(passed, held - passed) or "")
    end
    if refusal then
      refuse(self, txn, refusal)
    end
  end
  if self.is_refused then
    local part = message:body() or ""
    message:set(SPOILT:rep(#part), 0, #part)
  end
end

-- `state` gives the state of now.
function scans.register(settings, state)
  Scan.limits, Scan.state = settings.limits, state
  core.register_filter(Scan.id, Scan, function(scan)
    return scan
  end)
end

return scans
