-- The guard's own answer, 503 in the dialect of the route's wire format. It tells SDKs to try again, since
-- what is missing is a decision and not a permission.

local kong = kong
local format = string.format
local upper = string.upper

local STATUS = 503
local CODE = "policy_unavailable"

local OPENAI_BODY = '{"error":{"message":"%s","type":"server_error","param":null,"code":"%s"}}'

local GEMINI_BODY = '{"error":{"code":%d,"message":"%s","status":"UNAVAILABLE","details":['
  .. '{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"%s","domain":"bursar","metadata":{"code":"%s"}}]}}'

-- Wire format -> body, which has a message and a code; or what makes one of these and the HTTP status, where it says that
-- too. The messages are constants of the guard and need no escaping.
local BODIES = {
  openai_chat = OPENAI_BODY,
  openai_responses = OPENAI_BODY,
  openai_embeddings = OPENAI_BODY,
  openai_completions = OPENAI_BODY,
  openai_images = OPENAI_BODY,
  openai_speech = OPENAI_BODY,
  openai_transcriptions = OPENAI_BODY,
  anthropic_messages = '{"type":"error","error":{"type":"api_error","message":"%s","code":"%s","param":null}}',
  gemini = function(message, code, status)
    return format(GEMINI_BODY, status, message, upper(code), code)
  end,
  cohere_chat = '{"message":"%s","code":"%s","param":null}',
  ollama_chat = '{"error":"%s","code":"%s","param":null}',
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


function refusal.body(protocol, message, code, status)
  local template = BODIES[protocol]
  if type(template) == "function" then
    return template(message, code, status)
  end
  return format(template, message, code)
end


-- What a client needs to know of such a body, in the answer's head.
function refusal.body_headers(protocol, body)
  return {
    ["content-type"] = "application/json",
    ["content-length"] = tostring(#body),
    ["x-amzn-errortype"] = IS_AWS[protocol] and AWS_HEADERS["x-amzn-errortype"] or nil,
  }
end


function refusal.is_aws(protocol)
  return IS_AWS[protocol] == true
end


function refusal.exit(protocol, message)
  local headers = IS_AWS[protocol] and AWS_HEADERS or HEADERS
  return kong.response.exit(STATUS, refusal.body(protocol, message, CODE, STATUS), headers)
end


return refusal
