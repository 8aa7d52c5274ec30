-- Which addresses there are, and what each asks for; what is not here is not there.

local refusals = require("refusals")

local routes = {}

local READ, WRITE, BOTH = { GET = true }, { POST = true }, { GET = true, POST = true }

-- Triton's addresses without a model in them. "*": the answer tells of, or changes, all models.
local SERVER = {
  ["/v2"] = { READ, "describe" },
  ["/v2/health/live"] = { READ, "public" },
  ["/v2/health/ready"] = { READ, "public" },
  ["/v2/models/stats"] = { READ, "describe", "*" },
  ["/v2/repository/index"] = { WRITE, "administer", "*" },
  ["/v2/trace/setting"] = { BOTH, "administer", "*" },
  ["/v2/logging"] = { BOTH, "administer", "*" },
}

-- What follows /v2/models/MODEL[/versions/VERSION].
local MODEL = {
  [""] = { READ, "describe" },
  ["/ready"] = { READ, "describe" },
  ["/config"] = { READ, "describe" },
  ["/stats"] = { READ, "describe" },
  ["/infer"] = { WRITE, "infer" },
  ["/generate"] = { WRITE, "infer" },
  ["/generate_stream"] = { WRITE, "infer" },
  ["/trace/setting"] = { BOTH, "administer" },
}

-- `authorization`: whether the issuer reads that header. "token": it looks at the caller's token itself; "client": it refuses
-- a client that brings credentials of its own, and has no use for a token. All other services get none.
local ISSUER = {
  ["/auth/token"] = { WRITE, "public", authorization = "client" },
  ["/auth/revoke"] = { WRITE, "public", authorization = "client" },
  ["/auth/me"] = { READ, "public", authorization = "token" },
  ["/.well-known/jwks.json"] = { READ, "public" },
  ["/.well-known/openid-configuration"] = { READ, "public" },
}

-- "own": whoever is known, for what is its own; "submit": whoever may infer with any model. Which model is asked for stands
-- in the body, so the service decides by what the caller may do (`gets_rights`).
local API = {
  ["/"] = { READ, "public" },
  ["/openapi.json"] = { READ, "public" },
  ["/docs"] = { READ, "public" },
  ["/v1/models"] = { READ, "describe" },
  ["/v1/jobs"] = { BOTH, "own", POST = "submit", gets_rights = true },
  ["/v1/jobs/ended"] = { WRITE, "own", gets_rights = true },
}

-- What follows /v1/jobs/ID.
local JOB = {
  [""] = { READ, "own", gets_rights = true },
  ["/events"] = { READ, "own", gets_rights = true },
  ["/cancel"] = { WRITE, "own", gets_rights = true },
}
local HEX = "[0-9a-f]"
local ID = HEX:rep(8) .. ("%-" .. HEX:rep(4)):rep(3) .. "%-" .. HEX:rep(12)
local JOB_PATH = "^/v1/jobs/" .. ID .. "(.*)$"

function routes.is_model(name)
  return type(name) == "string"
    and #name >= 1
    and #name <= 128
    and not name:find("[^%w%._%-]")
    and name:find("[%w_%-]") ~= nil
end

-- Triton reads "01", "+1" and "1x" as 1: only one way of writing a version passes.
function routes.is_version(version)
  return type(version) == "string" and version:find("^[1-9]%d*$") ~= nil and #version <= 18
end

local function route(kind, row, method, model, version, action)
  if not row[1][method] then
    return nil, refusals.new("method_not_allowed", "another method")
  end
  return {
    kind = kind,
    verb = row[method] or row[2],
    model = model or row[3],
    version = version,
    action = action,
    authorization = row.authorization,
    gets_rights = row.gets_rights,
  }
end

local function model_route(method, rest)
  local name, tail = rest:match("^([^/]+)(.*)$")
  local version, after = (tail or ""):match("^/versions/([^/]*)(.*)$")
  local row = MODEL[version and after or tail]
  if not row or not routes.is_model(name) or (version and not routes.is_version(version)) then
    return nil, refusals.new("not_found", "no route")
  end
  return route("triton", row, method, name, version, (version and after or tail):sub(2))
end

