-- The trace that a caller says its request belongs to: W3C Trace Context's traceparent, or nothing when it is none.

local trace_context = {}

-- Of version 00. A later version may be longer, and begins with the same fields.
local LENGTH = 55
local HEX = "[0-9a-f]"
local FIELDS = ("^(%s%s)%%-(%s+)%%-(%s+)%%-(%s%s)(.?)"):format(HEX, HEX, HEX, HEX, HEX, HEX)

local function is_id(digits, length)
  return #digits == length and digits:find("[^0]") ~= nil
end

-- {trace_id, span_id, is_sampled}: the trace, the caller's span in it, whether the caller records it; nil for what is no
-- traceparent.
-- Reads no more of `value` than a traceparent has.
function trace_context.from(value)
  if type(value) ~= "string" or #value < LENGTH then
    return nil
  end
  local version, trace_id, span_id, flags, rest = value:sub(1, LENGTH + 1):match(FIELDS)
  if not version or version == "ff" or not is_id(trace_id, 32) or not is_id(span_id, 16) then
    return nil
  elseif rest ~= "" and (version == "00" or rest ~= "-") then
    return nil
  end
  return { trace_id = trace_id, span_id = span_id, is_sampled = tonumber(flags, 16) % 2 == 1 }
end

return trace_context
