-- Fragment. Lines: the calls that wait for a limit or a budget, by tier and then by age.
--
-- A line is a sorted set of request ids by place. A place is the tier's rank times 2^51, and the microsecond in which
-- the call first asked; one place holds in every line in which the call stands. One more sorted set, `waiting`, says
-- until when each call of the organization is known to be there: one that does not ask again by then has gone, and so
-- has one that is not in it.
local TIER_RANKS = { critical = 0, normal = 1, experimental = 2 }
local TIER_PLACES = 2251799813685248
local SIGN_OF_LIFE_MS, LINE_KEPT_MS = 3000, 60000
local LOOKED_AT_ONCE = 16

local function line_key(waiting, check)
  return table.concat({ waiting, check.id, check.tier or '', check.subject }, ':')
end

-- Whether a call that is still there stands in the line before a place. Those that have gone are taken out of it,
-- unless this only asks.
local function is_preceded(waiting, line, place, request_id, now, only_asks)
  local offset = 0
  while true do
    local earlier = redis.call(
      'ZRANGEBYSCORE', line, '-inf', '(' .. integer_text(place), 'LIMIT', integer_text(offset), LOOKED_AT_ONCE
    )
    for _, other in ipairs(earlier) do
      if other ~= request_id and (tonumber(redis.call('ZSCORE', waiting, other)) or 0) > now then
        return true
      elseif other == request_id or only_asks then
        offset = offset + 1
      else
        redis.call('ZREM', line, other)
      end
    end
    if #earlier < LOOKED_AT_ONCE then
      return false
    end
  end
end

-- Behind all places of a tier.
local function end_of_tier(tier)
  return (TIER_RANKS[tier] + 1) * TIER_PLACES
end

-- The place of a call that asks for the first time: the last of its tier in each of these lines.
local function last_place(lines, tier, now)
  local first = TIER_RANKS[tier] * TIER_PLACES
  local place = first + now * 1000
  for _, line in ipairs(lines) do
    local last = redis.call(
      'ZREVRANGEBYSCORE', line, '(' .. integer_text(end_of_tier(tier)), integer_text(first), 'WITHSCORES', 'LIMIT', 0, 1
    )
    place = math.max(place, (tonumber(last[2]) or 0) + 1)
  end
  return place
end

-- When the call that has a place first asked, in Unix milliseconds.
local function asked_at_ms(place)
  return math.floor(place % TIER_PLACES / 1000)
end

local function join_lines(waiting, lines, place, request_id, now)
  for _, line in ipairs(lines) do
    redis.call('ZADD', line, integer_text(place), request_id)
    redis.call('PEXPIRE', line, LINE_KEPT_MS)
  end
  redis.call('ZREMRANGEBYSCORE', waiting, '-inf', integer_text(now))
  redis.call('ZADD', waiting, integer_text(now + SIGN_OF_LIFE_MS), request_id)
  redis.call('PEXPIRE', waiting, LINE_KEPT_MS)
end

-- Tells the gateways that calls which wait had better ask again.
local function tell_waiting(waiting)
  if redis.call('EXISTS', waiting) == 1 then
    redis.call('PUBLISH', (string.gsub(waiting, 'waiting$', 'freed')), '')
  end
end

local function leave_lines(waiting, request_id)
  if redis.call('ZREM', waiting, request_id) == 1 then
    tell_waiting(waiting)
  end
end
