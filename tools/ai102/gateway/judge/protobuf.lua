-- gRPC requests read while they stream by: which model they name, and whether each message names it once and says
-- nothing that it may not. Fields that carry tensors are skipped, not kept.

local parameters = require("parameters")
local refusals = require("refusals")
local routes = require("routes")

local protobuf = {}

-- Of one message, each dimension of a tensor for one: more would be an attack on the reader's time.
protobuf.MAX_FIELDS = 4096
local MAX_TEXT = 1024

local byte = string.byte

local function malformed(reason)
  return refusals.new("malformed", reason)
end

-- What each field of a message means to the gateway: {kind, message inside}. A field that is not here is skipped.
local PARAMETER = { { "key" } }
local INPUT = { [3] = { "shape" }, [4] = { "message", PARAMETER } }
local OUTPUT_PARAMETER = { { "output_key" } }
local OUTPUT = { { "output_name" }, [2] = { "message", OUTPUT_PARAMETER } }
local INFER = {
  { "name" },
  { "version" },
  [4] = { "message", PARAMETER },
  [5] = { "message", INPUT },
  [6] = { "message", OUTPUT },
}
local LOAD_PARAMETER = { { "file_key" } }
local LOAD = { [2] = { "name" }, [3] = { "message", LOAD_PARAMETER } }

local function fields_of(row)
  if row.message == "infer" then
    return INFER
  elseif row.message == "load" then
    return LOAD
  end
  local fields = {}
  if row.name_field then
    fields[row.name_field] = { "name" }
  end
  if row.version_field then
    fields[row.version_field] = { "version" }
  end
  return fields
end

-- The varint at `at`: its value and the place after it; nil when bytes are missing; false when it is none.
local function varint_at(data, at, max_bytes)
  local first = byte(data, at)
  if first and first < 128 then
    return first, at + 1
  end
  -- Floats: Lua 5.3's integers would wrap around.
  local value, scale = 0.0, 1.0
  for place = at, at + max_bytes - 1 do
    local one = byte(data, place)
    if not one then
      return nil
    end
    value = value + (one % 128) * scale
    if one < 128 then
      -- A last byte of zero is a second way of writing a smaller number.
      if one == 0 and place > at then
        return false
      end
      return value, place + 1
    end
    scale = scale * 128
  end
  return false
end

local Scanner = {}
Scanner.__index = Scanner

local ON_TEXT = {}

function ON_TEXT.name(self, text)
  if self.message.name then
    return malformed("the model named twice")
  end
  self.message.name = text
  if not routes.is_model(text) and not (text == "" and self.row.empty_means) then
    return malformed("no name of a model")
  end
  self.name = self.name or (text == "" and self.row.empty_means or text)
  if self.name ~= (text == "" and self.row.empty_means or text) then
    return malformed("another model than the one judged")
  end
end

function ON_TEXT.version(self, text)
  if self.message.version then
    return malformed("the version named twice")
  end
  self.message.version = text
  if text ~= "" and not routes.is_version(text) then
    return malformed("no version")
  end
  self.version = self.version or text
  if self.version ~= text then
    return malformed("another version than the one judged")
  end
end

function ON_TEXT.key(_, text)
  if parameters.is_reserved(text) then
    return malformed("a reserved parameter")
  end
end

