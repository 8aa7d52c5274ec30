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

-- Lets `scanner` read what follows the first `at` bytes, as far as it must; gives its refusal.
function body.scan_rest(held, at, scanner)
  if held.data then
    return nil
  end
  return with_file(held.path, function(file)
    while at < held.size do
      local passed = math.min(scanner:skippable(), held.size - at)
      local refusal = scanner:skip(passed)
      file:seek("set", at + passed)
      local part = file:read(PART_BYTES) or ""
      refusal = refusal or scanner:feed(part)
      if refusal or passed + #part == 0 then
        return refusal
      end
      at = at + passed + #part
    end
  end)
end

return body
