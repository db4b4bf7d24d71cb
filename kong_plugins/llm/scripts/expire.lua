#!lua flags=allow-oom
-- Posts in full every hold whose lease is over, oldest first: the provider may have billed its call.
--
-- KEYS   1 leases, 2 sequence, 3 event stream, 4 those who wait; the holds and what they count in have the same hash tag
-- ARGV   1 prefix of the holds' keys, 2 how many at most, 3 how long a late truth can still correct one, in ms
-- Result how many have expired

local now = now_ms()

-- All that a hold allowed, as it has to be assumed: its input bound, and the rest as output.
local function assumed_tokens(hold)
  local is_json, draft = pcall(cjson.decode, hold.draft)
  local bound = is_json and tonumber(draft.input_bound_tokens) or 0
  local input = math.min(bound, hold.tokens)
  return input, hold.tokens - input
end

local function append_expired(request_id, hold)
  local amount = hold.nusd and integer_text(hold.nusd) or 'null'
  local members = settled_members(request_id .. ':1', 'expired', redis.call('INCR', KEYS[2]), hold, now, amount)
  append_event(KEYS[3], 'usage', event_with(hold.draft, table.concat({
    '"outcome":"lease_expired","quality":"', hold.nusd and 'upper_bound' or 'unpriced',
    '","input_tokens":', integer_text(hold.input_tokens), ',"output_tokens":', integer_text(hold.output_tokens),
    ',', members,
  })))
end

local function expire(request_id)
  local key = ARGV[1] .. request_id
  local hold = read_hold(key)
  redis.call('ZREM', KEYS[1], request_id)
  if hold.state ~= 'pending' then
    return 0
  end
  local full = { nusd = hold.nusd or 0, requests = 1 }
  for _, budget in ipairs(hold.budgets) do
    full[budget.unit] = budget.cost
  end
  move_budgets(hold, full, KEYS[3], now)
  for _, limit in ipairs(hold.limits) do
    if limit.unit == 'concurrency' then
      redis.call('ZREM', limit.key, request_id)
    end
  end
  hold.input_tokens, hold.output_tokens = assumed_tokens(hold)
  append_expired(request_id, hold)
  hold.state, hold.draft, hold.answer = 'expired', nil, nil
  redis.call('SET', key, cmsgpack.pack(hold), 'PX', ARGV[3])
  return 1
end

local expired = 0
for _, request_id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', integer_text(now), 'LIMIT', '0', ARGV[2])) do
  expired = expired + expire(request_id)
end
if expired > 0 then
  tell_waiting(KEYS[4])
end
return expired
