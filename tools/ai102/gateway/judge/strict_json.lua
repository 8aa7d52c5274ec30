-- JSON as RFC 8259 has it and no more, read from hostile text: no duplicate key, no deep nesting, no control character
-- in a key; so that no two readers can take the same text for different things.

local strict_json = {}

local find, sub, byte, char = string.find, string.sub, string.byte, string.char

strict_json.null = setmetatable({}, { __name = "null" })

local Object, Array = {}, {}

function strict_json.is_object(value)
  return getmetatable(value) == Object
end

function strict_json.is_array(value)
  return getmetatable(value) == Array
end

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }
local WORDS = { ["true"] = true, ["false"] = false, null = strict_json.null }
-- Not JSON, but Python's json writes them and Triton reads them.
local NOT_FINITE = {
  NaN = 0 / 0, Infinity = math.huge, ["-Infinity"] = -math.huge, Inf = math.huge, ["-Inf"] = -math.huge,
}

-- No number that a request needs is longer; a long one would be read several times.
local MAX_NUMBER = 64
-- Lua 5.3 hashes some letters only of a string of more than 40, so a sender can make such keys collide; then each new key
-- is compared with all before it.
local LONG_KEY, MAX_LONG_KEYS = 40, 256
-- What stands in a string as it is. (Lua 5.1 takes no zero byte in a pattern: %z is one.)
local PLAIN = '[^"\\%z\1-\31]*'
local PLAIN_STRING, PLAIN_PART = '^"(' .. PLAIN .. ')"', "^(" .. PLAIN .. ")"

-- A mistake in the text travels as an error with this table as its value; any other error is a defect of ours.
local Mistake = {}
local function fail(reason)
  error(setmetatable({ reason = reason }, Mistake), 0)
end

local function utf8_from(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xC0 + math.floor(code / 0x40), 0x80 + code % 0x40)
  elseif code < 0x10000 then
    return char(0xE0 + math.floor(code / 0x1000), 0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(
    0xF0 + math.floor(code / 0x40000),
    0x80 + math.floor(code / 0x1000) % 0x40,
    0x80 + math.floor(code / 0x40) % 0x40,
    0x80 + code % 0x40
  )
end

local function escape(text, at)
  local letter = sub(text, at + 1, at + 1)
  if ESCAPES[letter] then
    return ESCAPES[letter], at + 2
  end
  local _, last, digits = find(text, "^\\u(%x%x%x%x)", at)
  if not last then
    fail("an escape that JSON does not know")
  end
  local code = tonumber(digits, 16)
  if code >= 0xD800 and code < 0xDC00 then
    local _, end_, low = find(text, "^\\u(%x%x%x%x)", last + 1)
    low = low and tonumber(low, 16)
    if not low or low < 0xDC00 or low > 0xDFFF then
      fail("half of a surrogate pair")
    end
    return utf8_from(0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00), end_ + 1
  elseif code >= 0xDC00 and code < 0xE000 then
    fail("half of a surrogate pair")
  end
  return utf8_from(code), last + 1
end

-- `at` is the opening quote; gives the string and the place after the closing one.
local function string_at(text, at)
  local _, last, plain = find(text, PLAIN_STRING, at)
  if last then
    return plain, last + 1
  end
  local parts = {}
  at = at + 1
  while true do
    _, last, plain = find(text, PLAIN_PART, at)
    parts[#parts + 1] = plain
    at = last + 1
    local next_byte = byte(text, at)
    if next_byte == 34 then
      return table.concat(parts), at + 1
    elseif next_byte == 92 then
      parts[#parts + 1], at = escape(text, at)
    else
      fail("a control character in a string, or a string without end")
    end
  end
end

local function number_at(text, at)
  -- The usual number in two steps: a tensor may have thousands.
  local _, last = find(text, "^%-?[1-9]%d*", at)
  local after = last and byte(text, last + 1)
  if after == 44 or after == 93 or after == 125 then
    if last - at >= MAX_NUMBER then
      fail("a number of more digits than any")
    end
    return tonumber(sub(text, at, last)) + 0.0, last + 1
  end
  _, last = find(text, "^%-?%d+", at)
  if not last or find(text, "^%-?0%d", at) then
    fail("a number that JSON does not know")
  end
  local _, fraction = find(text, "^%.%d+", last + 1)
  last = fraction or last
  local _, exponent = find(text, "^[eE][+-]?%d+", last + 1)
  last = exponent or last
  if find(text, "^[%w%.]", last + 1) then
    fail("a number that JSON does not know")
  elseif last - at >= MAX_NUMBER then
    fail("a number of more digits than any")
  end
  return tonumber(sub(text, at, last)) + 0.0, last + 1
end

local value_at

local function skip(text, at)
  if (byte(text, at) or 33) > 32 then
    return at
  end
  local _, last = find(text, "^[ \t\r\n]*", at)
  return last + 1
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
  if byte(text, at) == 125 then
    return setmetatable({}, Object), at + 1
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
    value, at = value_at(text, at, depth, options)
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
    at = skip(text, at + 1)
  end
end

local function array_at(text, at, depth, options)
  at = skip(text, at + 1)
  if byte(text, at) == 93 then
    return setmetatable({}, Array), at + 1
  end
  local value
  value, at = value_at(text, at, depth, options)
  local array, count = setmetatable({ value }, Array), 1 -- of the right size at once
  while true do
    at = skip(text, at)
    local next_byte = byte(text, at)
    if next_byte == 93 then
      return array, at + 1
    elseif next_byte ~= 44 then
      fail("an array without end")
    end
    count = count + 1
    array[count], at = value_at(text, skip(text, at + 1), depth, options)
  end
end

function value_at(text, at, depth, options)
  local first = byte(text, at)
  if first and first >= 48 and first <= 57 then
    local after = byte(text, at + 1)
    if after == 44 or after == 93 then
      return first - 48.0, at + 1
    end
    return number_at(text, at)
  elseif first == 34 then
    return string_at(text, at)
  elseif first == 123 or first == 91 then
    if depth >= options.max_depth then
      fail("nested deeper than " .. options.max_depth)
    end
    return (first == 123 and object_at or array_at)(text, at, depth + 1, options)
  end
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

local function whole(text, options)
  local value, at = value_at(text, skip(text, 1), 0, options)
  if skip(text, at) <= #text then
    fail("something after the end")
  end
  return value
end

-- The value of `text`; nil and a reason when it is no JSON that everybody reads alike. Numbers are floats.
-- options: max_depth (32); not_finite: take NaN and Infinity.
function strict_json.decode(text, options)
  options = options or {}
  local ok, value = pcall(whole, text, { max_depth = options.max_depth or 32, not_finite = options.not_finite })
  if ok then
    return value
  elseif getmetatable(value) == Mistake then
    return nil, value.reason
  end
  error(value, 0)
end

return strict_json
