-- What an issuer has revoked, read from its journal (gateway/revocations.py) in steps so small that no request waits for
-- one, kept in many small tables so that none of them ever takes long to grow.

local revocations = {}

local KINDS = { jti = true, sid = true, sub = true }
-- Two bytes of a value choose its table.
local TABLES = 256

local Revoked = {}
Revoked.__index = Revoked

local function empty()
  local shards = {}
  for place = 0, TABLES - 1 do
    shards[place] = {}
  end
  return shards
end

function revocations.new()
  return setmetatable({
    jti = empty(), sid = empty(), sub = empty(), path = nil, at = 0, is_complete = false, swept = 0,
  }, Revoked)
end

local function shard_of(shards, value)
  local last, before = value:byte(-1), value:byte(-2) or 0
  return shards[last % 16 * 16 + before % 16]
end

-- One of a session or token that is revoked stands for true; of a subject, {first second that is good, end}.
function Revoked:add(kind, value, ends_s, not_before_s)
  local shard = shard_of(self[kind], value)
  if kind ~= "sub" then
    shard[value] = math.max(ends_s, shard[value] or 0)
    return
  end
  local known = shard[value]
  shard[value] = { math.max(not_before_s, known and known[1] or 0), math.max(ends_s, known and known[2] or 0) }
end

-- Reads on in the journal at `path`, at most `most_bytes`; true when there is no more now. A journal under another name
-- is read from its beginning: it holds all that stands, and what was known before stays.
function Revoked:read(path, most_bytes)
  if path ~= self.path then
    self.path, self.at = path, 0
  end
  local file = io.open(path, "rb")
  if not file then
    return true
  end
  file:seek("set", self.at)
  local text = file:read(most_bytes) or ""
  file:close()
  local is_all = #text < most_bytes
  -- What follows the last line break is read again when the line is whole.
  local whole = #(text:match("^.*\n") or "")
  if whole == 0 and not is_all then
    whole = #text -- no line is so long
  end
  for kind, ends_s, not_before_s, value in text:sub(1, whole):gmatch("(%l+) (%d+) (%d+) ([\33-\126]+)\n") do
    if KINDS[kind] and #value <= 255 then
      self:add(kind, value, tonumber(ends_s), tonumber(not_before_s))
    end
  end
  self.at = self.at + whole
  self.is_complete = self.is_complete or is_all
  return is_all
end

-- Forgets what is over in one of the tables; the next call looks into the next.
function Revoked:sweep(now_s)
  self.swept = (self.swept + 1) % TABLES
  for _, kind in ipairs({ "jti", "sid" }) do
    local shard = self[kind][self.swept]
    for value, ends_s in pairs(shard) do
      if ends_s <= now_s then
        shard[value] = nil
      end
    end
  end
  local subjects = self.sub[self.swept]
  for value, times in pairs(subjects) do
    if times[2] <= now_s then
      subjects[value] = nil
    end
  end
end

-- Why who has these claims (jti, sid, sub, iat) is refused, or nil.
function Revoked:reason(claims)
  local jti, sid = claims.jti, claims.sid
  if jti and shard_of(self.jti, jti)[jti] or sid and shard_of(self.sid, sid)[sid] then
    return "revoked"
  end
  local times = shard_of(self.sub, claims.sub)[claims.sub]
  if times and not (type(claims.iat) == "number" and claims.iat >= times[1]) then
    return "revoked with all of the subject's"
  end
end

return revocations
