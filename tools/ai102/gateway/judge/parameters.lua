-- Names that a caller's request parameters may not have, because Triton or the models behind the gateway take them for
-- somebody else's word.

local parameters = {}

-- Headers that the gateway sets reach models as parameters of the same name. (Their first letters stand in is_reserved too.)
local PREFIXES = { "^x%-", "^triton%-", "^ai102%-", "^shared%-memory%-", "^authorization", "^cookie" }

-- Whether no caller may send a parameter of this name.
function parameters.is_reserved(name)
  if name == "triton_enable_empty_final_response" then
    return false
  elseif name:find("^[xtascXTASC]") then
    local plain = name:lower():gsub("_", "-")
    for _, prefix in ipairs(PREFIXES) do
      if plain:find(prefix) then
        return true
      end
    end
  end
  return name:find("%c") ~= nil
end

-- Whether a parameter of a load request names a file outside of the model's own folder.
function parameters.leaves_folder(name)
  if name:sub(1, 5) ~= "file:" then
    return false
  end
  local place = name:sub(6)
  return place:find("..", 1, true) ~= nil or place:find("[\\%c]") ~= nil or not place:find("^[%w_]")
end

return parameters
