-- Names with * for any run of characters. A Lua pattern of many .* would try every way to share a name among them; this
-- takes the leftmost place of each part, which is right for globs and costs one pass for each part.

local globs = {}

-- The glob ready for globs.matches: what stands before, between and after its stars.
function globs.parsed(glob)
  local parts = {}
  for part in (glob .. "*"):gmatch("([^*]*)%*") do
    parts[#parts + 1] = part
  end
  return parts
end

function globs.matches(parts, name)
  local first, last = parts[1], parts[#parts]
  if #parts == 1 then
    return name == first
  end
  local at, stop = #first + 1, #name - #last
  if at > stop + 1 or name:sub(1, #first) ~= first or name:sub(stop + 1) ~= last then
    return false
  end
  for place = 2, #parts - 1 do
    local _, ended = name:find(parts[place], at, true)
    if not ended or ended > stop then
      return false
    end
    at = ended + 1
  end
  return true
end

return globs
