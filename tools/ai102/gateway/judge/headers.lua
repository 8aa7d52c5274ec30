-- Headers that a request may not have, because somebody behind the gateway would read them another way than the gateway did.

local refusals = require("refusals")

local headers = {}

local find = string.find

-- The gateway sets these, or answers for them; it removes them from what the client sent (any spelling with _ is refused).
headers.OURS = {
  "x-user", "x-user-issuer", "x-user-may-infer", "x-request-id", "x-forwarded-for", "x-forwarded-proto",
  "x-forwarded-host", "x-forwarded-port", "x-real-ip", "forwarded", "ai102-secret", "triton-grpc-protocol-ai102-secret",
  "traceparent", "tracestate",
}

local ONCE = {
  "content-length", "transfer-encoding", "content-type", "content-encoding", "authorization", "host", "te",
  "inference-header-content-length", "inference-header-content-type", "grpc-encoding", "grpc-timeout", "expect",
}
local IS_ONCE, IS_PLAIN, IS_OURS = {}, {}, {}
for _, name in ipairs(ONCE) do
  IS_ONCE[name], IS_PLAIN[name] = true, true
end
for _, name in ipairs(headers.OURS) do
  IS_OURS[name], IS_PLAIN[name] = true, true
end
-- Names that need no look at their letters, because most requests have them.
for _, name in ipairs({ "user-agent", "accept", "accept-encoding", "grpc-accept-encoding", "connection" }) do
  IS_PLAIN[name] = true
end

-- What a Connection header may name: anything else would make a proxy strip a header that was already judged.
local HOPS = { close = true, ["keep-alive"] = true, te = true }
-- The letters of a content type, its parameters included.
local MAX_TYPE = 256
-- Content types as most requests write them, by kind.
local USUAL_TYPES = {
  grpc = { ["application/grpc"] = true, ["application/grpc+proto"] = true },
  triton = { ["application/json"] = true, ["application/octet-stream"] = true },
}

-- `name` in lower case.
local function name_problem(name)
  if not name:find("^[a-z0-9!#$%%&'*+%-.^_`|~]+$") and not name:find("^:%l+$") then
    return "a header name that is none"
  end
  local plain = name:gsub("_", "-")
  if plain ~= name and (IS_OURS[plain] or IS_ONCE[plain]) then
    return "a header in disguise"
  end
end

local function value_problem(name, value)
  if find(value, "\n", 1, true) or find(value, "\r", 1, true) or find(value, "\0", 1, true) then
    return "a line break in a header"
  elseif name == "connection" then
    for word in value:lower():gmatch("[^,%s]+") do
      if not HOPS[word] then
        return "a connection header that names another"
      end
    end
  elseif name == "upgrade" or name == "http2-settings" then
    return "an upgrade"
  end
end

-- The values of the headers that may be there once, and how many bytes all have; nil and a reason when one may not be.
-- Reads no further than `max_bytes`.
local function once_from(raw, max_bytes)
  local once, bytes = {}, 0
  local function take(name, value)
    -- nginx gives true for a header without a value.
    value = type(value) == "string" and value or ""
    bytes = bytes + #name + #value + 4
    local reason = value_problem(name, value)
    if not reason and IS_ONCE[name] then
      reason = once[name] and "a header twice: " .. name
      once[name] = value
    elseif name == "traceparent" then
      once[name] = once[name] and "" or value -- twice it names no trace, and is no reason to refuse
    end
    return reason
  end
  for name, value in pairs(raw) do
    local reason
    if not IS_PLAIN[name] then
      name = name:lower()
      reason = name_problem(name)
    end
    if type(value) ~= "table" then
      reason = reason or take(name, value)
    else
      reason = reason or next(value) == nil and "a header without a value" or nil
      for _, one in pairs(value) do
        reason = reason or take(name, one)
      end
    end
    if reason or bytes > max_bytes then
      return nil, reason, bytes
    end
  end
  return once, nil, bytes
end

local function framing_problem(once)
  local length, coding, te = once["content-length"], once["transfer-encoding"], once.te
  if length and coding then
    return "two ways of telling the body's length"
  elseif coding and coding:lower() ~= "chunked" then
    return "a transfer encoding that is not taken"
  elseif length and (not length:find("^%d+$") or #length > 15) then
    return "a length that is none"
  elseif te and te ~= "trailers" and te:lower() ~= "trailers" then
    return "a te header that is not taken"
  end
end

local function is_identity(value)
  return not value or value:lower() == "identity"
end

local function type_problem(once, kind)
  local content_type = once["content-type"] or ""
  if not is_identity(once["content-encoding"]) or not is_identity(once["grpc-encoding"]) then
    return "a compressed body"
  elseif USUAL_TYPES[kind] and USUAL_TYPES[kind][content_type] then
    return nil
  end
  if #content_type > MAX_TYPE then
    return "a content type longer than any"
  end
  content_type = content_type:lower():match("^[^;]*"):match("^%s*(.*%S)") or ""
  if kind == "grpc" then
    return not USUAL_TYPES.grpc[content_type] and "no gRPC" or nil
  elseif kind == "triton" and (content_type:find("form", 1, true) or content_type:find("multipart", 1, true)) then
    -- Triton's HTTP server parses a form by itself, and dies of a large one.
    return "a form"
  end
end

-- A refusal; or nil and the values of the headers that may be there once. `raw`: names to a value or a table of values. `kind`: "grpc", "triton" (the default), "api" or
-- "issuer": forms are for the last two. `max_bytes` of all headers, nil for any.
function headers.problem(raw, kind, max_bytes)
  max_bytes = max_bytes or math.huge
  local once, reason, bytes = once_from(raw, max_bytes)
  if bytes > max_bytes then
    return refusals.new("header_too_large", "more headers than allowed")
  end
  reason = reason or framing_problem(once)
  if reason then
    return refusals.new("malformed", reason)
  end
  reason = type_problem(once, kind or "triton")
  if reason then
    return refusals.new("unsupported_media_type", reason)
  end
  return nil, once
end

-- How many bytes of JSON a REST request's body begins with: nil, nil when all of the body is JSON; nil and a refusal.
-- `once`: of headers.problem.
function headers.json_length(once)
  local value, total = once["inference-header-content-length"], once["content-length"]
  if not value then
    return nil
  elseif not value:find("^%d+$") or #value > 9 then
    return nil, refusals.new("malformed", "a length of JSON that is none")
  elseif total and tonumber(value) > (tonumber(total) or 0) then
    return nil, refusals.new("malformed", "more JSON than body")
  end
  return tonumber(value)
end

-- The client's request id when it is one, else nil.
function headers.request_id(value)
  if type(value) == "string" and #value <= 64 and value:find("^[%w._%-]+$") then
    return value
  end
  return nil
end

return headers
