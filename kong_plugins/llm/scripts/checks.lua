-- Fragment of reserve.lua, whose KEYS and ARGV it reads: the call, and how the limits and budgets stand that it falls
-- under. Changes nothing.

local FIXED_KEYS = 10
local ASK_AGAIN_MS = 1000
local call, draft = cmsgpack.unpack(ARGV[1]), ARGV[2]

-- Which of a budget's two periods holds this instant, and its key; nil where neither does.
local function period_of(number, budget, now)
  local first = FIXED_KEYS + #call.limits + 2 * number - 1
  for following, period in ipairs({ budget.current, budget.following }) do
    if period.start_ms <= now and now < period.end_ms then
      return period, KEYS[first + following - 1]
    end
  end
  return nil
end

-- Fills in how each budget stands, or the share of it that is the tier's; false where a period is missing.
local function read_budgets(now)
  for number, budget in ipairs(call.budgets) do
    budget.number = #call.limits + number
    budget.period, budget.key = period_of(number, budget, now)
    if not budget.key then
      return false
    end
    local suffix = budget.tier and ':' .. budget.tier or ''
    local stored = redis.call('HMGET', budget.key, 'cap', 'each_cap', 'extensions', 'spent' .. suffix, 'held' .. suffix)
    stored[2] = budget.each_cap
    budget.cap = cap_of(stored, now)
    if not budget.cap then
      return false
    end
    budget.cap = budget.tier and part_of(budget.cap, budget.share_percent) or budget.cap
    budget.held = tonumber(stored[5]) or 0
    budget.free = budget.cap - (tonumber(stored[4]) or 0) - budget.held
  end
  return true
end

-- Whether a budget is used up so far that the call had better go to another candidate.
local function degrades(budget)
  local percent = not call.is_last and budget.refuses and budget.degrade_at_percent
  return percent and budget.cap - budget.free >= share_of(budget.cap, percent)
end

-- How much a budget lets the call have; nil where it refuses. What costs nothing it lets pass, also when it is overdrawn.
-- While others hold some of it, a partial grant takes at
-- most half of what is free above the floor, so that they get some too.
local function grant_of(budget)
  if not budget.refuses or budget.cost == 0 or budget.cost <= budget.free then
    return budget.cost
  elseif budget.floor > budget.free then
    return nil
  end
  local above_floor = budget.free - budget.floor
  return budget.floor + (budget.held > 0 and math.floor(above_floor / 2) or above_floor)
end

-- The least that all budgets of a unit grant, by unit; and the budgets that refuse.
local function grants()
  local granted, refusing = {}, {}
  for _, budget in ipairs(call.budgets) do
    local grant = not degrades(budget) and grant_of(budget)
    if grant then
      granted[budget.unit] = math.min(granted[budget.unit] or grant, grant)
    else
      refusing[#refusing + 1] = budget
    end
  end
  return granted, refusing
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
    return ASK_AGAIN_MS
  end
  return ring_wait_ms(limit.ring, limit.used + limit.cost - limit.amount, now)
end

local function refusing_limits()
  local refusing = {}
  for _, limit in ipairs(call.limits) do
    if not limit.fits and not limit.shadow then
      refusing[#refusing + 1] = limit
    end
  end
  return refusing
end

-- Of limits that refuse, the one that the call has to wait for longest, and how long; -1 for never.
local function slowest(limits, now)
  local found, longest_ms = nil, 0
  for _, limit in ipairs(limits) do
    local limit_wait_ms = wait_ms(limit, now)
    if limit_wait_ms < 0 then
      return limit, limit_wait_ms
    elseif limit_wait_ms > longest_ms then
      found, longest_ms = limit, limit_wait_ms
    end
  end
  return found, longest_ms
end

-- What would have refused the call, were it not in shadow mode.
local function shadows()
  local found = {}
  for _, limit in ipairs(call.limits) do
    if not limit.fits then
      found[#found + 1] = limit
    end
  end
  for _, budget in ipairs(call.budgets) do
    if budget.shadow and budget.cost > 0 and budget.floor > budget.free then
      found[#found + 1] = budget
    end
  end
  return found
end

-- The mark of the call's deployment, nil where it has none, and whether one of the candidates that would be tried after
-- it is not passed over.
local function read_marks(now)
  if not call.deployment then
    return nil, false
  end
  local stored = redis.call('HMGET', KEYS[10], call.deployment, unpack(call.others))
  local has_other = false
  for number = 2, #call.others + 1 do
    local mark = read_mark(stored[number])
    has_other = has_other or not (mark and is_passed_over(mark, now))
  end
  return read_mark(stored[1]), has_other
end
