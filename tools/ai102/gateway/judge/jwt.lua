-- A token, checked without trust in a word of it until its signature holds (RFC 7515, 7519, 8725, 9068).

local digest = require("openssl.digest")
local pkey = require("openssl.pkey")
local strict_json = require("strict_json")

local jwt = {}

jwt.MAX_BYTES = 8192
jwt.LEEWAY_S = 5

local KEY_TYPES = { RS256 = "rsaEncryption", ES256 = "id-ecPublicKey" }
local TYPES = { ["at+jwt"] = true, ["jwt"] = true, ["application/at+jwt"] = true }
-- Headers that tell the reader where to find the key, or what else it must understand.
local REFUSED_HEADERS = { "jku", "x5u", "jwk", "x5c", "crit", "b64", "zip", "enc" }

local VALUES = {}
for place = 1, 64 do
  local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
  VALUES[letters:byte(place)] = place - 1
end

-- The bytes of unpadded base64url; nil when it is anything else, unused bits that are not zero included.
function jwt.bytes_from_base64url(text)
  local rest = #text % 4
  if rest == 1 or text:find("[^%w_%-]") then
    return nil
  end
  local parts, floor, char = {}, math.floor, string.char
  for at = 1, #text - rest, 4 do
    local a, b, c, d = text:byte(at, at + 3)
    local bits = VALUES[a] * 262144 + VALUES[b] * 4096 + VALUES[c] * 64 + VALUES[d]
    parts[#parts + 1] = char(floor(bits / 65536), floor(bits / 256) % 256, bits % 256)
  end
  if rest == 2 then
    local a, b = text:byte(-2, -1)
    if VALUES[b] % 16 ~= 0 then
      return nil
    end
    parts[#parts + 1] = char(VALUES[a] * 4 + floor(VALUES[b] / 16))
  elseif rest == 3 then
    local a, b, c = text:byte(-3, -1)
    if VALUES[c] % 4 ~= 0 then
      return nil
    end
    local bits = VALUES[a] * 1024 + VALUES[b] * 16 + floor(VALUES[c] / 4)
    parts[#parts + 1] = char(floor(bits / 256), bits % 256)
  end
  return table.concat(parts)
end

-- The key to verify with; nil and a reason when the PEM holds no public key of the algorithm's kind.
function jwt.key_from_pem(alg, pem)
  -- Never hand OpenSSL a private key here: an encrypted one would make it ask for a password.
  if not KEY_TYPES[alg] or type(pem) ~= "string" or not pem:find("^%-%-%-%-%-BEGIN PUBLIC KEY%-%-%-%-%-\n") then
    return nil, "no public key in PEM, or an algorithm that is not taken"
  end
  local ok, key = pcall(pkey.new, pem)
  if not ok or key:type() ~= KEY_TYPES[alg] then
    return nil, "no public key of the kind that " .. alg .. " needs"
  end
  return key
end

local function der_integer(bytes)
  bytes = bytes:gsub("^%z+", "")
  if bytes == "" or bytes:byte(1) >= 128 then
    bytes = "\0" .. bytes
  end
  return "\2" .. string.char(#bytes) .. bytes
end

local function signature_holds(alg, key, signature, signed)
  if alg == "ES256" then
    if #signature ~= 64 then
      return false
    end
    local numbers = der_integer(signature:sub(1, 32)) .. der_integer(signature:sub(33))
    signature = "\48" .. string.char(#numbers) .. numbers
  end
  -- OpenSSL raises for a signature that is not even of the right form.
  local ok, holds = pcall(key.verify, key, signature, digest.new("sha256"):update(signed))
  return ok and holds == true
end

local function object_from(part)
  local bytes = jwt.bytes_from_base64url(part)
  if not bytes then
    return nil, "a part that is not base64url"
  end
  local object, reason = strict_json.decode(bytes, { max_depth = 16 })
  if not object then
    return nil, reason
  elseif not strict_json.is_object(object) then
    return nil, "a part that is not an object"
  end
  return object
end

local function is_string(value, max_bytes)
  return type(value) == "string" and #value >= 1 and #value <= max_bytes and not value:find("[^\33-\126]")
end

local function names_audience(aud, ours)
  if aud == ours then
    return true
  end
  if strict_json.is_array(aud) then
    for _, one in ipairs(aud) do
      if one == ours then
        return true
      end
    end
  end
  return false
end

local function time_problem(claims, now_s)
  if type(claims.exp) ~= "number" or not (claims.exp > now_s) then
    return "expired, or without exp"
  end
  for _, name in ipairs({ "nbf", "iat" }) do
    local value = claims[name]
    if value ~= nil and (type(value) ~= "number" or not (value <= now_s + jwt.LEEWAY_S)) then
      return name .. " lies in the future, or is no number"
    end
  end
end

local function claims_problem(claims, issuer, now_s)
  if not names_audience(claims.aud, issuer.audience) then
    return "for another audience"
  elseif not is_string(claims.sub, 255) or claims.sub:find('["\\]') then
    return "without a sub that can be used"
  end
  for _, name in ipairs({ "jti", "sid" }) do
    if claims[name] ~= nil and not is_string(claims[name], 255) then
      return name .. " that cannot be used"
    end
  end
  -- What its own issuer cannot name it cannot revoke.
  if issuer.is_ours and not claims.jti then
    return "without a jti"
  end
  return time_problem(claims, now_s) or issuer.revoked:reason(claims)
end

local function header_problem(header)
  if type(header.alg) ~= "string" or not KEY_TYPES[header.alg] then
    return "an algorithm that is not taken"
  elseif type(header.kid) ~= "string" then
    return "no kid"
  elseif type(header.typ) ~= "string" or not TYPES[header.typ:lower()] then
    return "another type of token"
  end
  for _, name in ipairs(REFUSED_HEADERS) do
    if header[name] ~= nil then
      return "a header that brings its own key or rules"
    end
  end
end

-- The claims of `token` and its issuer's table of `state`; nil and a reason when one thing about it is wrong, and the
-- name of the refusal where that is not "unauthenticated".
function jwt.claims_from(token, state, now_s)
  if #token > jwt.MAX_BYTES then
    return nil, "longer than a token may be"
  end
  local head, body, signature = token:match("^([%w_%-]+)%.([%w_%-]+)%.([%w_%-]+)$")
  if not head then
    return nil, "not three parts"
  end
  local header, claims, reason
  header, reason = object_from(head)
  if not header then
    return nil, reason
  end
  reason = header_problem(header)
  if reason then
    return nil, reason
  end
  claims, reason = object_from(body)
  if not claims then
    return nil, reason
  end
  local issuer = type(claims.iss) == "string" and state.issuers[claims.iss]
  if not issuer then
    return nil, "an unknown issuer"
  end
  if next(issuer.keys) == nil then
    return nil, "no keys of the issuer are known yet", "unavailable"
  elseif issuer.journal and not issuer.revoked.is_complete then
    return nil, "not all that the issuer has revoked is known yet", "unavailable"
  end
  local key = issuer.keys[header.kid]
  if not key or key.alg ~= header.alg then
    return nil, "no such key, or not for this algorithm"
  end
  local bytes = jwt.bytes_from_base64url(signature)
  if not bytes or not signature_holds(key.alg, key.key, bytes, head .. "." .. body) then
    return nil, "the signature does not hold"
  end
  reason = claims_problem(claims, issuer, now_s)
  if reason then
    return nil, reason
  end
  return claims, issuer
end

return jwt
