-- Headers that a request may not have, because somebody behind the door would read them another way than the door did.

local refusals = require("refusals")

local headers = {}

-- The door sets these, or answers for them; it removes them from what the client sent (any spelling with _ is refused).
headers.OURS = {
  "x-user", "x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip",
  "forwarded", "ai102-secret", "triton-grpc-protocol-ai102-secret",
}

local ONCE = {
  "content-length", "transfer-encoding", "content-type", "content-encoding", "authorization", "host", "te",
  "inference-header-content-length", "inference-header-content-type", "grpc-encoding", "grpc-timeout", "expect",
}
local ONCE_SET = {}
for _, name in ipairs(ONCE) do
  ONCE_SET[name] = true
end

-- What a Connection header may name: anything else would make a proxy strip a header that was already judged.
local HOPS = { close = true, ["keep-alive"] = true, te = true }

-- The values of one header, from a string or from any table of strings.
local function values_of(value)
  if type(value) ~= "table" then
    return { value }
  end
  local values = {}
  for _, one in pairs(value) do
    values[#values + 1] = one
  end
  return values
end

-- Lower-case names to lists of values; nil and a reason when a name or value is not one.
local function lists_from(raw)
  local lists = {}
  for name, value in pairs(raw) do
    name = name:lower()
    if not name:find("^[a-z0-9!#$%%&'*+%-.^_`|~]+$") and not name:find("^:%l+$") then
      return nil, "a header name that is none"
    end
    lists[name] = lists[name] or {}
    for _, one in ipairs(values_of(value)) do
      if type(one) ~= "string" then
        one = ""
      end
      if one:find("[%z\r\n]") then
        return nil, "a line break in a header"
      end
      table.insert(lists[name], one)
    end
  end
  return lists
end

local function disguise(lists)
  for name in pairs(lists) do
    if name:find("_", 1, true) then
      local plain = name:gsub("_", "-")
      for _, ours in ipairs(headers.OURS) do
        if plain == ours then
          return true
        end
      end
      if ONCE_SET[plain] then
        return true
      end
    end
  end
  return false
end

local function framing_problem(lists)
  local length, coding = lists["content-length"], lists["transfer-encoding"]
  if length and coding then
    return "two ways of telling the body's length"
  elseif coding and coding[1]:lower() ~= "chunked" then
    return "a transfer encoding that is not taken"
  elseif length and (not length[1]:find("^%d+$") or #length[1] > 15) then
    return "a length that is none"
  end
  for _, value in ipairs(lists.connection or {}) do
    for word in value:lower():gmatch("[^,%s]+") do
      if not HOPS[word] then
        return "a connection header that names another"
      end
    end
  end
  if lists.upgrade or lists["http2-settings"] then
    return "an upgrade"
  elseif lists.te and lists.te[1]:lower() ~= "trailers" then
    return "a te header that is not taken"
  end
end

local function is_plain(values)
  return not values or values[1]:lower() == "identity"
end

local function type_problem(lists, kind)
  local content_type = (lists["content-type"] or { "" })[1]:lower():match("^%s*([^;]*)"):gsub("%s+$", "")
  if not is_plain(lists["content-encoding"]) or not is_plain(lists["grpc-encoding"]) then
    return "a compressed body"
  elseif kind == "grpc" then
    return content_type ~= "application/grpc" and content_type ~= "application/grpc+proto" and "no gRPC"
  elseif kind == "triton" and (content_type:find("form", 1, true) or content_type:find("multipart", 1, true)) then
    -- Triton's HTTP server parses a form by itself, and dies of a large one.
    return "a form"
  end
end

-- A refusal, or nil. `raw`: names to a value or a table of values. `kind`: "grpc", "triton" (the default), "api" or
-- "issuer": forms are for the last two.
function headers.problem(raw, kind)
  local lists, reason = lists_from(raw)
  if not lists then
    return refusals.new("malformed", reason)
  end
  for _, name in ipairs(ONCE) do
    local values = lists[name]
    if values and #values ~= 1 then
      return refusals.new("malformed", "a header twice: " .. name)
    end
  end
  if disguise(lists) then
    return refusals.new("malformed", "a header in disguise")
  end
  reason = framing_problem(lists)
  if reason then
    return refusals.new("malformed", reason)
  end
  reason = type_problem(lists, kind or "triton")
  if reason then
    return refusals.new("unsupported_media_type", reason)
  end
end

-- How many bytes of JSON a REST request's body begins with: nil, nil when all of the body is JSON; nil and a refusal.
function headers.json_length(raw)
  local lists, reason = lists_from(raw)
  if not lists then
    return nil, refusals.new("malformed", reason)
  end
  local value = lists["inference-header-content-length"]
  if not value then
    return nil
  elseif #value ~= 1 or not value[1]:find("^%d+$") or #value[1] > 9 then
    return nil, refusals.new("malformed", "a length of JSON that is none")
  end
  local total = lists["content-length"]
  if total and tonumber(value[1]) > tonumber(total[1]) then
    return nil, refusals.new("malformed", "more JSON than body")
  end
  return tonumber(value[1])
end

-- The client's request id when it is one, else nil.
function headers.request_id(value)
  if type(value) == "string" and #value <= 64 and value:find("^[%w._%-]+$") then
    return value
  end
  return nil
end

return headers
