-- The parts of Kong and nginx that llm-guard uses, with Kong's own rules: which call is allowed in which phase,
-- an exit that does not return, lower-case header names, an error in a body filter that ends the exchange.

local exchange

local function only_in(...)
  for _, phase in ipairs({ ... }) do
    if exchange.phase == phase then
      return
    end
  end
  error("not available in the " .. exchange.phase .. " phase", 3)
end

local function lowered(headers)
  local result = {}
  for name, value in pairs(headers) do
    result[string.lower(name)] = value
  end
  return result
end

local function copy(headers)
  local result = {}
  for name, value in pairs(headers) do
    result[name] = value
  end
  return result
end

local function logger(level)
  return function(...)
    local words = {}
    for index = 1, select("#", ...) do
      words[index] = tostring((select(index, ...)))
    end
    table.insert(exchange.logs, level .. ": " .. table.concat(words))
  end
end

kong = {
  ctx = {},
  log = {
    err = logger("err"),
    set_serialize_value = function(key, value, options)
      table.insert(exchange.serialize_values, { key, value, options and options.mode or "set" })
    end,
  },
  request = {
    get_raw_body = function(most)
      only_in("access")
      assert(most == 0, "a body over the buffer is nil without a limit")
      return exchange.request_body
    end,
    get_headers = function(most)
      assert(most == nil or most <= 1000)
      return copy(exchange.request_headers)
    end,
    get_query = function(most)
      assert(most <= 1000)
      return copy(exchange.request_query)
    end,
    get_path = function()
      return "/v1beta/models/mini:generateContent"
    end,
    get_scheme = function()
      return "https"
    end,
    get_host = function()
      return "kong.example"
    end,
    get_port = function()
      return 8443
    end,
    get_raw_query = function()
      return exchange.request_raw_query
    end,
  },
  service = {
    set_target = function(host, port)
      only_in("access")
      assert(type(host) == "string" and type(port) == "number")
      exchange.upstream.host, exchange.upstream.port = host, port
    end,
    request = {
      set_scheme = function(scheme)
        only_in("access")
        exchange.upstream.scheme = scheme
      end,
      set_path = function(path)
        only_in("access")
        exchange.upstream.path = path
      end,
      set_raw_query = function(query)
        only_in("access")
        assert(type(query) == "string")
        exchange.upstream.query = query
      end,
      set_raw_body = function(body)
        only_in("access")
        exchange.upstream.body = body
      end,
      set_headers = function(headers)
        only_in("access")
        for name, value in pairs(lowered(headers)) do
          exchange.request_headers[name] = value
        end
      end,
      clear_header = function(name)
        only_in("access")
        exchange.request_headers[string.lower(name)] = nil
      end,
    },
  },
  response = {
    exit = function(status, body, headers)
      only_in("access")
      exchange.refusal = { status = status, body = body, headers = lowered(headers) }
      coroutine.yield()
    end,
    get_source = function()
      only_in("header_filter", "body_filter", "log")
      return exchange.source
    end,
    get_status = function()
      only_in("header_filter", "body_filter", "log")
      return exchange.status
    end,
    set_status = function(status)
      only_in("header_filter")
      exchange.status = status
    end,
    get_headers = function()
      only_in("header_filter", "body_filter", "log")
      return copy(exchange.response_headers)
    end,
    set_headers = function(headers)
      only_in("header_filter")
      for name, value in pairs(lowered(headers)) do
        exchange.response_headers[name] = value
      end
    end,
    clear_header = function(name)
      only_in("header_filter")
      exchange.response_headers[string.lower(name)] = nil
    end,
  },
}

local argument = {}

ngx = {
  var = {},
  ctx = {},
  req = {
    start_time = function()
      return exchange.started_at_s
    end,
  },
  now = function()
    return exchange.now_s
  end,
  crc32_long = crc32_long,
  arg = setmetatable({}, {
    __index = argument,
    __newindex = function(_, index, value)
      exchange.assigned = true
      argument[index] = value
    end,
  }),
}

local driver = {}

function driver.begin(new)
  exchange = new
  kong.ctx.shared = new.shared
  ngx.ctx = { balancer_data = { try_count = new.tries } }
end

function driver.access(guard, conf)
  exchange.phase = "access"
  assert(coroutine.resume(coroutine.create(guard.access), guard, conf))
end

function driver.header_filter(guard, conf)
  exchange.phase = "header_filter"
  ngx.var.upstream_bytes_sent = exchange.upstream_bytes_sent
  guard:header_filter(conf)
end

-- Returns what goes on to the client, whether ngx.arg was assigned, and the error that ended the exchange.
function driver.body_filter(guard, conf, chunk, complete)
  exchange.phase = "body_filter"
  exchange.assigned = false
  argument[1], argument[2] = chunk, complete
  local ok, err = pcall(guard.body_filter, guard, conf)
  if not ok then
    return "", exchange.assigned, err
  end
  return argument[1] or "", exchange.assigned, nil
end

function driver.log(guard, conf)
  exchange.phase = "log"
  ngx.var.upstream_bytes_sent = exchange.upstream_bytes_sent
  guard:log(conf)
end

return driver
