#!lua
-- Holds what one call may use against every limit and budget at once, or changes nothing but the refusal's event.
--
-- KEYS  1 readiness epoch, 2 policy number, 3 hold, 4 leases, 5 sequence, 6 event stream, 7 counter of refusals;
--       then one a limit, then two a budget: the current period and the following one
-- ARGV  1 request id, 2 policy number, 3 lease in ms, 4 wanted nano-USD, 5 number of limits, 6 number of budgets,
--       7 draft of the event (a JSON object), 8 how many refusals a second are written as events;
--       then a limit: unit, amount, window in ms, cost, shadow (0 or 1), scope's name as JSON;
--       then a budget: unit, end of the current period, end of the following one, cost, floor, refuses (0 or 1),
--       scope's name as JSON
-- Result {'granted', reserved_at_ms, granted nano-USD, then for each limit: remaining, reset_ms}
--        {'denied', number of the check from 1 (limits, then budgets), retry_after_ms, or -1 where waiting is no help}
--        {'unready', reason}
-- A repeated id whose hold is open gets its first answer again; one that has been resolved is refused.

local LIMIT_FIELDS, BUDGET_FIELDS = 6, 7
local FIRST_KEY, FIRST_ARGUMENT = 7, 8
local limit_count, budget_count = tonumber(ARGV[5]), tonumber(ARGV[6])

local function read_limit(number, now)
  local at = FIRST_ARGUMENT + (number - 1) * LIMIT_FIELDS
  local limit = {
    key = KEYS[FIRST_KEY + number], unit = ARGV[at + 1], amount = tonumber(ARGV[at + 2]),
    window_ms = tonumber(ARGV[at + 3]), cost = tonumber(ARGV[at + 4]), shadow = ARGV[at + 5] == '1',
    scope = ARGV[at + 6],
  }
  if limit.unit == 'concurrency' then
    limit.used = redis.call('ZCOUNT', limit.key, '(' .. integer_text(now), '+inf')
  else
    limit.ring = ring_read(limit.key, limit.window_ms, now)
    limit.used = limit.ring.total
  end
  limit.fits = limit.used + limit.cost <= limit.amount
  return limit
end

local function read_budget(number, now)
  local at = FIRST_ARGUMENT + limit_count * LIMIT_FIELDS + (number - 1) * BUDGET_FIELDS
  local key = FIRST_KEY + limit_count + (number - 1) * 2
  local budget = {
    unit = ARGV[at + 1], cost = tonumber(ARGV[at + 4]), floor = tonumber(ARGV[at + 5]), refuses = ARGV[at + 6] == '1',
    scope = ARGV[at + 7],
  }
  if now < tonumber(ARGV[at + 2]) then
    budget.key = KEYS[key + 1]
  elseif now < tonumber(ARGV[at + 3]) then
    budget.key = KEYS[key + 2]
  else
    return nil
  end
  local stored = redis.call('HMGET', budget.key, 'cap', 'spent', 'held')
  budget.cap, budget.spent = tonumber(stored[1]), tonumber(stored[2]) or 0
  if not budget.cap then
    return nil
  end
  budget.free = budget.cap - budget.spent - (tonumber(stored[3]) or 0)
  return budget
end

-- In contention a partial grant takes at most half of what is free above the floor, so that others get some too.
local function grant_of(budget)
  if not budget.refuses or budget.cost <= budget.free then
    return budget.cost
  elseif budget.unit == 'nusd' and budget.floor <= budget.free then
    return math.min(budget.cost, budget.floor + math.floor((budget.free - budget.floor) / 2))
  end
  return nil
end

local function wait_ms(limit, now)
  if limit.cost > limit.amount then
    return -1
  elseif limit.unit == 'concurrency' then
    return 1000
  end
  return ring_wait_ms(limit.key, limit.window_ms, limit.ring, limit.used + limit.cost - limit.amount, now)
end

