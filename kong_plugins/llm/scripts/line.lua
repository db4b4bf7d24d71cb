-- Fragment. Lines: the calls that wait for a limit or a budget, by tier and then by age.
--
-- A line is a sorted set of request ids by place. A place is the tier's rank times 2^51, and the microsecond in which
-- the call first asked. It stands in one line at a time, with the same place in each: in that of the narrowest check
-- that does not let it pass, so that a call which waits for its own key's turn holds up nobody of other keys. One more
-- sorted set, `waiting`, says until when each call of the organization is known to be there: one that does not ask
-- again by then has gone, and so has one that is not in it. The hash `waiting_lines` says where each of them stands.
local TIER_RANKS = { critical = 0, normal = 1, experimental = 2 }
local TIER_PLACES = 2251799813685248
local SIGN_OF_LIFE_MS, LINE_KEPT_MS = 3000, 60000
local LOOKED_AT_ONCE, MOST_FORGOTTEN = 16, 100

local BREADTH = { user = 1, key = 2, team = 3, organization = 4 }

local function line_key(waiting, check)
  return table.concat({ waiting, check.id, check.tier or '', check.subject }, ':')
end

-- Of several checks, the one that is about the fewest callers; the share of a tier is about fewer than the whole.
local function narrowest(checks)
  local found, least
  for _, check in ipairs(checks) do
    local breadth = BREADTH[check.kind] - (check.tier and 0.5 or 0)
    if not least or breadth < least then
      found, least = check, breadth
    end
  end
  return found
end

local function lines_key(waiting)
  return waiting .. '_lines'
end

-- Whether a call that is still there stands in the line before a place.
local function is_preceded(waiting, line, place, request_id, now)
  local offset, earlier = 0, nil
  repeat
    earlier = redis.call(
      'ZRANGEBYSCORE', line, '-inf', '(' .. integer_text(place), 'LIMIT', integer_text(offset), LOOKED_AT_ONCE
    )
    for _, other in ipairs(earlier) do
      if other ~= request_id and (tonumber(redis.call('ZSCORE', waiting, other)) or 0) > now then
        return true
      end
    end
    offset = offset + LOOKED_AT_ONCE
  until #earlier < LOOKED_AT_ONCE
  return false
end

-- Behind all places of a tier.
local function end_of_tier(tier)
  return (TIER_RANKS[tier] + 1) * TIER_PLACES
end

-- The place of a call that asks for the first time: the last of its tier in this line.
local function last_place(line, tier, now)
  local first = TIER_RANKS[tier] * TIER_PLACES
  local last = redis.call(
    'ZREVRANGEBYSCORE', line, '(' .. integer_text(end_of_tier(tier)), integer_text(first), 'WITHSCORES', 'LIMIT', 0, 1
  )
  return math.max(first + now * 1000, (tonumber(last[2]) or 0) + 1)
end

-- Tells the gateways that calls which wait had better ask again.
local function tell_waiting(waiting)
  if redis.call('EXISTS', waiting) == 1 then
    redis.call('PUBLISH', (string.gsub(waiting, 'waiting$', 'freed')), '')
  end
end

local function step_out(waiting, request_id)
  local lines = lines_key(waiting)
  local line = redis.call('HGET', lines, request_id)
  if line then
    redis.call('ZREM', line, request_id)
    redis.call('HDEL', lines, request_id)
  end
end

-- Forgets those that have gone without a word, some at a time.
local function forget_gone(waiting, now)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', integer_text(now), 'LIMIT', 0, MOST_FORGOTTEN)) do
    step_out(waiting, gone)
    redis.call('ZREM', waiting, gone)
  end
end

-- Has a call stand in this line and in no other, and notes that it is there.
local function stand_in(waiting, line, place, request_id, now)
  local lines = lines_key(waiting)
  local earlier = redis.call('HGET', lines, request_id)
  if earlier and earlier ~= line then
    step_out(waiting, request_id)
    tell_waiting(waiting)
  end
  redis.call('ZADD', waiting, integer_text(now + SIGN_OF_LIFE_MS), request_id)
  redis.call('ZADD', line, integer_text(place), request_id)
  redis.call('HSET', lines, request_id, line)
  forget_gone(waiting, now)
  for _, key in ipairs({ waiting, lines, line }) do
    redis.call('PEXPIRE', key, LINE_KEPT_MS)
  end
end

local function leave_line(waiting, request_id)
  step_out(waiting, request_id)
  if redis.call('ZREM', waiting, request_id) == 1 then
    tell_waiting(waiting)
  end
end
