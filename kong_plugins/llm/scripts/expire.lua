#!lua flags=allow-oom
-- Posts in full every hold whose lease is over, oldest first: the provider may have billed its call.
--
-- KEYS  1 leases, 2 sequence, 3 event stream; the holds and what they count in have the same hash tag
-- ARGV  1 prefix of the holds' keys, 2 how many at most, 3 how long a late truth can still correct one, in ms
-- Result how many have expired

local now = now_ms()

local function expire(request_id)
  local key = ARGV[1] .. request_id
  local hold = read_hold(key)
  redis.call('ZREM', KEYS[1], request_id)
  if hold.state ~= 'pending' then
    return 0
  end
  local full = { nusd = tonumber(hold.nusd), requests = 1 }
  for _, budget in ipairs(cmsgpack.unpack(hold.budgets)) do
    full[budget[2]] = budget[3]
  end
  move_budgets(hold, full, false, KEYS[3], now)
  for _, limit in ipairs(cmsgpack.unpack(hold.limits)) do
    if limit[2] == 'concurrency' then
      redis.call('ZREM', limit[1], request_id)
    end
  end
  local sequence = redis.call('INCR', KEYS[2])
  local members = settled_members(request_id .. ':1', 'expired', sequence, hold, now, hold.nusd)
  append_event(KEYS[3], 'usage', event_with(hold.draft, '"outcome":"lease_expired","quality":"upper_bound",' .. members))
  redis.call('HSET', key, 'state', 'expired')
  redis.call('HDEL', key, 'draft', 'answer', 'limits')
  redis.call('PEXPIRE', key, ARGV[3])
  return 1
end

local expired = 0
for _, request_id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', integer_text(now), 'LIMIT', 0, ARGV[2])) do
  expired = expired + expire(request_id)
end
return expired
