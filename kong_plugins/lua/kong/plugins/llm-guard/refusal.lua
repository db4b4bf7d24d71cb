-- The guard's own answer, 503 in the dialect of the route's wire format. It tells SDKs to try again, since
-- what is missing is a decision and not a permission.

local kong = kong
local format = string.format

local STATUS = 503
local CODE = "policy_unavailable"

local OPENAI_BODY = '{"error":{"message":"%s","type":"server_error","param":null,"code":"%s"}}'

-- Wire format -> body. The messages are constants of the guard and need no escaping.
local BODIES = {
  openai_chat = OPENAI_BODY,
  openai_responses = OPENAI_BODY,
  openai_embeddings = OPENAI_BODY,
  openai_completions = OPENAI_BODY,
  anthropic_messages = '{"type":"error","error":{"type":"api_error","message":"%s","code":"%s","param":null}}',
  gemini = '{"error":{"code":503,"message":"%s","status":"UNAVAILABLE","details":['
    .. '{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"POLICY_UNAVAILABLE","domain":"bursar",'
    .. '"metadata":{"code":"%s"}}]}}',
  bedrock_converse = '{"message":"%s","code":"%s","param":null}',
  bedrock_invoke = '{"message":"%s","code":"%s","param":null}',
}

local HEADERS = {
  ["content-type"] = "application/json",
  ["retry-after"] = "1",
  ["x-should-retry"] = "true",
}

-- AWS's SDKs read the kind of an error, and when to try again in milliseconds, in headers of their own.
local AWS_HEADERS = {
  ["content-type"] = "application/json",
  ["retry-after"] = "1",
  ["x-should-retry"] = "true",
  ["x-amzn-errortype"] = "ServiceUnavailableException",
  ["x-amz-retry-after"] = "1000",
}
local IS_AWS = { bedrock_converse = true, bedrock_invoke = true }

local refusal = {}


function refusal.body(protocol, message, code)
  return format(BODIES[protocol], message, code)
end


function refusal.exit(protocol, message)
  local headers = IS_AWS[protocol] and AWS_HEADERS or HEADERS
  return kong.response.exit(STATUS, refusal.body(protocol, message, CODE), headers)
end


return refusal
