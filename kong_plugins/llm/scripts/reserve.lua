#!lua
-- Holds what one call may use against every limit and budget at once, or changes nothing but the refusal's event.
-- Everything is read and checked first; after that come only writes that cannot fail.
--
-- KEYS   1 hold, 2 readiness epoch, 3 policy number, 4 leases, 5 sequence, 6 event stream, 7 refusals of this second;
--        then one a limit; then two a budget: the current period and the following one
-- ARGV   1 the Reservation of limits.py as MessagePack, without its draft, 2 its draft, 3 how many refusals a second are
--        written as events, 4 how long a written refusal is remembered, in ms
-- Result {'granted', reserved_at_ms, granted nano-USD, {remaining and reset_ms of each limit}, {checks that only a
--        shadow lets pass}}
--        {'denied', number of the check, retry_after_ms, or -1 where waiting is no help, {remaining and reset_ms of
--        each limit, where a limit refuses}}
--        {'unready', reason}
--        A probe gets the answer that the call would get now, and nothing at all is written.
--        Checks count from 1, limits before budgets. A repeated id gets its first answer again while its hold is open,
--        or its refusal remembered; one that has been resolved is refused.

local FIXED_KEYS = 7
local CONCURRENCY_RETRY_MS = 1000
local call, draft = cmsgpack.unpack(ARGV[1]), ARGV[2]

-- Which of a budget's two periods holds this instant; nil where neither does.
local function period_key(number, budget, now)
  local first = FIXED_KEYS + #call.limits + 2 * number - 1
  for following, period in ipairs({ budget.current, budget.following }) do
    if period.start_ms <= now and now < period.end_ms then
      return KEYS[first + following - 1]
    end
  end
  return nil
end

-- Fills in how each budget stands; false where a period is missing.
local function read_budgets(now)
  for number, budget in ipairs(call.budgets) do
    budget.number, budget.key = #call.limits + number, period_key(number, budget, now)
    local stored = budget.key and redis.call('HMGET', budget.key, 'cap', 'spent', 'held')
    if not stored or not stored[1] then
      return false
    end
    budget.held = tonumber(stored[3]) or 0
    budget.free = tonumber(stored[1]) - (tonumber(stored[2]) or 0) - budget.held
  end
  return true
end

-- How much a budget lets the call have; nil where it refuses. While others hold some of it, a partial grant takes at
-- most half of what is free above the floor, so that they get some too.
local function grant_of(budget)
  if not budget.refuses or budget.cost <= budget.free then
    return budget.cost
  elseif budget.floor > budget.free then
    return nil
  end
  local above_floor = budget.free - budget.floor
  return budget.floor + (budget.held > 0 and math.floor(above_floor / 2) or above_floor)
end

-- The least that all budgets of a unit grant, by unit; or nil and the budget that refuses.
local function grants()
  local granted = {}
  for _, budget in ipairs(call.budgets) do
    local grant = grant_of(budget)
    if not grant then
      return nil, budget
    end
    granted[budget.unit] = math.min(granted[budget.unit] or grant, grant)
  end
  return granted
end

local function read_limits(stored, now)
  for number, limit in ipairs(call.limits) do
    limit.number, limit.key = number, KEYS[FIXED_KEYS + number]
    if limit.unit == 'concurrency' then
      limit.used = redis.call('ZCOUNT', limit.key, '(' .. integer_text(now), '+inf')
    else
      limit.ring = ring_read(stored[number + 3], limit.window_ms, now)
      limit.used = limit.ring.total
    end
    limit.fits = limit.used + limit.cost <= limit.amount
  end
end

-- In how many ms a limit that is reached will fit the call; -1 for never.
local function wait_ms(limit, now)
  if limit.cost > limit.amount then
    return -1
  elseif limit.unit == 'concurrency' then
    return CONCURRENCY_RETRY_MS
  end
  return ring_wait_ms(limit.ring, limit.used + limit.cost - limit.amount, now)
end

-- Of the limits that refuse, the one that the call has to wait for longest, and how long; nil where all let it pass.
local function refusing_limit(now)
  local slowest, longest_ms = nil, 0
  for _, limit in ipairs(call.limits) do
    if not limit.fits and not limit.shadow then
      local limit_wait_ms = wait_ms(limit, now)
      if limit_wait_ms < 0 then
        return limit, limit_wait_ms
      elseif limit_wait_ms > longest_ms then
        slowest, longest_ms = limit, limit_wait_ms
      end
    end
  end
  return slowest, longest_ms
end

-- A limit that refuses for long must still grow older while the clock that was set back catches up.
local function keep_rings_of_a_clock_set_back()
  for _, limit in ipairs(call.limits) do
    if limit.ring and limit.ring.was_set_back and not call.probe then
      ring_add(limit.key, limit.ring, 0)
    end
  end
