-- What nginx answers in the place of a replica: refusals, and its own errors, in the caller's protocol.

local cjson = require("cjson.safe")
local judge = require("judge")

local answers = {}

local function is_grpc()
  return ngx.var.gateway_protocol == "grpc" and ngx.req.http_version() == 2
end

-- Trailers only: one HEADERS frame that ends the stream, whatever of the request is still unread.
local function answer_grpc(refusal)
  ngx.status = 200
  ngx.header["Content-Type"] = "application/grpc"
  ngx.header["Content-Length"] = 0
  ngx.header["grpc-status"] = refusal.grpc_status
  ngx.header["grpc-message"] = refusal.message
  if refusal.retry_after_s then
    ngx.header["grpc-retry-pushback-ms"] = refusal.retry_after_s * 1000
  end
  ngx.send_headers()
  return ngx.exit(ngx.HTTP_OK)
end

local function answer_rest(refusal)
  local body = cjson.encode({ error = refusal.message })
  ngx.status = refusal.rest_status
  ngx.header["Content-Type"] = "application/json"
  ngx.header["Content-Length"] = #body
  if refusal.rest_status == 401 then
    ngx.header["WWW-Authenticate"] = "Bearer"
  end
  ngx.header["Retry-After"] = refusal.retry_after_s
  ngx.print(body)
  return ngx.exit(refusal.rest_status)
end

-- Ends the request.
function answers.refuse(refusal)
  ngx.var.gateway_reason = refusal.reason
  if is_grpc() then
    return answer_grpc(refusal)
  end
  return answer_rest(refusal)
end

function answers.refuse_as(name, reason)
  return answers.refuse(judge.refusal(name, reason))
end

-- What nginx itself refuses: its status, what we call it, and the reason for the log.
local OF_NGINX = {
  [401] = { "unauthenticated", "no client's certificate, or one that does not hold" },
  [404] = { "not_found", "no route" },
  [405] = { "method_not_allowed", "another method" },
  [408] = { "malformed", "the body came too slowly" },
  [413] = { "too_large", "larger than the gateway takes" },
  [431] = { "header_too_large", "the address or the headers are too large" },
  [500] = { "unavailable", "an error of the gateway" },
  [502] = { "unavailable", "no replica answered" },
  [503] = { "unavailable", "no replica to ask" },
}
local TOO_LATE = { rest_status = 504, grpc_status = 4, message = "The answer took too long.", reason = "answer timeout" }

-- The content of nginx's own errors.
function answers.of_nginx(status)
  status = status or ngx.status
  if status == 504 then
    return answers.refuse(TOO_LATE)
  end
  local row = OF_NGINX[status] or { "malformed", "nginx says " .. status }
  return answers.refuse_as(row[1], row[2])
end

return answers
