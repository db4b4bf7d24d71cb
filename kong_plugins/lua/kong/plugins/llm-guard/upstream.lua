-- Turns a grant into the request that leaves: target, path, query, headers and the spliced body.

local splice = require "kong.plugins.llm-guard.splice"

local kong = kong
local ngx = ngx

local upstream = {}


-- The request's body with the grant's splices, or nil and the reason why the grant is not for this body.
function upstream.admitted_body(grant)
  local body, err = kong.request.get_raw_body(0)
  if not body then
    return nil, "the request's body cannot be read: " .. tostring(err)
  end
  if #body ~= grant.body_length or ngx.crc32_long(body) ~= grant.body_crc32 then
    return nil, "the request's body is not the one that was admitted"
  end
  return splice(body, grant.splices or {})
end


function upstream.apply(grant, body)
  kong.service.set_target(grant.host, grant.port)
  local request = kong.service.request
  request.set_scheme(grant.scheme)
  request.set_path(grant.path)
  request.set_raw_query(grant.query or "")
  request.set_headers(grant.set_headers or {})
  -- nginx still holds the body that came in; only a changed one has to be handed over.
  if #(grant.splices or {}) > 0 then
    request.set_raw_body(body)
  end
end


return upstream
