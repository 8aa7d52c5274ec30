-- What nginx says of itself, in Prometheus' text format. Requests are counted by the exporter, from the access log.

local metrics = {}

local STATES = { "active", "reading", "writing", "waiting" }

-- The answer to GET /metrics.
function metrics.answer()
  local lines = { "# TYPE nginx_connections gauge" }
  for _, state in ipairs(STATES) do
    lines[#lines + 1] = ('nginx_connections{state="%s"} %d'):format(state, ngx.var["connections_" .. state])
  end
  ngx.header.content_type = "text/plain; version=0.0.4"
  ngx.say(table.concat(lines, "\n"))
end

return metrics
