-- Which headers must not pass: the client's credentials and claims of identity on the way up, the provider's
-- account and its rate limits on the way down, and every credential in Kong's own logs.

local kong = kong
local char = string.char
local concat = table.concat
local find = string.find
local gmatch = string.gmatch
local gsub = string.gsub
local lower = string.lower
local match = string.match
local sub = string.sub

local REDACTED = "REDACTED"
-- keys.py: bsr_<key id>_<secret>_<checksum>
local VIRTUAL_KEY = "bsr_%w+_%w+_%w+"
local HIDDEN_KEY = "virtual-key-removed"

local CREDENTIALS = {
  ["authorization"] = true,
  ["proxy-authorization"] = true,
  ["x-api-key"] = true,
  ["api-key"] = true,
  ["x-goog-api-key"] = true,
  ["x-amz-security-token"] = true,
  ["cookie"] = true,
}

local IDENTITIES = {
  ["x-user-id"] = true,
  ["x-team"] = true,
}

-- Google's parameters choose whom it bills, at which price, and which members of an answer it leaves out.
-- What an AWS SDK has signed is no longer true of the request that leaves.
local IDENTITY_PREFIXES = { "x-consumer-", "x-credential-", "x-bursar-", "x-amz-", "x-goog-", "x-vertex-ai-" }

-- Whom a provider bills: not the client's to choose in a request, nor to learn from an answer.
local ACCOUNT = {
  ["openai-organization"] = true,
  ["openai-project"] = true,
  ["anthropic-organization-id"] = true,
  ["anthropic-workspace-id"] = true,
  ["anthropic-user-profile-id"] = true,
}

-- What is left of capacity that the account has bought.
local CAPACITY_PREFIXES = {
  "anthropic-priority-",
  "anthropic-fast-",
  "x-endpoint-monthly-call-",
  "x-trial-endpoint-call-",
}

local headers = {}


-- nginx lets `x_user_id` pass, and many backends read it as `x-user-id`.
local function canonical(name)
  return (gsub(lower(name), "_", "-"))
end


local function has_prefix(name, prefixes)
  for _, prefix in ipairs(prefixes) do
    if sub(name, 1, #prefix) == prefix then
      return true
    end
  end
  return false
end


local function is_identity(name)
  return CREDENTIALS[name] or IDENTITIES[name] or ACCOUNT[name] or has_prefix(name, IDENTITY_PREFIXES)
end


function headers.strip_client_identity()
  for name in pairs(kong.request.get_headers(1000)) do
    if is_identity(canonical(name)) then
      kong.service.request.clear_header(name)
    end
  end
end


-- A header's value, or its values, without virtual keys; nil where there is none to be taken out.
local function without_virtual_keys(value)
  local values, is_changed = type(value) == "table" and value or { value }, false
  local result = {}
  for index, each in ipairs(values) do
    local without, count = gsub(tostring(each), VIRTUAL_KEY, HIDDEN_KEY)
    result[index], is_changed = without, is_changed or count > 0
  end
  return is_changed and (#result == 1 and result[1] or result) or nil
end


local function decoded(text)
  return (gsub(text, "%%(%x%x)", function(digits)
    return char(tonumber(digits, 16))
  end))
end


-- The query without virtual keys, however they are encoded; nil where there is none to be taken out.
local function query_without_virtual_keys(query)
  local result, is_changed = {}, false
  for argument in gmatch(query, "[^&]+") do
    if find(decoded(argument), VIRTUAL_KEY) then
      argument, is_changed = (match(argument, "^[^=]*=") or "") .. HIDDEN_KEY, true
    end
    result[#result + 1] = argument
  end
  return is_changed and concat(result, "&") or nil
end


-- Puts something harmless in the place of virtual keys, which are nobody else's business. The header stays: other
-- plugins may do one thing where it is present and another where it is not.
function headers.hide_virtual_keys()
  local changed = {}
  for name, value in pairs(kong.request.get_headers(1000)) do
    if CREDENTIALS[canonical(name)] then
      changed[name] = without_virtual_keys(value)
    end
  end
  if next(changed) then
    kong.service.request.set_headers(changed)
  end
  local query = query_without_virtual_keys(kong.request.get_raw_query())
  if query then
    kong.service.request.set_raw_query(query)
  end
end


-- A compressed answer could not be read from its ends. Who names no encoding gets none from any provider.
function headers.ask_for_plain_answer()
  if kong.request.get_headers(1000)["accept-encoding"] then
    kong.service.request.set_headers({ ["accept-encoding"] = "identity" })
  end
end


-- `answer` is the answer's headers. Removes every header that speaks of rate limits, whatever its vendor prefix:
-- they are the limits of an account that many teams share.
function headers.strip_provider_account(answer)
  for name in pairs(answer) do
    local key = lower(name)
    if ACCOUNT[key] or find(key, "ratelimit", 1, true) or has_prefix(key, CAPACITY_PREFIXES) then
      kong.response.clear_header(name)
    end
  end
end


-- Redacts credentials in what Kong's logging plugins write; `set_headers` are those that the grant put on the
-- request, the provider's credential among them under whatever name that provider wants.
function headers.redact_credentials(set_headers)
  local secret = {}
  for name in pairs(set_headers) do
    secret[canonical(name)] = true
  end
  for name in pairs(kong.request.get_headers(1000)) do
    local key = canonical(name)
    if CREDENTIALS[key] or secret[key] then
      kong.log.set_serialize_value("request.headers." .. name, REDACTED, { mode = "replace" })
    end
  end
end


-- A key may stand in the query too (`?key=`), which Kong's record of a request has in three places.
function headers.redact_query()
  local request = kong.request
  if not request.get_query(1000).key then
    return
  end
  local path = request.get_path()
  local origin = request.get_scheme() .. "://" .. request.get_host() .. ":" .. request.get_port()
  kong.log.set_serialize_value("request.querystring.key", REDACTED, { mode = "replace" })
  kong.log.set_serialize_value("request.uri", path, { mode = "replace" })
  kong.log.set_serialize_value("request.url", origin .. path, { mode = "replace" })
end


return headers
