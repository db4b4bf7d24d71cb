#!lua
-- Holds what one call may use against every limit and budget at once, or changes nothing but the refusal's event.
-- Everything is read and checked first; after that come only writes that cannot fail.
--
-- KEYS   1 hold, 2 readiness epoch, 3 policy number, 4 leases, 5 sequence, 6 event stream, 7 refusals of this second,
--        8 those who wait, 9 prefix of the counts of refusals, 10 marks of deployments that are failing; then one a
--        limit; then two a budget: the current period and the following one
-- ARGV   1 the Reservation of limits.py as MessagePack, without its draft, 2 its draft, 3 how many refusals a second are
--        written as events, 4 how long a written refusal is remembered, in ms, 5 how long the counts of refusals are
--        kept, in ms, 6 how long the period of a subject without a cap of its own is kept after its end, in ms
-- Result {'granted', reserved_at_ms, granted nano-USD, {remaining and reset_ms of each limit}, {checks that only a
--        shadow lets pass}, 1 where the deployment is marked, or 0, 1 where another candidate could be tried, or 0}
--        {'failing'}: the call would fit, but its deployment is passed over, as another candidate is not
--        {'denied', number of the check, retry_after_ms, or -1 where waiting is no help (of a budget that others only
--        wait for, it is), {remaining and reset_ms of
--        each limit, where a limit refuses}}
--        {'waiting', number of the check, place in line, in how many ms to ask again at the latest}
--        {'unready', reason}
--        A probe gets the answer that the call would get now, and nothing at all is written.
--        Checks count from 1, limits before budgets. A repeated id gets its first answer again while its hold is open,
--        or its refusal remembered; one that has been resolved is refused. A call that waits repeats its id with the
--        place that it was told.
--        Of a call that `is_last` is false, another candidate is tried next: its refusal is no event, and it waits in
--        no line.

local HOUR_MS = 3600000
-- Mostly nobody does, and then no line has to be looked at.
local is_anybody_waiting = redis.call('EXISTS', KEYS[8]) == 1

-- Also a call without a place may stand in a line: its first answer may have been lost.
local function leave()
  if is_anybody_waiting then
    leave_line(KEYS[8], call.request_id)
  end
end

-- Until when the call may stand in a check's line; 0 where it may not. How long it has waited, its gateway knows: by a
-- clock that nobody can set.
local function may_wait_until_ms(check, now)
  if not call.may_wait or not call.is_last then
    return 0
  end
  local queue_ms = check.queue_ms or 0
  return now + math.min(queue_ms, call.patience_ms or queue_ms) - call.waited_ms
end

-- Whether waiting for a budget could help: others hold enough of it, or its period ends in time.
local function is_budget_worth_waiting(budget, now)
  local until_ms = may_wait_until_ms(budget, now)
  return now < until_ms and (budget.free + budget.held >= budget.floor or budget.period.end_ms <= until_ms)
end

-- Whether waiting for a limit could help. A request stays counted, so when one more fits is certain; tokens and slots
-- can come back at any time.
local function is_limit_worth_waiting(limit, now)
  local until_ms, limit_wait_ms = may_wait_until_ms(limit, now), wait_ms(limit, now)
  return now < until_ms and limit_wait_ms >= 0 and (limit.unit ~= 'requests' or now + limit_wait_ms <= until_ms)
end