end

-- Whether this refusal is among the first of its second, which are written as events.
local function is_written()
  local refusals = redis.call('INCR', KEYS[7])
  if refusals == 1 then
    redis.call('PEXPIRE', KEYS[7], '1000')
  end
  return refusals <= tonumber(ARGV[3])
end

-- What each limit has left, and in how many ms all of it is free again.
local function limit_states(is_held, now)
  local states = {}
  for _, limit in ipairs(call.limits) do
    local reset_ms = 0
    if limit.ring and is_held and limit.cost > 0 then
      reset_ms = ring_leaves_ms(limit.ring, limit.ring.slice, now)
    elseif limit.ring and limit.used > 0 then
      reset_ms = ring_wait_ms(limit.ring, limit.used, now)
    end
    states[#states + 1] = math.max(0, limit.amount - limit.used - (is_held and limit.cost or 0))
    states[#states + 1] = reset_ms
  end
  return states
end

-- A refusal that is written is remembered too: no later answer may contradict its event.
local function deny(check, kind, retry_after_ms, now)
  local answer = { 'denied', check.number, retry_after_ms, kind == 'limit' and limit_states(false, now) or {} }
  if call.probe then
    return answer
  end
  if is_written() then
    local members = settled_members(call.request_id .. ':1', 'refused', redis.call('INCR', KEYS[5]), {}, now, '0')
    append_event(KEYS[6], 'usage', event_with(draft, table.concat({
      '"outcome":"', kind, '","refusing_scope":', cjson.encode(check.scope_name), ',', members,
    })))
    redis.call('SET', KEYS[1], cmsgpack.pack({ state = 'denied', answer = answer }), 'PX', ARGV[4])
  end
  if kind == 'budget' then
    fire_thresholds(check.key, KEYS[6], now, true)
  end
  return answer
end

local function hold_limits(lease_end, now)
  local held = {}
  for number, limit in ipairs(call.limits) do
    held[number] = { key = limit.key, unit = limit.unit, cost = limit.cost }
    if limit.unit == 'concurrency' then
      redis.call('ZREMRANGEBYSCORE', limit.key, '-inf', integer_text(now))
      redis.call('ZADD', limit.key, integer_text(lease_end), call.request_id)
    else
      ring_add(limit.key, limit.ring, limit.cost)
      held[number].slice = limit.ring.slice
    end
  end
  return held
end

local function hold_budgets(granted)
  local held = {}
  for number, budget in ipairs(call.budgets) do
    redis.call('HINCRBY', budget.key, 'held', integer_text(granted[budget.unit]))
    held[number] = { key = budget.key, unit = budget.unit, cost = granted[budget.unit] }
  end
  return held
end

local function granted_answer(now, granted_nusd)
  local shadows = {}
  for _, limit in ipairs(call.limits) do
    if not limit.fits then
      shadows[#shadows + 1] = limit.number
    end
  end
  for _, budget in ipairs(call.budgets) do
    if budget.shadow and budget.floor > budget.free then
      shadows[#shadows + 1] = budget.number
    end
  end
  return { 'granted', now, granted_nusd, limit_states(true, now), shadows }
end

local function hold(granted, now)
  local lease_end = now + call.lease_ms
  local nusd = call.hold_nusd and math.min(call.hold_nusd, granted.nusd or call.hold_nusd)
  local answer = granted_answer(now, nusd or 0)
  if call.probe then
    return answer
  end
  redis.call('SET', KEYS[1], cmsgpack.pack({
    state = 'pending', nusd = nusd, tokens = call.hold_tokens, reserved_at_ms = now, draft = draft,
    answer = answer, limits = hold_limits(lease_end, now), budgets = hold_budgets(granted),
  }))
  redis.call('ZADD', KEYS[4], integer_text(lease_end), call.request_id)
  return answer
end

local function repeated(stored)
  return cmsgpack.unpack(stored).answer or { 'unready', 'request_id_used' }
end

local function reserve(now)
  local stored = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], unpack(KEYS, FIXED_KEYS + 1, FIXED_KEYS + #call.limits))
  if stored[1] then
    return repeated(stored[1])
  elseif not stored[2] then
    return { 'unready', 'not_ready' }
  elseif tonumber(stored[3]) ~= call.policy_number then
    return { 'unready', 'stale_policy' }
  elseif not read_budgets(now) then
    return { 'unready', 'no_period' }
  end
  local granted, refusing_budget = grants()
  if not granted then
    return deny(refusing_budget, 'budget', -1, now)
  end
  read_limits(stored, now)
  local limit, retry_after_ms = refusing_limit(now)
  if limit then
    keep_rings_of_a_clock_set_back()
    return deny(limit, 'limit', retry_after_ms, now)
  end
  return hold(granted, now)
end

return reserve(now_ms())
