-- What became of a granted call, as one table that the meter reads in the log phase.

local tap = require "kong.plugins.llm-guard.tap"

local kong = kong
local ngx = ngx
local find = string.find
local floor = math.floor

local call = {}


-- Whether any byte of the request went to an upstream. nginx lists one number a try, as in "0, 512". Where another
-- plugin has Kong buffer the answer, as ai-proxy does, the request leaves in a subrequest, whose numbers nobody can
-- see; then every try counts.
function call.reached_upstream()
  local sent = ngx.var.upstream_bytes_sent
  if sent and sent ~= "" then
    return find(sent, "[1-9]") ~= nil
  end
  local balancer = ngx.ctx.balancer_data
  return balancer ~= nil and (balancer.try_count or 0) > 0
end


local function since_start_ms(instant_ms)
  return floor(instant_ms - ngx.req.start_time() * 1000 + 0.5)
end


-- `state` is the tap's, or nil where the grant was not applied. Times count from the start of the request;
-- `first_byte_ms` is absent where no byte came, and `failure` where the deployment is to blame for nothing.
function call.summary(grant, state)
  local applied = state ~= nil
  state = state or tap.new(0)
  return {
    meter = grant.meter,
    applied = applied,
    status = state.status or kong.response.get_status(),
    source = kong.response.get_source(),
    connected = applied and call.reached_upstream(),
    head = tap.head(state),
    tail = tap.tail(state),
    bytes = state.bytes,
    events = state.events,
    complete = state.complete,
    ended_at_deadline = state.ended_at_deadline,
    latency_ms = since_start_ms(ngx.now() * 1000),
    first_byte_ms = state.first_byte_at_ms and since_start_ms(state.first_byte_at_ms),
    content_type = state.content_type,
    content_encoding = state.content_encoding,
    failure = state.failure,
    headers = state.headers,
  }
end


return call
