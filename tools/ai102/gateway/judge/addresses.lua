-- IP addresses and networks in numbers: IPv4, IPv6, and IPv4 written as IPv6, which counts as IPv4.

local addresses = {}

local function ipv4_bytes(text)
  local parts = { text:match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$") }
  if #parts ~= 4 then
    return nil
  end
  for place, part in ipairs(parts) do
    parts[place] = tonumber(part)
    if parts[place] > 255 or (#part > 1 and part:sub(1, 1) == "0") then
      return nil
    end
  end
  return parts
end

-- The 16-bit groups between colons; nil when one is not one.
local function groups_of(text)
  local groups = {}
  if text == "" then
    return groups
  end
  for group in (text .. ":"):gmatch("([^:]*):") do
    if not group:find("^%x%x?%x?%x?$") then
      return nil
    end
    groups[#groups + 1] = tonumber(group, 16)
  end
  return groups
end

local function ipv6_groups(text)
  local last = text:match(":([%d%.]+)$")
  if last and last:find(".", 1, true) then
    local four = ipv4_bytes(last)
    if not four then
      return nil
    end
    local tail = string.format("%x:%x", four[1] * 256 + four[2], four[3] * 256 + four[4])
    text = text:sub(1, #text - #last) .. tail
  end
  local before, after = text:match("^(.-)::(.*)$")
  if not before then
    local groups = groups_of(text)
    return groups and #groups == 8 and groups or nil
  end
  local groups, rest = groups_of(before), groups_of(after)
  if not groups or not rest or #groups + #rest > 7 then
    return nil
  end
  for _ = 1, 8 - #groups - #rest do
    groups[#groups + 1] = 0
  end
  for _, group in ipairs(rest) do
    groups[#groups + 1] = group
  end
  return groups
end

-- 4 or 16 numbers 0-255, or nil when `text` is no address.
function addresses.bytes_from(text)
  if type(text) ~= "string" or #text > 64 then
    return nil
  end
  if not text:find(":", 1, true) then
    return ipv4_bytes(text)
  end
  local groups = ipv6_groups((text:gsub("^%[(.*)%]$", "%1"):gsub("%%.*$", "")))
  if not groups then
    return nil
  end
  local bytes = {}
  for _, group in ipairs(groups) do
    bytes[#bytes + 1] = math.floor(group / 256)
    bytes[#bytes + 1] = group % 256
  end
  for place = 1, 12 do
    if bytes[place] ~= (place > 10 and 255 or 0) then
      return bytes
    end
  end
  return { bytes[13], bytes[14], bytes[15], bytes[16] }
end

-- One name for what one customer has: an IPv4 address, or the first 64 bits of an IPv6 address.
function addresses.customer_of(text)
  local bytes = addresses.bytes_from(text)
  return bytes and table.concat(bytes, ".", 1, math.min(#bytes, 8)) or "unknown"
end

-- {bytes, bits} of "10.0.0.0/8" or of one address; nil when it is neither.
function addresses.network_from(text)
  local address, bits = text:match("^([^/]+)/(%d%d?%d?)$")
  local bytes = addresses.bytes_from(address or text)
  if not bytes then
    return nil
  end
  bits = tonumber(bits or #bytes * 8)
  if #bytes == 4 and (address or text):find(":", 1, true) and address then
    bits = bits - 96
  end
  if bits < 0 or bits > #bytes * 8 then
    return nil
  end
  return { bytes = bytes, bits = bits }
end

function addresses.within(bytes, network)
  if #bytes ~= #network.bytes then
    return false
  end
  local whole = math.floor(network.bits / 8)
  for place = 1, whole do
    if bytes[place] ~= network.bytes[place] then
      return false
    end
  end
  local rest = network.bits % 8
  if rest == 0 then
    return true
  end
  local step = 2 ^ (8 - rest)
  return math.floor(bytes[whole + 1] / step) == math.floor(network.bytes[whole + 1] / step)
end

return addresses
