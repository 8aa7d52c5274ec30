-- Lets the tests call the judge: one JSON object {n, "1": name, "2": argument, ...} a line in, one JSON answer a line out.
-- Bytes travel as {"hex": "..."}.

package.path = arg[1] .. "/?.lua;" .. package.path
local cjson = require("cjson")
local judge = require("judge")
local rights = require("rights")
local protobuf = require("protobuf")
local addresses = require("addresses")

local state
local calls = {}

function calls.load(text)
  local reason
  state, reason = judge.state_from_json(text)
  return { ok = state ~= nil, reason = reason }
end

-- Reads one step of the journals of revocations.
function calls.read_revocations(folder, most_bytes)
  return { all = judge.read_revocations(state, folder, most_bytes or judge.JOURNAL_BYTES) }
end

-- Reads all of them in steps as a proxy does: how many, and the milliseconds of processor time of the longest.
function calls.time_of_steps(folder)
  local steps, longest, is_all = 0, 0, false
  while not is_all do
    local began = os.clock()
    is_all = judge.read_revocations(state, folder, judge.JOURNAL_BYTES)
    steps, longest = steps + 1, math.max(longest, (os.clock() - began) * 1000)
  end
  return { steps = steps, longest_ms = longest }
end

-- Once round all tables; the milliseconds of the longest step.
function calls.time_of_sweep(now_s)
  local longest = 0
  for _ = 1, 256 do
    local began = os.clock()
    judge.sweep_revocations(state, now_s)
    longest = math.max(longest, (os.clock() - began) * 1000)
  end
  return { longest_ms = longest }
end

-- How many of these ids of sessions are revoked for the issuer, and the microseconds one look takes.
function calls.count_revoked(issuer, sids)
  local revoked, count, began = state.issuers[issuer].revoked, 0, os.clock()
  for _, sid in ipairs(sids) do
    count = count + (revoked:reason({ sid = sid, sub = "nobody", iat = 0 }) and 1 or 0)
  end
  return { count = count, each_us = (os.clock() - began) * 1e6 / #sids }
end

function calls.authenticate(authorization, now_s)
  return judge.authenticate(state, authorization, now_s)
end

function calls.rest_route(method, path, ...)
  return judge.rest_route(method, path, state, ...)
end

function calls.decide(grants, request)
  local allowed, second = judge.decide({ grants = rights.grants_from(grants) }, request)
  if allowed then
    return { allowed = true, largest = second }
  end
  return nil, second
end

function calls.may_infer(grants, address, now_s)
  return judge.may_infer({ grants = rights.grants_from(grants) }, address, now_s)
end

-- What the first message names, from the first bytes of a request's body.
function calls.model_named(bytes, method)
  local scanner = judge.scanner(method)
  scanner:feed(bytes)
  local name, second = scanner:named()
  if name then
    return { name = name, version = second }
  end
  return nil, second
end

function calls.scan(method, name, version, chunks, limits)
  local scanner = judge.scanner(method, name, version, limits or {})
  for _, chunk in ipairs(chunks) do
    local refusal = scanner:feed(chunk)
    if refusal then
      return nil, refusal
    end
  end
  return nil, scanner:finish()
end

function calls.scan_in_steps(method, name, bytes, step)
  local scanner = judge.scanner(method, name, "", {})
  for at = 1, #bytes, step do
    local refusal = scanner:feed(bytes:sub(at, at + step - 1))
    if refusal then
      return nil, refusal
    end
  end
  return nil, scanner:finish()
end

function calls.json_problem(text, limits, action)
  return nil, judge.json_problem(text, limits, action)
end

function calls.header_problem(headers, kind, max_bytes)
  return nil, (judge.header_problem(headers, kind, max_bytes))
end

-- The traceparent that a request has: empty where it has two.
function calls.traceparent_in(headers)
  local _, once = judge.header_problem(headers)
  return once.traceparent
end

function calls.json_length(headers)
  local refusal, once = judge.header_problem(headers)
  if refusal then
    return nil, refusal
  end
  return judge.json_length(once)
end

-- As the glue does: the model read from the first chunk, the limits told then, what need not be read skipped.
function calls.scan_named(method, chunks, limits)
  local scanner = judge.scanner(method)
  local refusal = scanner:feed(table.remove(chunks, 1))
  local name, version = scanner:named()
  if not name then
    return nil, version
  end
  refusal = refusal or scanner:judge(limits or {})
  for _, chunk in ipairs(chunks) do
    local count = math.min(scanner:skippable(), #chunk)
    refusal = refusal or scanner:skip(count)
    if count < #chunk then
      refusal = refusal or scanner:feed(chunk:sub(count + 1))
    end
  end
  refusal = refusal or scanner:finish()
  if refusal then
    return nil, refusal
  end
  return { name = name, version = version }
end

function calls.within(address, network)
  local bytes, parsed = addresses.bytes_from(address), addresses.network_from(network)
  return { known = bytes ~= nil, within = bytes ~= nil and parsed ~= nil and addresses.within(bytes, parsed) }
end

function calls.fields()
  local rows = {}
  for method, row in pairs(require("routes").GRPC) do
    rows[method] = { name = row.name_field, version = row.version_field, streams = row.streams }
  end
  return rows
end

function calls.max_fields()
  return { count = protobuf.MAX_FIELDS }
end

-- The CPU time that another of these calls takes: the least of three, since a busy machine adds to it; one is enough where
-- it is within `most_ms`.
function calls.cost(most_ms, name, ...)
  local call, least_ms = calls[name] or judge[name], math.huge
  for _ = 1, 3 do
    local began = os.clock()
    call(...)
    least_ms = math.min(least_ms, (os.clock() - began) * 1000)
    if least_ms <= most_ms then
      break
    end
  end
  return { ms = least_ms }
end

local function plain(value)
  if value == cjson.null then
    return nil
  elseif type(value) ~= "table" then
    return value
  elseif value.hex then
    return (value.hex:gsub("%x%x", function(pair)
      return string.char(tonumber(pair, 16))
    end))
  end
  local copy = {}
  for key, one in pairs(value) do
    copy[key] = plain(one)
  end
  return copy
end

for line in io.lines() do
  local request = cjson.decode(line)
  local name, arguments = request["1"], {}
  request.n = math.floor(request.n)
  for place = 2, request.n do
    arguments[place - 1] = plain(request[tostring(place)])
  end
  local call = calls[name] or judge[name]
  local unpack = table.unpack or unpack
  local value, refusal = call(unpack(arguments, 1, request.n - 1))
  if type(value) == "table" and value.grants then
    value = { sub = value.sub, jti = value.jti, sid = value.sid, grants = #value.grants }
  end
  io.write(cjson.encode({ value = value, refusal = refusal }), "\n")
  io.flush()
end
