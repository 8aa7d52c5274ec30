-- The body of a request, read whole, wherever nginx keeps it: in memory, or in a file when it is large.

local body = {}

local PART_BYTES = 65536

-- All of a file; nil and why not.
function body.content_of(path)
  local file, err = io.open(path, "rb")
  if not file then
    return nil, err
  end
  local content = file:read("*a")
  file:close()
  return content
end

-- What `use` gives, called with the file at `path` open.
local function with_file(path, use)
  local file = assert(io.open(path, "rb"))
  local ok, result = pcall(use, file)
  file:close()
  assert(ok, result)
  return result
end

-- Waits for all of the body: {size, and data or path}. nginx itself refuses one too large or too slow.
function body.read()
  ngx.req.read_body()
  local path = ngx.req.get_body_file()
  if not path then
    local data = ngx.req.get_body_data() or ""
    return { data = data, size = #data }
  end
  local size = with_file(path, function(file)
    return file:seek("end")
  end)
  return { path = path, size = size }
end

-- The first `count` bytes, or all when there are fewer.
function body.head(held, count)
  if held.data then
    return held.data:sub(1, count)
  end
  return with_file(held.path, function(file)
    return file:read(count) or ""
  end)
end

-- Gives `take` the body part by part until it returns something, which is returned.
function body.each_part(held, take)
  if held.data then
    return take(held.data)
  end
  return with_file(held.path, function(file)
    local part, found = file:read(PART_BYTES), nil
    while part and not found do
      found = take(part)
      part = file:read(PART_BYTES)
    end
    return found
  end)
end

return body
