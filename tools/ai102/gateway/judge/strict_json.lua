-- JSON as RFC 8259 has it and no more, read from hostile text: no duplicate key, no deep nesting, no control character
-- in a key; so that no two readers can take the same text for different things.

local scalars = require("json_scalars")

local strict_json = {}

local find, byte = string.find, string.byte
local fail, skip, string_at = scalars.fail, scalars.skip, scalars.string_at
local number_at, number_end = scalars.number_at, scalars.number_end

strict_json.null = setmetatable({}, { __name = "null" })

local Object, Array, Counted = {}, {}, {}
local EMPTY_OBJECT = setmetatable({}, Object) -- nobody changes what was read

function strict_json.is_object(value)
  return getmetatable(value) == Object
end

-- Whether it is a list that was kept.
function strict_json.is_array(value)
  return getmetatable(value) == Array
end

-- How many values a list has that was counted, those of the lists in it included; nil when it is none.
function strict_json.count_in(value)
  return getmetatable(value) == Counted and value.count or nil
end

local WORDS = { ["true"] = true, ["false"] = false, null = strict_json.null }
-- Not JSON, but Python's json writes them and Triton reads them.
local NOT_FINITE = {
  NaN = 0 / 0, Infinity = math.huge, ["-Infinity"] = -math.huge, Inf = math.huge, ["-Inf"] = -math.huge,
}

-- Lua 5.3 hashes some letters only of a string of more than 40, so a sender can make such keys collide; then each new key
-- is compared with all before it.
local LONG_KEY, MAX_LONG_KEYS = 40, 256
-- Of one text, an empty object for one: more would be an attack on the reader's time.
local MAX_MEMBERS = 4096
local value_at

local function count_members(options, more)
  options.members = options.members + more
  if options.members > MAX_MEMBERS then
    fail("more members than any request has")
  end
end

-- The key of an object's next member and the place of its value.
local function key_at(text, at)
  if byte(text, at) ~= 34 then
    fail("an object without a key")
  end
  local key
  key, at = string_at(text, at)
  if find(key, "%c") then
    fail("a control character in a key")
  end
  at = skip(text, at)
  if byte(text, at) ~= 58 then
    fail("a key without a value")
  end
  return key, skip(text, at + 1)
end

local function object_at(text, at, depth, options)
  at = skip(text, at + 1)
  count_members(options, 1)
  if byte(text, at) == 125 then
    return EMPTY_OBJECT, at + 1
  end
  local key, value, object
  local long_keys = 0
  while true do
    key, at = key_at(text, at)
    if #key > LONG_KEY then
      long_keys = long_keys + 1
      if long_keys > MAX_LONG_KEYS then
        fail("more long keys than any object has")
      end
    end
    if object and object[key] ~= nil then
      fail("a key twice in one object")
    end
    value, at = value_at(text, at, depth, options, key)
    if object then
      object[key] = value
    else
      object = setmetatable({ [key] = value }, Object) -- of the right size at once
    end
    at = skip(text, at)
    local next_byte = byte(text, at)
    if next_byte == 125 then
      return object, at + 1
    elseif next_byte ~= 44 then
      fail("an object without end")
    end
    count_members(options, 1)
    at = skip(text, at + 1)
  end
end

local function kept_list(text, at, depth, options)
  local list, count = setmetatable({}, Array), 0
  at = skip(text, at + 1)
  if byte(text, at) == 93 then
    return list, at + 1
  end
  while true do
    count = count + 1
    list[count], at = value_at(text, at, depth, options)
    at = skip(text, at)
    local next_byte = byte(text, at)
    if next_byte == 93 then
      return list, at + 1
    elseif next_byte ~= 44 then
      fail("a list without end")
    end
    at = skip(text, at + 1)
  end
end

-- A list whose values nobody needs: how many it has, those of the lists in it included, and the place after it.
local function values_in(text, at, depth, options)
  if depth > options.max_depth then
    fail("nested deeper than " .. options.max_depth)
  end
  local count, next_byte = 0, nil
  at = skip(text, at + 1)
  if byte(text, at) == 93 then
    return 0, at + 1
  end
  repeat
    local first = byte(text, at)
    if first == 91 then
      local more
      more, at = values_in(text, at, depth + 1, options)
      count = count + more
    else
      if first and first >= 48 and first <= 57 then
        next_byte = byte(text, at + 1)
        at = (next_byte == 44 or next_byte == 93 or next_byte == 32) and at + 1 or number_end(text, at) + 1
      else
        local _
        _, at = value_at(text, at, depth, options)
      end
      count = count + 1
    end
    next_byte = byte(text, at)
    if (next_byte or 33) <= 32 then
      at = skip(text, at)
      next_byte = byte(text, at)
    end
    at = at + 1
    if (byte(text, at) or 33) <= 32 and next_byte == 44 then
      at = skip(text, at)
    end
  until next_byte ~= 44
  if next_byte ~= 93 then
    fail("a list without end")
  end
  return count, at
end

local function list_at(text, at, depth, options, key)
  if not options.kept_lists or options.kept_lists[key] then
    return kept_list(text, at, depth, options)
  end
  local count
  count, at = values_in(text, at, depth, options)
  return setmetatable({ count = count }, Counted), at
end

local function word_at(text, at, options)
  local _, last, word = find(text, "^(%-?%a+)", at)
  if not last then
    return number_at(text, at)
  elseif WORDS[word] ~= nil then
    return WORDS[word], last + 1
  elseif options.not_finite and NOT_FINITE[word] then
    return NOT_FINITE[word], last + 1
  end
  fail("a word that JSON does not know")
end

-- `key`: of the object's member whose value it is; "" for any other.
function value_at(text, at, depth, options, key)
  local first = byte(text, at)
  if not first then
    fail("nothing where a value belongs")
  elseif first >= 48 and first <= 57 then
    local after = byte(text, at + 1)
    if after == 44 or after == 125 then
      return first - 48.0, at + 1
    end
    return number_at(text, at)
  elseif first == 34 then
    return string_at(text, at)
  elseif first == 123 or first == 91 then
    if depth >= options.max_depth then
      fail("nested deeper than " .. options.max_depth)
    elseif first == 91 then
      return list_at(text, at, depth + 1, options, key or "")
    end
    return object_at(text, at, depth + 1, options)
  end
  return word_at(text, at, options)
end

local function whole(text, options)
  local value, at = value_at(text, skip(text, 1), 0, options)
  if skip(text, at) <= #text then
    fail("something after the end")
  end
  return value
end

-- The value of `text`; nil and a reason when it is no JSON that everybody reads alike. Numbers are floats.
-- options: max_depth (32); not_finite: take NaN and Infinity; kept_lists: a set of the keys whose lists are kept (nil: all),
-- for the values of any other list are checked and counted, but not kept.
function strict_json.decode(text, options)
  options = options or {}
  local ok, value = pcall(whole, text, {
    max_depth = options.max_depth or 32,
    not_finite = options.not_finite,
    kept_lists = options.kept_lists,
    members = 0,
  })
  if ok then
    return value
  elseif getmetatable(value) == scalars.Mistake then
    return nil, value.reason
  end
  error(value, 0)
end

return strict_json
