-- Kong's door to the providers: applies the grant that the Python plugins decided on, refuses where there is
-- none, and taps the answer for the meter. Kong proxies a request whose Python plugin has failed, so this is
-- the check that counts, and only a grant carries the provider's credential. On a route that is only observed it lets
-- everything pass, and taps what the plugins could look at.

local call = require "kong.plugins.llm-guard.call"
local deadline = require "kong.plugins.llm-guard.deadline"
local event_boundary = require "kong.plugins.llm-guard.event_boundary"
local failure = require "kong.plugins.llm-guard.failure"
local headers = require "kong.plugins.llm-guard.headers"
local observed = require "kong.plugins.llm-guard.observed"
local refusal = require "kong.plugins.llm-guard.refusal"
local tap = require "kong.plugins.llm-guard.tap"
local upstream = require "kong.plugins.llm-guard.upstream"
local usage_filter = require "kong.plugins.llm-guard.usage_filter"

local kong = kong
local ngx = ngx

local Guard = {
  PRIORITY = 890,
  VERSION = "0.1.0",
}


function Guard:access(conf)
  local shared = kong.ctx.shared
  local grant = shared.llm_grant
  if type(grant) ~= "table" then
    if conf.mode == "observe" then
      return observed.access(shared)
    end
    return refusal.exit(conf.protocol, "No decision could be made on this request.")
  end

  local body, reason = upstream.admitted_body(grant)
  if not body then
    kong.log.err("the grant was not applied: ", reason)
    return refusal.exit(conf.protocol, "The decision on this request could not be applied.")
  end

  headers.strip_client_identity()
  upstream.apply(grant, body)
  shared.llm_tap = tap.new(deadline.at_ms(grant))
end


function Guard:header_filter(conf)
  local shared = kong.ctx.shared
  local grant = shared.llm_grant
  if type(grant) ~= "table" then
    return observed.header_filter(conf, shared)
  end

  local state = shared.llm_tap
  if state then
    local answer = kong.response.get_headers(1000)
    if kong.response.get_source() == "service" then
      headers.strip_provider_account(answer)
      tap.begin(state, answer, grant.answer_headers or {})
      usage_filter.begin(grant, state)
    end
    failure.begin(conf.protocol, grant, state, answer, call.reached_upstream())
  end
  kong.response.set_headers(grant.response_headers or {})
end


function Guard:body_filter()
  local state = kong.ctx.shared.llm_tap
  if not state then
    return
  end

  local chunk, complete = ngx.arg[1] or "", ngx.arg[2]
  local event_ends = state.is_event_stream and event_boundary.ends(state.boundary, chunk) or {}
  tap.add(state, chunk, #event_ends, complete)
  if deadline.is_over(state, chunk) then
    deadline.end_answer(state)
  end

  if state.replacement then
    ngx.arg[1] = failure.replaced_chunk(state)
  elseif state.filter then
    local kept = usage_filter.pass(state.filter, chunk, event_ends, complete)
    if kept ~= chunk then
      ngx.arg[1] = kept ~= "" and kept or nil
    end
  end
end


function Guard:log(conf)
  local shared = kong.ctx.shared
  local grant = shared.llm_grant
  local granted = type(grant) == "table"

  headers.redact_credentials(granted and grant.set_headers or {})
  headers.redact_query()
  local known = granted and grant or observed.call(conf, shared)
  if known then
    shared.llm_call = call.summary(known, shared.llm_tap)
  end
end


return Guard
