-- nginx's balancer: which replica answers, which are healthy (asked every half second), and which are drained.

local balancer = require("ngx.balancer")
local cjson = require("cjson.safe")
local gauges = require("gauges")

local balance = {}

local CHECK_EVERY_S = 0.5
local CHECK_TIMEOUT_MS = 2000
-- What all workers share: down:NAME, drained:NAME, and the gauge of the requests now at each replica.
local shared = ngx.shared.gateway_replicas
-- The gauge of the inferences under way with each model.
local in_flight = ngx.shared.gateway_in_flight
local replicas, policy, is_checked = {}, "leastconn", true
local owed = {} -- smooth weighted round robin: how much each replica is behind its share, in this worker

-- `settings.replicas`: name, weight, and for http and grpc host and port each. A mesh's Service is not checked: which of its
-- pods are healthy is known to the mesh.
function balance.load(settings)
  replicas, policy, is_checked = settings.replicas, settings.balance, settings.is_checked
end

-- Of `among`, in turn and by weight.
local function next_in_turn(among)
  local total, best = 0, nil
  for _, replica in ipairs(among) do
    total = total + replica.weight
    owed[replica.name] = (owed[replica.name] or 0) + replica.weight
    if not best or owed[replica.name] > owed[best.name] then
      best = replica
    end
  end
  owed[best.name] = owed[best.name] - total
  return best
end

local function least_busy(among)
  local least, candidates = math.huge, {}
  for _, replica in ipairs(among) do
    local load = gauges.value(shared, replica.name) / replica.weight
    if load < least then
      least, candidates = load, {}
    end
    if load == least then
      candidates[#candidates + 1] = replica
    end
  end
  return next_in_turn(candidates)
end

-- The same replica for the same address as long as it is there (rendezvous hashing).
local function of_source(among)
  local address, highest, best = ngx.var.remote_addr, "", nil
  for _, replica in ipairs(among) do
    local score = ngx.md5_bin(replica.name .. " " .. address)
    if score > highest then
      highest, best = score, replica
    end
  end
  return best
end

local CHOICES = { roundrobin = next_in_turn, leastconn = least_busy, source = of_source }

-- The replicas to choose from, never a drained one: the healthy; if there is none such, those that are down, since one
-- failure marks a replica until it is asked; those tried before come last.
local function candidates(tried)
  local healthy, down, before = {}, {}, {}
  for _, replica in ipairs(replicas) do
    local name = replica.name
    if not shared:get("drained:" .. name) then
      local list = tried[name] and before or shared:get("down:" .. name) and down or healthy
      list[#list + 1] = replica
    end
  end
  return #healthy > 0 and healthy or #down > 0 and down or before
end


local function forget_dead_workers(premature)
  if premature then
    return
  end
  gauges.forget_dead_workers(shared)
  gauges.forget_dead_workers(in_flight)
end

-- nginx calls this for a request and again when it may be tried elsewhere.
function balance.choose(protocol)
  local variables, context = ngx.var, ngx.ctx
  local tried = context.tried or {}
  local before = variables.gateway_replica
  if before ~= "" then
    gauges.add(shared, before, -1)
    variables.gateway_replica = ""
    tried[before] = true
    if is_checked and balancer.get_last_failure() == "failed" then
      shared:set("down:" .. before, true)
    end
  elseif variables.gateway_verb ~= "administer" then
    balancer.set_more_tries(#replicas)
  end
  context.tried = tried
  local among = candidates(tried)
  if #among == 0 then
    return ngx.exit(ngx.HTTP_SERVICE_UNAVAILABLE)
  end
  local replica = CHOICES[policy](among)
  local ok, err = balancer.set_current_peer(replica[protocol].host, replica[protocol].port)
  if not ok then
    ngx.log(ngx.ERR, "replica ", replica.name, ": ", err)
    return ngx.exit(ngx.HTTP_SERVICE_UNAVAILABLE)
  end
  gauges.add(shared, replica.name, 1)
  variables.gateway_replica = replica.name
end

-- An inference was let through; it counts as under way until `done`.
function balance.begin(variables)
  local model = variables.gateway_model ~= "" and variables.gateway_model or "-"
  variables.gateway_in_flight = model
  gauges.add(in_flight, model, 1)
end

-- After the answer.
function balance.done()
  local name, model = ngx.var.gateway_replica, ngx.var.gateway_in_flight
  if name and name ~= "" then
    gauges.add(shared, name, -1)
  end
  if model and model ~= "" then
    gauges.add(in_flight, model, -1)
  end
end

-- true, or nil and whether the replica surely cannot answer (an answer that is only late may be a busy machine's).
local function asked(replica)
  local socket = ngx.socket.tcp()
  socket:settimeout(CHECK_TIMEOUT_MS)
  local ok, err = socket:connect(replica.http.host, replica.http.port)
  if not ok then
    return nil, err ~= "timeout"
  end
  -- Closed each time: a tritonserver waits for open connections when it stops.
  socket:send("GET /v2/health/ready HTTP/1.1\r\nHost: triton\r\nConnection: close\r\n\r\n")
  local line
  line, err = socket:receive("*l")
  socket:close()
  if line then
    return line:find("^HTTP/1%.1 200") and true or nil, true
  end
  return nil, err ~= "timeout"
end

local function check(premature, replica)
  if premature or replica.is_asked then
    return
  end
  replica.is_asked = true
  local is_ready, is_sure = asked(replica)
  replica.is_asked = false
  replica.late = not is_ready and (replica.late or 0) + 1 or 0
  local was_down = shared:get("down:" .. replica.name) or false
  local is_down = not is_ready and (is_sure or replica.late >= 2 or was_down)
  if is_down ~= was_down then
    shared:set("down:" .. replica.name, is_down)
    ngx.log(ngx.ERR, "replica ", replica.name, is_down and " does not answer" or " is ready")
  end
end

-- In each worker; one of them asks the replicas and looks after the others.
function balance.start()
  if ngx.worker.id() ~= 0 then
    return
  end
  ngx.timer.every(CHECK_EVERY_S, forget_dead_workers)
  if not is_checked then
    return
  end
  for _, replica in ipairs(replicas) do
    ngx.timer.at(0, check, replica)
    ngx.timer.every(CHECK_EVERY_S, check, replica)
  end
end

-- A list with name, is_up, is_drained and busy of each replica.
function balance.states()
  local states = {}
  for place, replica in ipairs(replicas) do
    local name = replica.name
    states[place] = {
      name = name,
      is_up = not shared:get("down:" .. name),
      is_drained = shared:get("drained:" .. name) or false,
      busy = gauges.value(shared, name),
    }
  end
  return states
end

-- Over the private socket: GET / tells the states, GET /in_flight the inferences under way by model, POST /drain/NAME and
-- /undrain/NAME change a state.
function balance.command()
  ngx.header.content_type = "application/json"
  if ngx.var.uri == "/in_flight" then
    return ngx.print(cjson.encode(gauges.values(in_flight)))
  end
  local action, name = ngx.var.uri:match("^/(u?n?drain)/([%w_-]+)$")
  if ngx.req.get_method() == "POST" and (action == "drain" or action == "undrain") then
    for _, replica in ipairs(replicas) do
      if replica.name == name then
        shared:set("drained:" .. name, action == "drain")
      end
    end
  end
  ngx.print(cjson.encode(balance.states()))
end

return balance
