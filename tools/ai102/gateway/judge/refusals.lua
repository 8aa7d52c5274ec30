-- Every refusal of the gateway: the status in both protocols, the one sentence the caller sees, and after how many seconds
-- it is worth asking again, where it is.

local sentences = {
  unauthenticated = { 401, 16, "A valid token is needed." },
  forbidden = { 403, 7, "This is not allowed." },
  not_found = { 404, 12, "There is no such address." },
  method_not_allowed = { 405, 12, "This address does not take that method." },
  too_large = { 413, 8, "The request is larger than allowed." },
  unsupported_media_type = { 415, 3, "This content type or encoding is not taken." },
  malformed = { 400, 3, "The request is malformed." },
  rate_limited = { 429, 8, "Too many requests; try again later.", 1 },
  unavailable = { 503, 14, "The service is not available; try again later.", 1 },
  header_too_large = { 431, 8, "The headers are larger than allowed." },
}

local refusals = { all = {} }

-- The refusal called `name`; `reason` is for the log, never for the caller.
function refusals.new(name, reason)
  local row = sentences[name]
  return {
    name = name,
    rest_status = row[1],
    grpc_status = row[2],
    message = row[3],
    retry_after_s = row[4],
    reason = reason or name,
  }
end

for name in pairs(sentences) do
  refusals.all[name] = refusals.new(name)
end

return refusals
