-- An attempt that its deployment has failed: what kind of failure it is, and what the client is told of it.

local refusal = require "kong.plugins.llm-guard.refusal"

local kong = kong

-- When a client's own retry may come. Gateways pass a failing deployment over as soon as it is marked in Redis, which
-- the meter does in the log phase: after the answer has been sent, in a timer, so some milliseconds later and some tens
-- of them on a busy node. A retry that came before would be sent to the same deployment once more.
local RETRY_AFTER_MS = "200"
-- For clients that know only whole seconds.
local RETRY_AFTER = "1"

-- AWS's SDKs know no header against trying again. They do so after any 502 or 504, and not after this, which they take
-- for what has happened: the model has not answered in time.
local AWS_SILENT_STATUS = 408
local AWS_SILENT_ERROR = "ModelTimeoutException"

-- What a provider answers who takes our credential no more, or nobody pays.
local REFUSED = { [401] = true, [402] = true, [403] = true }

local UNREACHABLE = "The provider could not be reached."
local SILENT = "The provider has not answered. The call may have been billed."

local failure = {}


-- nil where the deployment is not to blame: what a request is refused for (400, 404, 413), every other one is served.
local function kind_of(source, status, connected)
  if source == "error" and (status == 502 or status == 504) then
    return connected and "silent" or "unreachable"
  elseif source == "service" and REFUSED[status] then
    return "refused"
  elseif source == "service" and (status == 429 or status >= 500) then
    return "busy"
  end
  return nil
end


local function first_value(value)
  if type(value) == "table" then
    value = value[1]
  end
  return value or ""
end


-- What failed after it was sent may have been billed, and is charged; an SDK that sent it again by itself would have
-- two charges for one answer. What was not, costs nothing, and comes back at once where another deployment could serve
-- it; else after the time that the provider asks for.
local function advise(kind, has_other, is_aws)
  if kind == "silent" then
    kong.response.set_headers({
      ["x-should-retry"] = "false",
      ["x-amzn-errortype"] = is_aws and AWS_SILENT_ERROR or nil,
    })
    if is_aws then
      kong.response.set_status(AWS_SILENT_STATUS)
    end
  elseif has_other then
    kong.response.set_headers({
      ["x-should-retry"] = "true",
      ["retry-after-ms"] = RETRY_AFTER_MS,
      ["retry-after"] = RETRY_AFTER,
      ["x-amz-retry-after"] = is_aws and RETRY_AFTER_MS or nil,
    })
  end
end


-- Kong's own words for what nginx could not do are in no client's dialect.
local function replace_body(state, protocol, message)
  state.replacement = refusal.body(protocol, message, "provider_unavailable", kong.response.get_status())
  kong.response.set_headers(refusal.body_headers(protocol, state.replacement))
end


-- The head of an answer has come, whose headers are `answer`; `connected` says whether a provider was sent anything.
-- What its deployment is to blame for is noted in `state.failure`, and its status in `state.status`, since the client may
-- be told another one.
function failure.begin(protocol, grant, state, answer, connected)
  local status = kong.response.get_status()
  local kind = kind_of(kong.response.get_source(), status, connected)
  if not kind then
    return
  end
  state.failure = {
    kind = kind,
    retry_after = first_value(answer["retry-after"]),
    retry_after_ms = first_value(answer["retry-after-ms"]),
  }
  if kind == "unreachable" or kind == "silent" then
    replace_body(state, protocol, kind == "silent" and SILENT or UNREACHABLE)
  end
  state.status = status
  advise(kind, grant.has_other, refusal.is_aws(protocol))
end


-- What is sent in place of a chunk of Kong's own words: ours with the first one, nothing with the others.
function failure.replaced_chunk(state)
  local text = state.replacement
  state.replacement = ""
  return text ~= "" and text or nil
end


return failure