function ON_TEXT.output_name(self, text)
  local output = self.levels[#self.levels]
  if output.name then
    return malformed("an output named twice")
  end
  output.name = text
end

function ON_TEXT.output_key(self, text)
  if text == "classification" then
    self.levels[#self.levels - 1].classifies = true
  end
  return ON_TEXT.key(self, text)
end

function ON_TEXT.file_key(_, text)
  if parameters.leaves_folder(text) then
    return malformed("a file outside of the model")
  end
end

-- The packed numbers of one field; the dimensions of a tensor may come in several.
function ON_TEXT.shape(self, text)
  local at = 1
  while at <= #text do
    local value
    value, at = varint_at(text, at, 10)
    if not value then
      return malformed("no shape")
    end
    local refusal = self:dimension(value)
    if refusal then
      return refusal
    end
  end
end

function Scanner:dimension(value)
  local tensor = self.levels[#self.levels]
  self.message.fields = self.message.fields + 1
  tensor.dimensions = (tensor.dimensions or 0) + 1
  tensor.elements = (tensor.elements or 1) * value
  if tensor.dimensions > 32 or value > 2 ^ 62 then
    return malformed("a shape that no tensor has")
  end
end

-- Called at the end of each message within a message, the outermost included.
function Scanner:close_level(level)
  if level.elements and level.elements > self.most_elements then
    self.most_elements = level.elements
  end
  self.message.has_empty = self.message.has_empty or level.elements == 0
  self.message.wants_classes = self.message.wants_classes or level.classifies
  if level.classifies then
    self.classified[#self.classified + 1] = level.name or ""
  end
  local refusal = self.limits and self:excess()
  if refusal or #self.levels > 0 then
    return refusal
  end
  local message = self.message
  if message.wants_classes and message.has_empty then
    return malformed("classes of what may be empty")
  elseif self.row.names_model and not message.name then
    if not self.row.empty_means then
      return malformed("no model named")
    end
    self.name = self.name or self.row.empty_means
    if self.name ~= self.row.empty_means then
      return malformed("another model than the one judged")
    end
  end
  -- A version that was judged must be the one that is asked for.
  if self.version and self.version ~= "" and not message.version then
    return malformed("no version, where one was judged")
  end
  self.messages = self.messages + 1
  self.message = nil
end

-- What has been read so far, held against the limits.
function Scanner:excess()
  local limits = self.limits
  if self.most_bytes > (limits.max_message_bytes or math.huge) then
    return refusals.new("too_large", "a message larger than allowed")
  elseif self.most_elements > (limits.max_elements or math.huge) then
    return refusals.new("too_large", "a tensor of more elements than allowed")
  end
  for place = #self.classified, 1, -1 do
    if not (limits.classes and limits.classes[self.classified[place]]) then
      return malformed("classes of an output that is not known to have any")
    end
    self.classified[place] = nil
  end
end

function Scanner:open_frame(data, at)
  local flag, a, b, c, d = data:byte(at, at + 4)
  if not d then
    return nil
  elseif flag ~= 0 then
    return false, refusals.new("unsupported_media_type", "a compressed message")
  elseif self.messages > 0 and not self.row.streams then
    return false, malformed("a second message")
  end
  local size = ((a * 256 + b) * 256 + c) * 256 + d
  self.most_bytes = math.max(self.most_bytes, size)
  local refusal = self.limits and self:excess()
  if refusal then
    return false, refusal
  end
  self.message = { fields = 0 }
  self.levels = { { stop = self.base + at + 5 + size, fields = self.fields } }
  return at + 5
end

-- One field; gives the place after it, or nil when bytes are missing, or false and a refusal.
function Scanner:field(data, at, level)
  local tag, after = varint_at(data, at, 5)
  if not tag then
    return tag, tag == false and malformed("no protobuf") or nil
  end
  local number, wire = math.floor(tag / 8), tag % 8
  local known = level.fields[number]
  if number == 0 or number > 536870911 then
    return false, malformed("no protobuf")
  elseif wire == 2 then
    return self:sized_field(data, after, level, known)
  elseif known and not (known[1] == "shape" and wire == 0) then
    -- Triton would skip it as an unknown field; nobody sends it in good faith.
    return false, malformed("a field of the wrong type")
  elseif wire == 1 or wire == 5 then
    after = after + (wire == 1 and 8 or 4)
    return #data + 1 >= after and after or nil
  elseif wire ~= 0 then
    return false, malformed("a group, or no protobuf")
  end
  local value, stop = varint_at(data, after, 10)
  if not value then
    return value, value == false and malformed("no protobuf") or nil
  end
  if known then
    local refusal = self:dimension(value)
    if refusal then
      return false, refusal
    end
  end
  return stop
end

function Scanner:sized_field(data, at, level, known)
  local size, after = varint_at(data, at, 5)
  if not size then
    return size, size == false and malformed("no protobuf") or nil
  elseif self.base + after + size > level.stop then
    return false, malformed("a field longer than its message")
  elseif not known then
    self.skipping = size
    return after
  elseif known[1] == "message" then
    self.levels[#self.levels + 1] = { stop = self.base + after + size, fields = known[2] }
    return after
  elseif size > MAX_TEXT then
    return false, malformed("a name longer than any")
  elseif #data < after + size - 1 then
    return nil
  end
  local refusal = ON_TEXT[known[1]](self, data:sub(after, after + size - 1))
  if refusal then
    return false, refusal
  end
  return after + size
end

-- Reads as far as `data` goes; gives the place of the first byte not read, or nil and a refusal.
function Scanner:read(data)
  local at = 1
  while true do
    local passed = math.min(self.skipping, #data + 1 - at)
    at, self.skipping = at + passed, self.skipping - passed
    if self.skipping > 0 then
      return at
    end
    local next_at, refusal
    if not self.message then
      next_at, refusal = self:open_frame(data, at)
    else
      local level = self.levels[#self.levels]
      if self.base + at == level.stop then
        table.remove(self.levels)
        refusal = self:close_level(level)
        next_at = not refusal and at
      elseif self.message.fields >= protobuf.MAX_FIELDS then
        next_at, refusal = false, malformed("more fields than any request has")
      else
        next_at, refusal = self:field(data, at, level)
        if next_at then
          self.message.fields = self.message.fields + 1
          if self.base + next_at + self.skipping > level.stop and level == self.levels[#self.levels] then
            next_at, refusal = false, malformed("a field longer than its message")
          end
        end
      end
    end
    if next_at == false then
      return nil, refusal
    elseif not next_at then
      return at
    end
    at = next_at
  end
end

-- Takes the next bytes of the request's body; gives a refusal as soon as there is one, and then always.
function Scanner:feed(chunk)
  if self.refusal then
    return self.refusal
  end
  local data = self.rest == "" and chunk or self.rest .. chunk
  local at, refusal = self:read(data)
  if refusal then
    self.refusal = refusal
    return refusal
  end
  self.rest = data:sub(at)
  self.base = self.base + at - 1
end

-- How many of the next bytes need no reading: `skip` takes their number, which equals feeding them.
function Scanner:skippable()
  return self.refusal and 0 or self.skipping
end

function Scanner:skip(count)
  self.skipping = self.skipping - count
  self.base = self.base + count
  return self:feed("") -- a message may end here
end

-- The model and version ("" for none) that the first message names, once it was fed; nil and a refusal.
function Scanner:named()
  if self.refusal then
    return nil, self.refusal
  elseif self.row.names_model and not self.name then
    return nil, malformed("no model named, or not at the start")
  end
  return self.name, self.version or ""
end

-- Holds what was read and what will be against `limits`; gives a refusal as feed does.
function Scanner:judge(limits)
  self.limits = limits
  if self.name then
    self.version = self.version or "" -- one that comes later was not judged
  end
  self.refusal = self.refusal or self:excess()
  return self.refusal
end

-- A refusal when the body may not end here.
function Scanner:finish()
  if self.refusal then
    return self.refusal
  elseif not self.limits then
    self.refusal = refusals.new("unavailable", "defect: a body that was not judged")
  elseif self.message or self.rest ~= "" or (self.messages == 0 and not self.row.streams) then
    self.refusal = malformed("a message cut short")
  end
  return self.refusal
end

-- limits: max_elements of one tensor, max_message_bytes, each nil for any; classes: a set of the outputs whose classes
-- may be asked for (Triton 2.51 dies when asked for the classes of strings, or of an empty output), nil for none.
-- `name` nil: the first one named holds. `limits` nil: `judge` gets them, when the model is known.
function protobuf.scanner(method, name, version, limits)
  local row = routes.GRPC[method]
  return setmetatable({
    row = row,
    fields = fields_of(row),
    name = name,
    version = name and (version or "") or nil,
    limits = limits,
    most_bytes = 0, -- of one message
    most_elements = 0, -- of one tensor
    classified = {}, -- outputs asked for their classes, not yet judged
    base = 0, -- bytes read before the first of `data`
    rest = "",
    skipping = 0,
    messages = 0,
  }, Scanner)
end

return protobuf
