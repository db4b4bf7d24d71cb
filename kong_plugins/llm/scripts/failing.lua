-- Fragment. Marks of deployments that are failing: one hash an organization, by deployment.
--
-- A mark is one MessagePack map: `since_ms`, when the first of its failures in a row came, and `marked_at_ms`, when the
-- last one; `failures`, how many; `status`, what the last one was; `until_ms`, until when the deployment is passed over.
-- After that one call tries it, the `trial`, and until `trial_until_ms` the others go on passing it over: so long its end
-- is waited for. Only a success takes a mark away, so a mark whose time is over still keeps all but one call away.
local TRIAL_MS = 30000

local function is_passed_over(mark, now)
  return now < mark.until_ms or now < (mark.trial_until_ms or 0)
end

local function read_mark(stored)
  return stored and cmsgpack.unpack(stored) or nil
end
