-- nginx's counters in Prometheus' text format: requests, how long they took, and the replicas.

local balance = require("balance")

local metrics = {}

local BOUNDS_S = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
local shared = ngx.shared.gateway_metrics

-- Only a model that answered once is named: else anybody could make as many time series as they like.
local known = {}

-- One request. `status` is gRPC's for protocol "grpc", HTTP's for "rest".
function metrics.count(protocol, model, status, is_ok, seconds)
  if model ~= "" and is_ok then
    known[model] = true
  end
  local labels = protocol .. " " .. (known[model] and model or "-")
  shared:incr("n " .. labels .. " " .. status, 1, 0)
  shared:incr("s " .. labels, seconds, 0)
  for place, bound in ipairs(BOUNDS_S) do
    if seconds <= bound then
      return shared:incr("b " .. labels .. " " .. place, 1, 0)
    end
  end
  return shared:incr("b " .. labels .. " " .. #BOUNDS_S + 1, 1, 0)
end

local function sorted_keys()
  local keys = shared:get_keys(0)
  table.sort(keys)
  return keys
end

local function labels_of(protocol, model)
  return ('protocol="%s",model="%s"'):format(protocol, model == "-" and "" or model)
end

local function add_requests(lines, keys)
  lines[#lines + 1] = "# TYPE ai102_gateway_requests_total counter"
  for _, key in ipairs(keys) do
    local protocol, model, status = key:match("^n (%S+) (%S+) (%S+)$")
    if protocol then
      local labels = labels_of(protocol, model)
      lines[#lines + 1] = ('ai102_gateway_requests_total{%s,status="%s"} %d'):format(labels, status, shared:get(key) or 0)
    end
  end
end

local function add_durations(lines, keys)
  lines[#lines + 1] = "# TYPE ai102_gateway_duration_seconds histogram"
  for _, key in ipairs(keys) do
    local protocol, model = key:match("^s (%S+) (%S+)$")
    if protocol then
      local labels, sum, total = labels_of(protocol, model), shared:get(key) or 0, 0
      for place = 1, #BOUNDS_S + 1 do
        total = total + (shared:get(("b %s %s %d"):format(protocol, model, place)) or 0)
        local bound = BOUNDS_S[place] or "+Inf"
        lines[#lines + 1] = ('ai102_gateway_duration_seconds_bucket{%s,le="%s"} %d'):format(labels, bound, total)
      end
      lines[#lines + 1] = ("ai102_gateway_duration_seconds_sum{%s} %.6f"):format(labels, sum)
      lines[#lines + 1] = ("ai102_gateway_duration_seconds_count{%s} %d"):format(labels, total)
    end
  end
end

local function add_replicas(lines)
  for metric, field in pairs({ up = "is_up", drained = "is_drained", busy = "busy" }) do
    lines[#lines + 1] = ("# TYPE ai102_gateway_replica_%s gauge"):format(metric)
    for _, state in ipairs(balance.states()) do
      local value = state[field]
      if type(value) == "boolean" then
        value = value and 1 or 0
      end
      lines[#lines + 1] = ('ai102_gateway_replica_%s{replica="%s"} %d'):format(metric, state.name, value)
    end
  end
end

-- The answer to GET /metrics.
function metrics.answer()
  local lines, keys = {}, sorted_keys()
  add_requests(lines, keys)
  add_durations(lines, keys)
  add_replicas(lines)
  lines[#lines + 1] = "# TYPE ai102_gateway_connections gauge"
  lines[#lines + 1] = ("ai102_gateway_connections %d"):format(ngx.var.connections_active)
  ngx.header.content_type = "text/plain; version=0.0.4"
  ngx.say(table.concat(lines, "\n"))
end

return metrics
