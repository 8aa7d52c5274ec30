-- nginx's side of traces: the ids of a request, whether it is sampled, and what goes on with it.

local judge = require("judge")

local traces = {}

local settings

-- `loaded`: settings.json.
function traces.load(loaded)
  settings = loaded
end

-- The ids of a request: its trace's, which is the caller's where `traceparent` names one, and the gateway's span's in it.
function traces.begin(variables, traceparent)
  if not settings.is_traced then
    return
  end
  local drawn = variables.request_id -- 16 bytes by chance, in hexadecimal
  local context = traceparent and judge.trace_context(traceparent) or {}
  variables.gateway_trace_id = context.trace_id or drawn
  variables.gateway_parent_id = context.span_id or ""
  variables.gateway_span_id = ngx.md5(drawn):sub(1, 16)
  ngx.ctx.asks_for_trace = context.is_sampled
end

-- For an inference or a job that may go on: whether it is sampled. Triton traces every request that has a traceparent, so only a
-- sampled one gets it. `rate_of(name)`: how many there were of that name in the last ten seconds, this one included.
function traces.sample(variables, rate_of)
  local verb = variables.gateway_verb
  if not settings.is_traced or verb ~= "infer" and verb ~= "submit" then
    return
  end
  local is_drawn = tonumber(variables.request_id:sub(1, 8), 16) % 1000000 < settings.sampled_per_million
  -- No subject has a space in it.
  local asked = ngx.ctx.asks_for_trace and rate_of("traces " .. variables.gateway_subject)
  if is_drawn or asked and asked <= settings.asked_per_10s then
    variables.gateway_sampled = "true"
    variables.gateway_traceparent = ("00-%s-%s-01"):format(variables.gateway_trace_id, variables.gateway_span_id)
  end
end

-- When a request began and ended, in microseconds; nginx's clock tells milliseconds, so the end is rounded up.
function traces.finish(variables)
  if settings.is_traced then
    variables.gateway_began_us = ("%.0f"):format(ngx.req.start_time() * 1e6)
    variables.gateway_ended_us = ("%.0f"):format(ngx.now() * 1e6 + 1000)
  end
end

return traces
