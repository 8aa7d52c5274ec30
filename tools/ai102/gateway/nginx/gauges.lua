-- Counts that go up and down, shared by all workers in a dictionary, such as the requests now at each replica.

local ffi = require("ffi")

ffi.cdef("int kill(int pid, int sig);")

local gauges = {}

-- now:NAME is the count; share:PID:NAME is what each worker added to it.
function gauges.add(shared, name, change)
  shared:incr("now:" .. name, change, 0)
  shared:incr("share:" .. ngx.worker.pid() .. ":" .. name, change, 0)
end

function gauges.value(shared, name)
  return shared:get("now:" .. name) or 0
end

-- By name; those that are 0 are left out.
function gauges.values(shared)
  local values = {}
  for _, key in ipairs(shared:get_keys(0)) do
    local name = key:match("^now:(.+)$")
    local value = name and shared:get(key) or 0
    if value > 0 then
      values[name] = value
    end
  end
  return values
end

local function is_alive(pid)
  return ffi.C.kill(pid, 0) == 0
end

-- A worker that died took nothing back of what it had added.
function gauges.forget_dead_workers(shared)
  for _, key in ipairs(shared:get_keys(0)) do
    local pid, name = key:match("^share:(%d+):(.+)$")
    if pid and not is_alive(tonumber(pid)) then
      local share = shared:get(key) or 0
      shared:delete(key)
      shared:incr("now:" .. name, -share, 0)
    end
  end
end

return gauges
