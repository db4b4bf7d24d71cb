-- The globals `kong` and `ngx` as Lua plugins find them in Kong, and how one of their handlers is run.
-- Called with minikong's functions; returns the functions that minikong calls. What is not here is nil, as a name
-- that Kong does not have is.

local minikong = ...

local HEADERS = { __index = function(headers, name)
  return type(name) == "string" and rawget(headers, (name:lower():gsub("_", "-"))) or nil
end }

-- The state of the request whose handler runs: { shared, ctx, plugins, arg }.
local current


local function current_field(field)
  if not current or current[field] == nil then
    error("API disabled in the current context", 3)
  end
  return current[field]
end


local function proxy(field)
  return setmetatable({}, {
    __index = function(_, key) return current_field(field)[key] end,
    __newindex = function(_, key, value) current_field(field)[key] = value end,
  })
end


-- minikong's functions never raise: the first result says whether the rest is an answer or a message.
local function checked(ok, ...)
  if not ok then
    error((...), 3)
  end
  return ...
end


local function pdk_function(name)
  if name:find("^kong%.log%.") and name ~= "kong.log.set_serialize_value" and name ~= "kong.log.serialize" then
    return function(...)
      local parts = { ... }
      for index = 1, select("#", ...) do
        parts[index] = tostring(parts[index])
      end
      checked(minikong.pdk(name, table.concat(parts)))
    end
  end
  if name:find("%.get_headers$") then
    return function(...) return setmetatable(checked(minikong.pdk(name, ...)), HEADERS) end
  end
  if name == "kong.response.exit" or name == "kong.response.error" then
    return function(...)
      checked(minikong.pdk(name, ...))
      coroutine.yield()
    end
  end
  return function(...) return checked(minikong.pdk(name, ...)) end
end


local function install(root, name)
  local node = root
  for segment in name:gmatch("%.(%w[%w_]*)%f[.]") do
    node[segment] = node[segment] or {}
    node = node[segment]
  end
  node[name:match("[%w_]+$")] = pdk_function(name)
end


kong = {
  ctx = setmetatable({}, { __index = function(_, name)
    if name == "shared" then
      return current_field("shared")
    end
    if name == "plugin" then
      local plugins, id = current_field("plugins"), minikong.plugin_id()
      plugins[id] = plugins[id] or {}
      return plugins[id]
    end
  end }),
}
for name in minikong.names:gmatch("%S+") do
  install(kong, name)
end
setmetatable(kong.log, { __call = function(log, ...) return log.notice(...) end })

ngx = setmetatable({
  arg = proxy("arg"),
  req = { start_time = function() return checked(minikong.pdk("kong.nginx.req_start_time")) end },
  var = setmetatable({}, {
    __index = function(_, name) return minikong.variable(name) end,
    __newindex = function(_, name) error("minikong cannot set the nginx variable " .. name, 2) end,
  }),
  crc32_long = minikong.crc32_long,
  get_phase = minikong.phase_name,
  now = minikong.now,
  time = function() return math.floor(minikong.now()) end,
  update_time = function() end,
}, {
  __index = function(_, name)
    if name == "ctx" then
      return current_field("ctx")
    end
  end,
})

-- A plugin's schema is data but for these; minikong checks the scopes that they forbid.
package.preload["kong.db.schema.typedefs"] = function()
  return setmetatable({
    protocols = { type = "set", elements = { type = "string" } },
    protocols_http = { type = "set", elements = { type = "string" } },
    no_consumer = { type = "foreign", reference = "consumers" },
    no_consumer_group = { type = "foreign", reference = "consumer_groups" },
    no_route = { type = "foreign", reference = "routes" },
    no_service = { type = "foreign", reference = "services" },
  }, { __index = function(_, name) error("minikong has no typedef " .. tostring(name), 2) end })
end


local function finish(...)
  current = nil
  return ...
end


local driver = {}


function driver.set_package_path(path)
  package.path = path:gsub(";;", ";" .. package.path .. ";")
end


function driver.is_installed(module)
  return package.searchpath(module, package.path) ~= nil
end


driver.load = require
driver.find = function(pattern, text) return string.find(text, pattern) ~= nil end


-- How many arguments Lua's `unpack` finds in an array with holes; `present` has a "1" for each value, a "0" for nil.
function driver.argument_count(present)
  local values = {}
  for index = 1, #present do
    values[index] = present:sub(index, index) == "1" or nil
  end
  return select("#", unpack(values))
end


function driver.new_state()
  return { shared = {}, ctx = {}, plugins = {} }
end


-- A handler before the answer may leave by kong.response.exit, which never returns.
-- Returns true, or false and the error.
function driver.run_until_exit(handler, phase, conf, state)
  current = state
  local thread = coroutine.create(handler[phase])
  local ok, message = coroutine.resume(thread, handler, conf)
  return finish(ok, not ok and tostring(message) or nil)
end


function driver.run(handler, phase, conf, state)
  current = state
  local ok, message = pcall(handler[phase], handler, conf)
  return finish(ok, not ok and tostring(message) or nil)
end


-- Returns true, the chunk and whether it is the last one; or false and the error.
function driver.run_body_filter(handler, conf, state, chunk, is_last)
  current = state
  state.arg = { chunk, is_last }
  local ok, message = pcall(handler.body_filter, handler, conf)
  local argument = state.arg
  state.arg = nil
  if not ok then
    return finish(false, tostring(message))
  end
  local text = argument[1]
  if type(text) == "table" then
    text = table.concat(text)
  end
  return finish(true, text ~= nil and tostring(text) or "", argument[2] and true or false)
end


return driver