local function deny(number, check, kind, retry_after_ms, now)
  local sequence = redis.call('INCR', KEYS[5])
  local refusals = redis.call('INCR', KEYS[7])
  redis.call('PEXPIRE', KEYS[7], 2000)
  if refusals <= tonumber(ARGV[8]) then
    append_event(KEYS[6], 'usage', event_with(ARGV[7], table.concat({
      '"id":"', ARGV[1], ':0","kind":"refused","outcome":"', kind, '","refusing_scope":', check.scope,
      ',"seq":', integer_text(sequence), ',"reserved_at_ms":', integer_text(now), ',"posted_at_ms":', integer_text(now),
    })))
  end
  if kind == 'budget' and check.cap and string.find(redis.call('HGET', check.key, 'thresholds') or '', '100') then
    fire_threshold(check.key, KEYS[6], '100', check.cap, check.spent, now)
  end
  return { 'denied', number, retry_after_ms }
end

local function answer(now, granted, limits)
  local result = { 'granted', now, granted }
  for _, limit in ipairs(limits) do
    result[#result + 1] = math.max(0, limit.amount - limit.used - limit.cost)
    result[#result + 1] = limit.unit == 'concurrency' and 0 or limit.window_ms
  end
  return result
end

local function hold_limits(limits, lease_end)
  local held = {}
  for number, limit in ipairs(limits) do
    if limit.unit == 'concurrency' then
      redis.call('ZREMRANGEBYSCORE', limit.key, '-inf', integer_text(lease_end - tonumber(ARGV[3])))
      redis.call('ZADD', limit.key, integer_text(lease_end), ARGV[1])
      redis.call('PEXPIRE', limit.key, integer_text(tonumber(ARGV[3]) * 2))
      held[number] = { limit.key, limit.unit, 0, 0 }
    else
      ring_add(limit.key, limit.window_ms, limit.ring, limit.cost)
      held[number] = { limit.key, limit.unit, limit.cost, limit.ring.head }
    end
  end
  return held
end

local function hold_budgets(budgets, granted)
  local held = {}
  for number, budget in ipairs(budgets) do
    local cost = budget.unit == 'nusd' and granted or budget.cost
    redis.call('HINCRBY', budget.key, 'held', integer_text(cost))
    held[number] = { budget.key, budget.unit, cost }
  end
  return held
end

local function hold(now, granted, limits, budgets)
  local lease_end = now + tonumber(ARGV[3])
  local result = answer(now, granted, limits)
  redis.call('HSET', KEYS[3],
    'state', 'pending', 'nusd', integer_text(granted), 'reserved_at', integer_text(now), 'draft', ARGV[7],
    'answer', cmsgpack.pack(result),
    'limits', cmsgpack.pack(hold_limits(limits, lease_end)), 'budgets', cmsgpack.pack(hold_budgets(budgets, granted)))
  redis.call('ZADD', KEYS[4], integer_text(lease_end), ARGV[1])
  return result
end

local function unready_reason()
  if not redis.call('GET', KEYS[1]) then
    return 'not_ready'
  elseif redis.call('GET', KEYS[2]) ~= ARGV[2] then
    return 'stale_policy'
  end
  return nil
end

local function reserve(now)
  local known = redis.call('HMGET', KEYS[3], 'state', 'answer')
  if known[1] == 'pending' then
    return cmsgpack.unpack(known[2])
  elseif known[1] then
    return { 'unready', 'request_id_used' }
  end
  local limits, budgets, granted = {}, {}, tonumber(ARGV[4])
  for number = 1, budget_count do
    budgets[number] = read_budget(number, now)
    if not budgets[number] then
      return { 'unready', 'no_period' }
    end
  end
  for number = 1, limit_count do
    limits[number] = read_limit(number, now)
    if not limits[number].fits and not limits[number].shadow then
      return deny(number, limits[number], 'limit', wait_ms(limits[number], now), now)
    end
  end
  for number, budget in ipairs(budgets) do
    local grant = grant_of(budget)
    if not grant then
      return deny(limit_count + number, budget, 'budget', -1, now)
    elseif budget.unit == 'nusd' then
      granted = math.min(granted, grant)
    end
  end
  return hold(now, granted, limits, budgets)
end

local reason = unready_reason()
if reason then
  return { 'unready', reason }
end
return reserve(now_ms())