local function repository_route(method, path)
  local name, action = path:match("^/v2/repository/models/([^/]+)/(%a+)$")
  if not routes.is_model(name) or not (action == "load" or action == "unload") then
    return nil, refusals.new("not_found", "no route")
  end
  return route("triton", { WRITE, "administer" }, method, name, nil, action)
end

-- The route of a REST request: {kind = "triton"|"api"|"issuer", verb, model, version, action, authorization, gets_rights};
-- nil and a refusal.
-- `raw_path` as the client sent it, query included. Nothing is decoded: an address has one way of writing it, and
-- Triton gets the very bytes that were judged here. `state` (or nil) knows the friendly API's addresses.
function routes.rest_route(method, raw_path, state)
  local path, query = raw_path:match("^([^?]*)%??(.*)$")
  if #raw_path > 2048 or path:find("[^%w%._/%-]") or path:find("//", 1, true) or query:find("[^\33-\126]") then
    return nil, refusals.new("not_found", "an unusual path")
  end
  local api_model = state and state.routes[path]
  if api_model then
    return route("api", { WRITE, "infer" }, method, api_model, nil, "")
  elseif ISSUER[path] then
    return route("issuer", ISSUER[path], method)
  elseif API[path] then
    return route("api", API[path], method)
  elseif path:sub(1, 9) == "/v1/jobs/" then
    local row = JOB[path:match(JOB_PATH)]
    if not row then
      return nil, refusals.new("not_found", "no route")
    end
    return route("api", row, method)
  elseif query ~= "" then
    return nil, refusals.new("not_found", "a query where none is taken")
  elseif SERVER[path] then
    return route("triton", SERVER[path], method, nil, nil, path:match("[^/]*$"))
  elseif path:sub(1, 11) == "/v2/models/" then
    return model_route(method, path:sub(12))
  end
  return repository_route(method, path)
end

-- Whether whoever answers the route gets the caller's Authorization header, which is `value`.
function routes.passes_authorization(route, value)
  if route.authorization == "client" then
    return value ~= nil and not value:find("^%s*[Bb][Ee][Aa][Rr][Ee][Rr]%f[^%w]")
  end
  return route.authorization == "token"
end

-- What each gRPC method asks for; the fields of its request that name the model; what stands for an empty name.
local SERVICE = "/inference.GRPCInferenceService/"
local INFER = { verb = "infer", names_model = true, name_field = 1, version_field = 2, message = "infer" }
local DESCRIBE = { verb = "describe", names_model = true, name_field = 1, version_field = 2 }
routes.GRPC = {
  [SERVICE .. "ServerLive"] = { verb = "public" },
  [SERVICE .. "ServerReady"] = { verb = "public" },
  ["/grpc.health.v1.Health/Check"] = { verb = "public" },
  [SERVICE .. "ServerMetadata"] = { verb = "describe" },
  [SERVICE .. "ModelReady"] = DESCRIBE,
  [SERVICE .. "ModelMetadata"] = DESCRIBE,
  [SERVICE .. "ModelConfig"] = DESCRIBE,
  [SERVICE .. "ModelStatistics"] = {
    verb = "describe", names_model = true, name_field = 1, version_field = 2, empty_means = "*",
  },
  [SERVICE .. "ModelInfer"] = INFER,
  [SERVICE .. "ModelStreamInfer"] = {
    verb = "infer", names_model = true, name_field = 1, version_field = 2, message = "infer", streams = true,
  },
  [SERVICE .. "RepositoryIndex"] = { verb = "administer", model = "*" },
  [SERVICE .. "RepositoryModelLoad"] = { verb = "administer", names_model = true, name_field = 2, message = "load" },
  [SERVICE .. "RepositoryModelUnload"] = { verb = "administer", names_model = true, name_field = 2, message = "load" },
  [SERVICE .. "TraceSetting"] = { verb = "administer", names_model = true, name_field = 2, empty_means = "*" },
  [SERVICE .. "LogSettings"] = { verb = "administer", model = "*" },
}
for _, row in pairs(routes.GRPC) do
  row.names_model, row.streams = row.names_model or false, row.streams or false
end

-- The route of a gRPC call: {verb, names_model, streams, model}; nil and a refusal.
function routes.grpc_route(path)
  local route = routes.GRPC[path]
  if not route then
    return nil, refusals.new("not_found", "no such method")
  end
  return route
end

return routes
