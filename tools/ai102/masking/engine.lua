
-- The matcher. D is the data above; texts are arrays of code points, so that a full-width digit is one place.
local text, size, cap_start, cap_end = {}, 0, nil, nil
local STRUCK, MOST_PASSES = 0xD800, 8
local floor, byte, char, sub, concat = math.floor, string.byte, string.char, string.sub, table.concat

local function in_ranges(code, ranges)
  for index = 1, #ranges, 2 do
    if code >= ranges[index] and code <= ranges[index + 1] then return true end
  end
  return false
end

-- (source) -> code points, the byte where each begins; a byte that is no UTF-8 stands for itself, above 0xDC00.
local function decode(source)
  local codes, starts, count, place, length = {}, {}, 0, 1, #source
  while place <= length do
    local first = byte(source, place)
    local code, width = first, 1
    if first >= 0x80 then
      local need = (first >= 0xF0 and first < 0xF5) and 3 or (first >= 0xE0 and first < 0xF0) and 2
        or (first >= 0xC2 and first < 0xE0) and 1 or 0
      code = need == 3 and first - 0xF0 or need == 2 and first - 0xE0 or need == 1 and first - 0xC0 or 0xDC00 + first
      for step = 1, need do
        local next_byte = byte(source, place + step)
        if not next_byte or next_byte < 0x80 or next_byte > 0xBF then
          code, need = 0xDC00 + first, 0
          break
        end
        code = code * 64 + next_byte - 0x80
      end
      width = need + 1
    end
    count = count + 1
    codes[count], starts[count] = code, place
    place = place + width
  end
  starts[count + 1] = length + 1
  return codes, starts, count
end

local function is_letter(code) return code ~= nil and code >= 97 and code <= 122 and code ~= 120 end
local function is_digit(code) return code ~= nil and code >= 48 and code <= 57 end

-- (source) -> folded code points, first byte of each, byte after each, count
local function fold(source)
  local codes, starts, count = decode(source)
  for place = 1, count do codes[place] = D.fold[codes[place]] or codes[place] end
  local kept, from, to, total, place = {}, {}, {}, 0, 1
  while place <= count do
    local stop = place
    while stop <= count and codes[stop] >= 0xAD and in_ranges(codes[stop], D.hidden) do stop = stop + 1 end
    if stop > place then
      local before, after = codes[place - 1], codes[stop]
      if not ((is_letter(before) and is_digit(after)) or (is_digit(before) and is_letter(after))) then place = stop end
    end
    if stop == place then stop = place + 1 end
    while place < stop and place <= count do
      total = total + 1
      kept[total], from[total], to[total] = codes[place], starts[place], starts[place + 1]
      place = place + 1
    end
  end
  return kept, from, to, total
end

-- Every node becomes a function (place, continuation) -> what the continuation returns, or nil.
local compile

local function compile_set(node)
  local is_negated, ranges, small = node[2], node[3], {}
  for code = 0, 255 do small[code] = in_ranges(code, ranges) ~= is_negated end
  return function(place)
    local code = text[place]
    if code == nil then return false end
    local known = small[code]
    if known ~= nil then return known end
    return in_ranges(code, ranges) ~= is_negated
  end
end

local function single_of(node)
  while node[1] == "seq" and #node == 2 do node = node[2] end
  return node[1] == "set" and compile_set(node) or nil
end

local function itself(place) return place end

