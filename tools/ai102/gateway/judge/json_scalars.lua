-- The parts of JSON that have no parts: strings, numbers, and the blanks between them, each read in one pass.

local json_scalars = {}

local find, sub, byte, char = string.find, string.sub, string.byte, string.char

-- No number that a request needs is longer; a long one would be read several times.
local MAX_NUMBER = 64
local AFTER_NUMBER = { [44] = true, [93] = true, [125] = true, [32] = true, [9] = true, [10] = true, [13] = true }
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
  local only = SHORT_ESCAPES[byte(text, at + 1)]
  if only and byte(text, at + 2) == 34 then
    return plain .. only, at + 3
  end
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
  -- The places after the whole part, where a point belongs, and after the fraction, where an exponent does.
  local _, last, point, exponent = find(text, "^%d+()%.?%d*()[eE]?[+-]?%d*", first)
  if not last or point > first + 1 and byte(text, first) == 48 or exponent == point + 1 then
    fail("a number that JSON does not know")
  end
  if last >= exponent then
    local letter, digit = byte(text, exponent), byte(text, last)
    if letter ~= 101 and letter ~= 69 or digit < 48 or digit > 57 then
      fail("a number that JSON does not know")
    end
  end
  if not AFTER_NUMBER[byte(text, last + 1) or 32] then
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

-- The place of the first byte from `at` on that is no blank.
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

json_scalars.Mistake, json_scalars.fail, json_scalars.skip = Mistake, fail, skip
json_scalars.string_at, json_scalars.number_at, json_scalars.number_end = string_at, number_at, number_end

return json_scalars
