-- What a caller may do: grants, and whether one of them covers a request.

local addresses = require("addresses")
local globs = require("globs")
local refusals = require("refusals")

local rights = {}

local VERBS = { infer = true, describe = true, administer = true }
-- The header with a caller's rights, and what one of its words may be: a larger number bounds nothing.
local MAX_WORDS_BYTES, MAX_PATTERN_BYTES, LARGEST = 4096, 128, 999999999999999

local function set_of(words)
  local set = {}
  for _, word in ipairs(words) do
    set[word] = true
  end
  return set
end

local function minutes_from(hours)
  local from_h, from_m, to_h, to_m = hours:match("^(%d%d):(%d%d)%-(%d%d):(%d%d)$")
  if not from_h then
    return nil
  end
  return { tonumber(from_h) * 60 + tonumber(from_m), tonumber(to_h) * 60 + tonumber(to_m) }
end

local function is_list_of_strings(value)
  if type(value) ~= "table" then
    return false
  end
  for _, word in ipairs(value) do
    if type(word) ~= "string" then
      return false
    end
  end
  return true
end

local function is_map_of_strings(value)
  if type(value) ~= "table" then
    return false
  end
  for name, word in pairs(value) do
    if type(name) ~= "string" or type(word) ~= "string" then
      return false
    end
  end
  return true
end

-- What x-user-may-infer says of a grant: PATTERN or PATTERN=BYTES for each of its models; nil for one that it cannot say.
local function words_from(models, max_body_bytes)
  local words, bound = {}, ""
  if max_body_bytes then
    bound = ("=%.0f"):format(math.max(0, math.min(math.floor(max_body_bytes), LARGEST)))
  end
  for place, glob in ipairs(models) do
    if glob == "" or #glob > MAX_PATTERN_BYTES or glob:find("[^%w_.*%-]") then
      return nil
    end
    words[place] = glob .. bound
  end
  return words[1] and table.concat(words, ",")
end

-- A grant as the gateway checks it; nil when it is not one that it understands in full: such a grant gives nothing.
function rights.grant_from(raw)
  if type(raw) ~= "table" or not is_list_of_strings(raw.verbs) or not is_list_of_strings(raw.models) then
    return nil
  end
  local grant = { verbs = set_of(raw.verbs), models = {} }
  for verb in pairs(grant.verbs) do
    if not VERBS[verb] then
      return nil
    end
  end
  for place, glob in ipairs(raw.models) do
    grant.models[place] = globs.parsed(glob)
  end
  for key, value in pairs(raw) do
    if key == "versions" and is_list_of_strings(value) then
      grant.versions = value[1] and set_of(value) or nil
    elseif key == "networks" and is_list_of_strings(value) then
      grant.networks = value[1] and {} or nil
      for place, network in ipairs(value) do
        grant.networks[place] = addresses.network_from(network)
        if not grant.networks[place] then
          return nil
        end
      end
    elseif key == "hours_utc" and type(value) == "string" then
      grant.minutes = value ~= "" and minutes_from(value) or nil
      if value ~= "" and not grant.minutes then
        return nil
      end
    elseif key == "max_body_bytes" and type(value) == "number" then
      grant.max_body_bytes = value
    elseif key == "user" and is_map_of_strings(value) then
      grant.user = value
    elseif key ~= "verbs" and key ~= "models" then
      return nil
    end
  end
  grant.words = words_from(raw.models, grant.max_body_bytes)
  return grant
end

function rights.grants_from(list)
  local grants = {}
  for _, raw in ipairs(type(list) == "table" and list or {}) do
    grants[#grants + 1] = rights.grant_from(raw)
  end
  return grants
end

-- Whether a user with these attributes may have the grant.
function rights.suits(grant, attributes)
  for name, value in pairs(grant.user or {}) do
    if attributes[name] ~= value then
      return false
    end
  end
  return true
end

local function covers_model(grant, model)
  -- No model in question, as for the server's own metadata: any grant of the verb will do.
  if model == nil then
    return true
  end
  for _, glob in ipairs(grant.models) do
    if globs.matches(glob, model) then
      return true
    end
  end
  return false
end

local function is_within_hours(grant, now_s)
  if not grant.minutes then
    return true
  end
  local minute = math.floor(now_s / 60) % 1440
  local from, to = grant.minutes[1], grant.minutes[2]
  if from <= to then
    return minute >= from and minute < to
  end
  return minute >= from or minute < to
end

local function is_within_networks(grant, address)
  if not grant.networks then
    return true
  end
  local bytes = addresses.bytes_from(address)
  for _, network in ipairs(bytes and grant.networks or {}) do
    if addresses.within(bytes, network) then
      return true
    end
  end
  return false
end

local function holds_now(grant, address, now_s)
  return is_within_hours(grant, now_s) and is_within_networks(grant, address)
end

-- What `identity` may infer with from `address` now, for a service that decides by itself: PATTERN or PATTERN=BYTES, with
-- commas between, of its grants in their order; "" for nothing. A grant for some versions is left out, since no version is
-- named there; so is the first that does not fit into MAX_WORDS_BYTES, and all after it.
function rights.may_infer(identity, address, now_s)
  local words, size, is_there = {}, -1, {}
  for _, grant in ipairs(identity.grants) do
    local word = grant.verbs.infer and not grant.versions and grant.words
    if word and not is_there[word] and holds_now(grant, address, now_s) then
      size = size + 1 + #word
      if size > MAX_WORDS_BYTES then
        break
      end
      words[#words + 1], is_there[word] = word, true
    end
  end
  return table.concat(words, ",")
end

-- Whether a grant of `identity` covers `request` {verb, model, version, address, now_s, body_bytes}: true and the
-- largest body that it may have (nil: any); nil and a refusal. `model` "*" stands for all of them at once: only a grant
-- of "*" covers it. `body_bytes` nil: not known yet, so the second value is to be kept by whoever reads the body.
function rights.decide(identity, request)
  if request.verb == "public" then
    return true
  elseif request.verb == "own" then
    -- What is whose, the service knows.
    assert(identity, "no identity")
    return true
  elseif request.verb == "submit" then
    if rights.may_infer(identity, request.address, request.now_s) == "" then
      return nil, refusals.new("forbidden", "no grant to infer")
    end
    return true
  end
  local is_covered, largest = false, 0
  for _, grant in ipairs(identity.grants) do
    if
      grant.verbs[request.verb]
      and covers_model(grant, request.model)
      and (not grant.versions or grant.versions[request.version or ""])
      and holds_now(grant, request.address, request.now_s)
    then
      is_covered = true
      largest = math.max(largest, grant.max_body_bytes or math.huge)
    end
  end
  if not is_covered then
    return nil, refusals.new("forbidden", "no grant covers it")
  elseif request.body_bytes and request.body_bytes > largest then
    return nil, refusals.new("too_large", "larger than the grants allow")
  end
  return true, largest < math.huge and largest or nil
end

return rights
