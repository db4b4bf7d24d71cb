-- A call on a route that is only observed: it goes where its client sends it, with the client's own credential and
-- bytes. Only a stream is asked for its usage, and the answer for a form that can be read; and a virtual key stays here.

local headers = require "kong.plugins.llm-guard.headers"
local tap = require "kong.plugins.llm-guard.tap"
local upstream = require "kong.plugins.llm-guard.upstream"
local usage_filter = require "kong.plugins.llm-guard.usage_filter"

local kong = kong

local observed = {}


-- What the plugins have seen of the call; nil where that is nothing, as one of them is down.
function observed.call(conf, shared)
  local seen = shared.llm_observation
  return conf.mode == "observe" and type(seen) == "table" and seen or nil
end


function observed.access(shared)
  headers.hide_virtual_keys()
  local seen = shared.llm_observation
  if type(seen) ~= "table" then
    return
  end

  shared.llm_tap = tap.new()
  headers.ask_for_plain_answer()
  if #(seen.splices or {}) == 0 then
    return
  end
  local body, reason = upstream.admitted_body(seen)
  if not body then
    -- What was not asked for must not be taken out of the answer.
    seen.strip_usage_chunk = false
    kong.log.err("an observed call is left as it came: ", reason)
    return
  end
  kong.service.request.set_raw_body(body)
end


function observed.header_filter(conf, shared)
  local seen, state = observed.call(conf, shared), shared.llm_tap
  if seen and state and kong.response.get_source() == "service" then
    tap.begin(state, kong.response.get_headers(1000), seen.answer_headers or {})
    usage_filter.begin(seen, state)
  end
end


return observed