local makers = {
  set = function(node)
    local holds = compile_set(node)
    return function(place, go) if holds(place) then return go(place + 1) end end
  end,
  seq = function(node)
    local parts = {}
    for index = 2, #node do parts[index - 1] = compile(node[index]) end
    if #parts == 0 then return function(place, go) return go(place) end end
    local function from(index)
      local part = parts[index]
      if index == #parts then return part end
      local rest = from(index + 1)
      return function(place, go) return part(place, function(after) return rest(after, go) end) end
    end
    return from(1)
  end,
  alt = function(node)
    local ways = {}
    for index = 2, #node do ways[index - 1] = compile(node[index]) end
    return function(place, go)
      for index = 1, #ways do
        local result = ways[index](place, go)
        if result then return result end
      end
    end
  end,
  group = function(node)
    local inside = compile(node[2])
    return function(place, go)
      return inside(place, function(after)
        local old_start, old_end = cap_start, cap_end
        cap_start, cap_end = place, after
        local result = go(after)
        if not result then cap_start, cap_end = old_start, old_end end
        return result
      end)
    end
  end,
  ["repeat"] = function(node)
    local low, high, holds = node[2], node[3], single_of(node[4])
    if holds then
      return function(place, go)
        local count = 0
        while count < high and holds(place + count) do count = count + 1 end
        while count >= low do
          local result = go(place + count)
          if result then return result end
          count = count - 1
        end
      end
    end
    local inside = compile(node[4])
    return function(start, go)
      local function step(place, count)
        if count < high then
          local result = inside(place, function(after)
            if after > place then return step(after, count + 1) end
          end)
          if result then return result end
        end
        if count >= low then return go(place) end
      end
      return step(start, 0)
    end
  end,
  possessive = function(node)
    local low, high, inside = node[2], node[3], compile(node[4])
    return function(place, go)
      local count = 0
      while count < high do
        local after = inside(place, itself)
        if not after or after == place then break end
        place, count = after, count + 1
      end
      if count >= low then return go(place) end
    end
  end,
  look = function(node)
    local width, is_negated, inside = node[2], node[3], compile(node[4])
    return function(place, go)
      local seen = place > width and inside(place - width, itself) and true or false
      if seen ~= is_negated then return go(place) end
    end
  end,
  ["end"] = function() return function(place, go) if place > size then return go(place) end end end,
}

compile = function(node) return makers[node[1]](node) end

