-- JSON as RFC 8259 has it and no more, read from hostile text: no duplicate key, no deep nesting, no control character
-- in a key; so that no two readers can take the same text for different things.

local strict_json = {}

local find, sub, byte, char = string.find, string.sub, string.byte, string.char

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

-- No number that a request needs is longer; a long one would be read several times.
local MAX_NUMBER = 64
local AFTER_NUMBER = { [44] = true, [93] = true, [125] = true, [32] = true, [9] = true, [10] = true, [13] = true }
-- Lua 5.3 hashes some letters only of a string of more than 40, so a sender can make such keys collide; then each new key
-- is compared with all before it.
local LONG_KEY, MAX_LONG_KEYS = 40, 256
-- What stands in a string as it is. (Lua 5.1 takes no zero byte in a pattern: %z is one.)
local PLAIN = '^([^"\\%z\1-\31]*)'
-- By the byte after a backslash.
local SHORT_ESCAPES = {}
for letter, meant in pairs({ b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }) do
  SHORT_ESCAPES[byte(letter)] = meant
end

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

-- `at` is the backslash of \u.
local function unicode_escape(text, at)
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

-- The string whose part `plain` was read up to the first backslash, at `at`; and the place after its closing quote.
local function escaped_string(text, at, plain)
  local parts, count, next_byte = { plain }, 1, 92
  while next_byte == 92 do
    local meant, after = SHORT_ESCAPES[byte(text, at + 1)], at + 2
    if not meant then
      meant, after = unicode_escape(text, at)
    end
    count = count + 1
    parts[count] = meant
    at, next_byte = after, byte(text, after)
    if next_byte ~= 92 and next_byte ~= 34 then
      local _, last, more = find(text, PLAIN, at)
      count = count + 1
      parts[count] = more
      at = last + 1
      next_byte = byte(text, at)
    end
  end
  if next_byte ~= 34 then
    fail("a control character in a string, or a string without end")
  end
  return table.concat(parts), at + 1
end

-- `at` is the opening quote; gives the string and the place after the closing one.
local function string_at(text, at)
  local _, last, plain = find(text, PLAIN, at + 1)
  local next_byte = byte(text, last + 1)
  if next_byte == 34 then
    return plain, last + 2
  elseif next_byte == 92 then
    return escaped_string(text, last + 1, plain)
  end
  fail("a control character in a string, or a string without end")
end

-- The last place of the number that begins at `at`.
local function number_end(text, at)
  local first = byte(text, at) == 45 and at + 1 or at
  local _, last = find(text, "^%d+", first)
  if not last or last > first and byte(text, first) == 48 then
    fail("a number that JSON does not know")
  end
  local after = byte(text, last + 1)
  if after == 46 then
    _, last = find(text, "^%d+", last + 2)
    after = last and byte(text, last + 1) or 46
  end
  if after == 101 or after == 69 then
    _, last = find(text, "^[+-]?%d+", last + 2)
    after = last and byte(text, last + 1) or 46
  end
  if not AFTER_NUMBER[after or 32] then
    fail("a number that JSON does not know")
  elseif last - at >= MAX_NUMBER then
    fail("a number of more digits than any")
  end
  return last
end

local function number_at(text, at)
  local last = number_end(text, at)
  return tonumber(sub(text, at, last)) + 0.0, last + 1
end

local value_at

local function skip(text, at)
  local first = byte(text, at) or 33
  if first > 32 then
    return at
  elseif first == 32 and (byte(text, at + 1) or 0) > 32 then
    return at + 1 -- one blank, as most writers put it
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
        at = (next_byte == 44 or next_byte == 93) and at + 1 or number_end(text, at) + 1
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
  })
  if ok then
    return value
  elseif getmetatable(value) == Mistake then
    return nil, value.reason
  end
  error(value, 0)
end

return strict_json