-- The checks that would let the call pass, but have another one standing before it in their line.
local function preceding(refusing, now)
  local found, is_refusing = {}, {}
  if not is_anybody_waiting then
    return found
  end
  for _, check in ipairs(refusing) do
    is_refusing[check] = true
  end
  local place = call.place or end_of_tier(call.tier)
  for _, checks in ipairs({ call.limits, call.budgets }) do
    for _, check in ipairs(checks) do
      if check.queue_ms and not is_refusing[check]
        and is_preceded(KEYS[8], line_key(KEYS[8], check), place, call.request_id, now) then
        found[#found + 1] = check
      end
    end
  end
  return found
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

-- Of refusals that are not written, there is a count for each hour, team and scope.
local function count_unwritten(check, now)
  local counts = KEYS[9] .. ':' .. integer_text(now - now % HOUR_MS)
  redis.call('HINCRBY', counts, cjson.decode(draft).team .. '|' .. check.scope_name, 1)
  redis.call('PEXPIRE', counts, ARGV[5])
end

-- A refusal that is written is remembered too: no later answer may contradict its event.
local function write_refusal(check, answer, now)
  if not is_written() then
    return count_unwritten(check, now)
  end
  local members = settled_members(call.request_id .. ':1', 'refused', redis.call('INCR', KEYS[5]), {}, now, '0')
  append_event(KEYS[6], 'usage', event_with(draft, table.concat({
    '"outcome":"', check.window_ms and 'limit' or 'budget', '","refusing_scope":', cjson.encode(check.scope_name), ',',
    members,
  })))
  redis.call('SET', KEYS[1], cmsgpack.pack({ state = 'denied', answer = answer }), 'PX', ARGV[4])
end

-- A subject that nobody knew beforehand gets its period with the first call that is decided on.
local function keep_period(budget, now)
  local identity = budget.identities[budget.period == budget.current and 1 or 2]
  redis.call('HSET', budget.key, 'each_cap', integer_text(budget.each_cap), 'thresholds', budget.thresholds,
    'identity', identity)
  redis.call('PEXPIRE', budget.key, integer_text(budget.period.end_ms - now + ARGV[6]))
end

local function deny(check, retry_after_ms, now)
  local answer = { 'denied', check.number, retry_after_ms, check.window_ms and limit_states(false, now) or {} }
  if call.probe then
    return answer
  end
  keep_rings_of_a_clock_set_back()
  if call.is_last then
    write_refusal(check, answer, now)
    leave()
  end
  if check.period and not check.tier and check.floor > check.free then
    if check.each_cap then
      keep_period(check, now)
    end
    fire_thresholds(check.key, KEYS[6], now, true)
  end
  return answer
end

local function wait(refusing, retry_after_ms, now)
  local check = narrowest(refusing)
  local line = line_key(KEYS[8], check)
  local place = call.place or last_place(line, call.tier, now)
  if not call.probe then
    keep_rings_of_a_clock_set_back()
    stand_in(KEYS[8], line, place, call.request_id, now)
  end
  return { 'waiting', check.number, place, math.min(retry_after_ms, ASK_AGAIN_MS) }
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

local function hold_budgets(granted, now)
  local held = {}
  for number, budget in ipairs(call.budgets) do
    local cost = granted[budget.unit]
    redis.call('HINCRBY', budget.key, budget.tier and 'held:' .. budget.tier or 'held', integer_text(cost))
    held[number] = { key = budget.key, unit = budget.unit, cost = cost, tier = budget.tier }
    if budget.each_cap and not budget.tier then
      keep_period(budget, now)
    end
  end
  return held
end

-- Of a call that is only observed, no money and no tokens are held. That it is made counts at once, as of any other.
local function hold_less(granted)
  granted.nusd, granted.tokens = 0, 0
  for _, limit in ipairs(call.limits) do
    limit.cost = limit.unit == 'tokens' and 0 or limit.cost
  end
end

local function draft_with(shadow_checks)
  if #shadow_checks == 0 then
    return draft
  end
  local names = {}
  for number, check in ipairs(shadow_checks) do
    names[number] = check.scope_name
  end
  return event_with(draft, '"shadow_refusals":' .. cjson.encode(names))
end

local function granted_answer(now, granted_nusd, shadow_checks, mark, has_other)
  local numbers = {}
  for number, check in ipairs(shadow_checks) do
    numbers[number] = check.number
  end
  return { 'granted', now, granted_nusd, limit_states(true, now), numbers, mark and 1 or 0, has_other and 1 or 0 }
end

-- The first call after a mark's time tries the deployment for all others.
local function begin_trial(mark, now)
  mark.trial, mark.trial_until_ms = call.request_id, now + TRIAL_MS
  redis.call('HSET', KEYS[10], call.deployment, cmsgpack.pack(mark))
end

local function hold(granted, mark, has_other, now)
  local lease_end = now + call.lease_ms
  local nusd = call.hold_nusd and math.min(call.hold_nusd, granted.nusd or call.hold_nusd)
  local shadow_checks = shadows()
  if call.observed then
    hold_less(granted)
  end
  local answer = granted_answer(now, nusd or 0, shadow_checks, mark, has_other)
  if call.probe then
    return answer
  end
  if mark and not is_passed_over(mark, now) then
    begin_trial(mark, now)
  end
  redis.call('SET', KEYS[1], cmsgpack.pack({
    state = 'pending', nusd = nusd, tokens = call.hold_tokens, reserved_at_ms = now, draft = draft_with(shadow_checks),
    answer = answer, limits = hold_limits(lease_end, now), budgets = hold_budgets(granted, now),
  }))
  redis.call('ZADD', KEYS[4], integer_text(lease_end), call.request_id)
  leave()
  return answer
end

local function repeated(stored)
  return cmsgpack.unpack(stored).answer or { 'unready', 'request_id_used' }
end

-- The check that refuses and is not worth waiting for, and after how long it may admit the call.
local function final_refusal(refusing_budgets, limits, now)
  for _, budget in ipairs(refusing_budgets) do
    if not is_budget_worth_waiting(budget, now) then
      return budget, -1
    end
  end
  local final = {}
  for _, limit in ipairs(limits) do
    if not is_limit_worth_waiting(limit, now) then
      final[#final + 1] = limit
    end
  end
  return slowest(final, now)
end

local function decide(stored, now)
  read_limits(stored, now)
  local granted, refusing = grants()
  local limits = refusing_limits()
  local final, retry_after_ms = final_refusal(refusing, limits, now)
  if final then
    return deny(final, retry_after_ms, now)
  end
  local is_timed = #refusing == 0
  for _, limit in ipairs(limits) do
    refusing[#refusing + 1] = limit
  end
  for _, check in ipairs(preceding(refusing, now)) do
    if now >= may_wait_until_ms(check, now) then
      return deny(check, ASK_AGAIN_MS, now)
    end
    refusing[#refusing + 1], is_timed = check, false
  end
  if #refusing > 0 then
    local _, longest_ms = slowest(limits, now)
    return wait(refusing, is_timed and longest_ms or ASK_AGAIN_MS, now)
  end
  local mark, has_other = read_marks(now)
  if mark and has_other and is_passed_over(mark, now) then
    return { 'failing' }
  end
  return hold(granted, mark, has_other, now)
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
  return decide(stored, now)
end

return reserve(now_ms())
