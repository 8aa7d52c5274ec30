-- The JSON of a REST request, judged before Triton reads it: some that looks ordinary ends the process.

local parameters = require("parameters")
local refusals = require("refusals")
local strict_json = require("strict_json")

local json_guard = {}

local SIZES = {
  BOOL = 1, INT8 = 1, UINT8 = 1, INT16 = 2, UINT16 = 2, FP16 = 2, BF16 = 2, INT32 = 4, UINT32 = 4, FP32 = 4, INT64 = 8,
  UINT64 = 8, FP64 = 8, BYTES = 0,
}
local MAX_DIMENSIONS, MAX_TENSORS = 32, 256
-- The lists whose values are looked at.
local KEPT_LISTS = { inputs = true, outputs = true, shape = true }

local function parameters_problem(holder)
  local given = holder.parameters
  if given == nil then
    return nil
  elseif not strict_json.is_object(given) then
    return "parameters that are no object"
  end
  for name in pairs(given) do
    if parameters.is_reserved(name) then
      return "a reserved parameter"
    end
  end
end

local function elements_of(shape, max_elements)
  if not strict_json.is_array(shape) or #shape > MAX_DIMENSIONS then
    return nil, "no shape"
  end
  local elements = 1.0
  for _, size in ipairs(shape) do
    if type(size) ~= "number" or size < 0 or size % 1 ~= 0 or size > max_elements then
      return nil, "a shape that no tensor has, or too large"
    end
    elements = elements * size
  end
  if elements > max_elements then
    return nil, "a tensor of more elements than allowed"
  end
  return elements
end

local function is_empty(input)
  for _, size in ipairs(input.shape) do
    if size == 0 then
      return true
    end
  end
  return false
end

local function input_problem(input, max_elements)
  if not strict_json.is_object(input) then
    return "an input that is no object"
  end
  local size = SIZES[input.datatype]
  if type(input.name) ~= "string" or not size then
    return "an input without name or datatype"
  end
  local elements, reason = elements_of(input.shape, max_elements)
  reason = reason or parameters_problem(input)
  if reason then
    return reason
  end
  local bytes = input.parameters and input.parameters.binary_data_size
  if (bytes == nil) == (input.data == nil) then
    return "an input without data, or with two"
  elseif bytes == nil then
    return strict_json.count_in(input.data) ~= elements and "data that do not fill the shape" or nil
  elseif type(bytes) ~= "number" or bytes < 0 or bytes % 1 ~= 0 then
    return "a size that is none"
  elseif size > 0 and bytes ~= elements * size or size == 0 and bytes < elements * 4 then
    return "bytes that do not fill the shape"
  end
end

local function output_problem(output, classes)
  if not strict_json.is_object(output) or type(output.name) ~= "string" then
    return "an output without a name"
  end
  local reason = parameters_problem(output)
  if not reason and output.parameters and output.parameters.classification ~= nil and not classes[output.name] then
    return "classes of an output that is not known to have any"
  end
  return reason
end

local function tensors_problem(request, max_elements, classes)
  local reason = parameters_problem(request)
  if reason then
    return reason
  elseif not strict_json.is_array(request.inputs) or #request.inputs > MAX_TENSORS then
    return "no inputs, or too many"
  end
  for _, input in ipairs(request.inputs) do
    reason = input_problem(input, max_elements)
    if reason then
      return reason
    end
  end
  if request.outputs ~= nil and (not strict_json.is_array(request.outputs) or #request.outputs > MAX_TENSORS) then
    return "outputs that are no list, or too many"
  end
  local wants_classes, has_empty = false, false
  for _, output in ipairs(request.outputs or {}) do
    reason = output_problem(output, classes)
    if reason then
      return reason
    end
    wants_classes = wants_classes or (output.parameters or {}).classification ~= nil
  end
  for _, input in ipairs(request.inputs) do
    has_empty = has_empty or is_empty(input)
  end
  return wants_classes and has_empty and "classes of what may be empty" or nil
end

-- Triton makes a request parameter of each key that is no input.
local function generate_problem(request)
  for name in pairs(request) do
    if parameters.is_reserved(name) then
      return "a reserved parameter"
    end
  end
  return parameters_problem(request)
end

local function load_problem(request)
  local given = request.parameters
  if given ~= nil and not strict_json.is_object(given) then
    return "parameters that are no object"
  end
  for name in pairs(given or {}) do
    if parameters.leaves_folder(name) then
      return "a file outside of the model"
    end
  end
end

-- A refusal, or nil. `text`: the body, or its JSON when binary tensors follow. limits: max_json_bytes, max_elements,
-- each nil for any; classes: a set of the outputs whose classes may be asked for, nil for none.
-- `action`: of the route: "infer" (the default) has tensors, "load" files; any other needs only to be sound JSON.
function json_guard.problem(text, limits, action)
  action = action or "infer"
  if #text > (limits.max_json_bytes or math.huge) then
    return refusals.new("too_large", "more JSON than allowed")
  elseif text == "" and action ~= "infer" then
    return nil
  end
  local request, reason = strict_json.decode(text, { not_finite = true, kept_lists = KEPT_LISTS })
  if request == nil then
    return refusals.new("malformed", reason)
  elseif not strict_json.is_object(request) then
    return refusals.new("malformed", "no object")
  end
  if action == "infer" then
    reason = tensors_problem(request, limits.max_elements or math.huge, limits.classes or {})
  elseif action == "generate" or action == "generate_stream" then
    reason = generate_problem(request)
  elseif action == "load" or action == "unload" then
    reason = load_problem(request)
  else
    reason = parameters_problem(request)
  end
  return reason and refusals.new("malformed", reason) or nil
end

return json_guard