-- What an expression cannot say. Each gets the span as ASCII and its places, and gives the end that it accepts.
local function slice(start, stop)
  local parts = {}
  for place = start < 1 and 1 or start, (stop - 1 > size) and size or stop - 1 do
    parts[#parts + 1] = text[place] < 128 and char(text[place]) or "?"
  end
  return concat(parts)
end

local function holds_address(networks, bytes)
  for _, network in ipairs(networks) do
    local bits, base = network[1], network[2]
    local same = #base == #bytes
    for index = 1, #base do
      if not same or bits <= 0 then break end
      local unit = bits >= 8 and 1 or 2 ^ (8 - bits)
      same = floor(bytes[index] / unit) == floor(base[index] / unit)
      bits = bits - 8
    end
    if same then return true end
  end
  return false
end

local function octets_of(address)
  local octets = {}
  for octet in address:gmatch("[^.]+") do octets[#octets + 1] = tonumber(octet, 10) end
  if #octets ~= 4 then return nil end
  for index = 1, 4 do if octets[index] > 255 then return nil end end
  return octets
end

local function v6_bytes(address)
  local dotted = address:match("[%d]+%.[%d.]+$")
  local tail = {}
  if dotted then
    tail = octets_of(dotted)
    if not tail then return nil end
    for octet in dotted:gmatch("[^.]+") do if #octet > 1 and sub(octet, 1, 1) == "0" then return nil end end
    address = sub(address, 1, #address - #dotted)
    if sub(address, -2) ~= "::" then address = sub(address, 1, -2) end
  end
  if address:find(":::", 1, true) then return nil end
  local head, rest = address, nil
  local gap = address:find("::", 1, true)
  if gap then
    head, rest = sub(address, 1, gap - 1), sub(address, gap + 2)
    if rest:find("::", 1, true) then return nil end
  end
  local function groups(part)
    local bytes = {}
    if part == "" then return bytes end
    for group in (part .. ":"):gmatch("([^:]*):") do
      if #group < 1 or #group > 4 then return nil end
      local value = tonumber(group, 16)
      bytes[#bytes + 1], bytes[#bytes + 2] = floor(value / 256), value % 256
    end
    return bytes
  end
  local bytes, right = groups(head), groups(rest or "")
  if not bytes or not right then return nil end
  for _, one in ipairs(tail) do right[#right + 1] = one end
  local missing = 16 - #bytes - #right
  if gap and missing < 2 or not gap and missing ~= 0 then return nil end
  for _ = 1, missing do bytes[#bytes + 1] = 0 end
  for _, one in ipairs(right) do bytes[#bytes + 1] = one end
  return bytes
end

local function luhn(number)
  local total, double = 0, false
  for index = #number, 1, -1 do
    local digit = byte(number, index) - 48
    if double then digit = digit * 2 end
    if digit > 9 then digit = digit - 9 end
    total, double = total + digit, not double
  end
  return total % 10 == 0
end

local function known_card(number)
  local length, two, three, four = #number, tonumber(sub(number, 1, 2)), tonumber(sub(number, 1, 3)), tonumber(sub(number, 1, 4))
  local long = length >= 16 and length <= 19
  if two == 62 or two == 81 or two == 60 then return long end
  if four == 9558 then return length == 19 end
  if sub(number, 1, 1) == "4" then return length == 13 or length == 16 or length == 19 end
  if two >= 51 and two <= 55 or four >= 2221 and four <= 2720 then return length == 16 end
  if two == 34 or two == 37 then return length == 15 end
  if four >= 3528 and four <= 3589 then return long end
  if three >= 300 and three <= 305 or two == 36 or two == 38 or two == 39 then return length >= 14 and length <= 19 end
  return long and (three >= 644 and three <= 649 or two == 65)
end

local DAYS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
local WEIGHTS = {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2}

local checks = {
  identity = function(found, start, stop)
    local number = found:gsub("[ -]", "")
    local is_region = false
    for _, region in ipairs(D.regions) do is_region = is_region or region == sub(number, 1, 2) end
    if not is_region then return start end
    local born = #number == 18 and sub(number, 7, 14) or "19" .. sub(number, 7, 12)
    local year, month, day = tonumber(sub(born, 1, 4)), tonumber(sub(born, 5, 6)), tonumber(sub(born, 7, 8))
    local is_leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
    if day > DAYS[month] + ((month == 2 and is_leap) and 1 or 0) then return start end
    if #number == 15 then return stop end
    local total = 0
    for index = 1, 17 do total = total + WEIGHTS[index] * (byte(number, index) - 48) end
    local place = total % 11 + 1
    return sub("10x98765432", place, place) == sub(number, 18) and stop or start
  end,
  card = function(found, start)
    while found ~= "" do
      local groups = {}
      for group in found:gmatch("%d+") do groups[#groups + 1] = group end
      local number = concat(groups)
      if #number >= 13 and known_card(number) and luhn(number) then return start + #found end
      found = found:match("^(.*)[ -]%d+$") or ""
    end
    return start
  end,
  ipv4 = function(found, start, stop, spared)
    local octets = octets_of(found)
    if not octets then return start end
    local before = (start <= 16 and " " or "") .. slice(start - 16, start)
    if before:find("[^%w_]v$") or before:find("[%s(\"']ver%.? ?$")
      or before:find("[%s(\"']version[\"']?[ :=]?[ :=]?[\"']?$")
      or before:find("[=~><]=$") and not before:find("[^=~><]=$") then return start end
    if before:find("%a%-$") and text[stop] == 45 and text[stop + 1] and in_ranges(text[stop + 1], {97, 122}) then return start end
    return holds_address(spared, octets) and start or stop
  end,
  ipv6 = function(found, start, stop, spared)
    local address = found:match("^[^%%]*")
    local bytes = v6_bytes(address)
    if not bytes then return start end
    local pairs_only = true
    for group in (found .. ":"):gmatch("([^:]*):") do pairs_only = pairs_only and #group == 2 end
    if pairs_only then return start end
    local zeros = 0
    while zeros < 16 and bytes[zeros + 1] == 0 do zeros = zeros + 1 end
    local is_mapped = zeros == 10 and bytes[11] == 255 and bytes[12] == 255
    local in_use = holds_address(D.in_use, bytes) or is_mapped or (zeros == 15 and bytes[16] == 1)
      or (zeros >= 12 and found:find(".", 1, true) ~= nil)
    if is_mapped then bytes = {bytes[13], bytes[14], bytes[15], bytes[16]} end
    return in_use and not holds_address(spared, bytes) and stop or start
  end,
  opaque = function(found, start, stop)
    return (#found >= 20 or found:find("[^%a?]")) and stop or start
  end,
}

for _, pattern in ipairs(D.patterns) do
  pattern.opens, pattern.match = compile(pattern.first), compile(pattern.node)
end

local function accepted(pattern, place)
  cap_start, cap_end = nil, nil
  local stop = pattern.match(place, itself)
  if not stop then return nil end
  local start = cap_start or place
  stop = cap_end or stop
  if pattern.check then stop = checks[pattern.check](slice(start, stop), start, stop, pattern.spared) end
  if stop > start then return start, stop end
end

local function next_in(pattern, place)
  for start = place, size do
    if pattern.opens(start, itself) then
      local from, to = accepted(pattern, start)
      if from then return {from, to, pattern.kind} end
    end
  end
end

-- All spots of the text, from left to right: the leftmost, then the longest, then the first rule.
local function spots_in()
  local found, spots = {}, {}
  for rank, pattern in ipairs(D.patterns) do found[rank] = next_in(pattern, 1) end
  while true do
    local best
    for rank = 1, #D.patterns do
      local one = found[rank]
      if one and (not best or one[1] < best[1] or one[1] == best[1] and one[2] > best[2]) then best = one end
    end
    if not best then return spots end
    spots[#spots + 1] = best
    for rank = 1, #D.patterns do
      if found[rank] and found[rank][1] < best[2] then found[rank] = next_in(D.patterns[rank], best[2]) end
    end
  end
end

-- What was found is struck out and the rest looked at again, for what is only seen beside a mark.
local function settled()
  local spots = spots_in()
  local new = spots
  for _ = 1, MOST_PASSES do
    if #new == 0 then break end
    for _, spot in ipairs(new) do
      for place = spot[1], spot[2] - 1 do text[place] = STRUCK end
    end
    new = spots_in()
    local kept, at = {}, 1
    for _, spot in ipairs(spots) do
      while new[at] and new[at][2] <= spot[1] do kept[#kept + 1], at = new[at], at + 1 end
      if not new[at] or new[at][1] >= spot[2] then kept[#kept + 1] = spot end
    end
    while new[at] do kept[#kept + 1], at = new[at], at + 1 end
    spots = kept
  end
  return spots
end

local function mask(source)
  local from, to
  text, from, to, size = fold(source)
  local parts, begin, plain = {}, 1, {}
  for place = 1, size do plain[place] = text[place] end
  local spots = settled()
  text = plain
  for _, spot in ipairs(spots) do
    local start, stop, kind = spot[1], spot[2], spot[3]
    parts[#parts + 1] = sub(source, begin, from[start] - 1)
    if D.keep[kind] then
      parts[#parts + 1] = "[" .. kind .. "*" .. sub(slice(start, stop):gsub("[^%dx]", ""), -4):upper() .. "]"
    else
      parts[#parts + 1] = "[" .. kind .. "]"
    end
    begin = to[stop - 1]
  end
  parts[#parts + 1] = sub(source, begin)
  return concat(parts)
end

-- Nothing of a text that could not be masked goes on.
local function masked(source)
  local ok, result = pcall(mask, source)
  return ok and result or "[masking failed]"
end

local function is_secret(key)
  local codes, from, to, count = fold(key)
  local parts = {}
  for place = 1, count do
    local code = codes[place]
    if is_digit(code) or code >= 97 and code <= 122 then parts[#parts + 1] = char(code)
    elseif code >= 128 then parts[#parts + 1] = sub(key, from[place], to[place] - 1) end
  end
  local plain = concat(parts)
  for _, known in ipairs(D.keys) do if plain == known then return true end end
  for _, word in ipairs(D.secret_words) do
    for _, suffix in ipairs(D.secret_suffixes) do
      if sub(plain, -#word - #suffix) == word .. suffix then return true end
    end
  end
  return false
end

local function mask_value(value, depth)
  local kind = type(value)
  if kind == "string" then return masked(value) end
  if kind == "number" then
    local plain = value == floor(value) and string.format("%.0f", value) or tostring(value)
    local result = masked(plain)
    return result == plain and value or result
  end
  if kind ~= "table" then return value end
  if depth >= 32 then return "[too deep]" end
  local copy = {}
  for key, one in pairs(value) do
    if type(key) == "string" then
      if is_secret(key) then copy[masked(key)] = "[secret]" else copy[masked(key)] = mask_value(one, depth + 1) end
    else
      copy[key] = mask_value(one, depth + 1)
    end
  end
  return copy
end

-- Fluent Bit's callback: 2 says that the record is changed and the time is kept.
function mask_record_filter(tag, timestamp, record)
  local ok, result = pcall(mask_value, record, 0)
  return 2, timestamp, ok and result or {message = "[masking failed]"}
end

if arg and arg[1] == "--pipe" then
  for line in io.lines() do
    io.write(masked(line), "\n")
    io.flush()
  end
end
return {mask = masked, mask_record = function(record) return mask_value(record, 0) end}
