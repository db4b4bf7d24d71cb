-- Fragment. How a hold ends: its money moves from held to spent in every budget, its tokens are put right in every
-- limit, and the event of it is appended, all in the one script that calls this.

local function correct_limits(hold, request_id, tokens)
  for _, limit in ipairs(cmsgpack.unpack(hold.limits)) do
    local key, unit, cost, slice = limit[1], limit[2], limit[3], limit[4]
    if unit == 'concurrency' then
      redis.call('ZREM', key, request_id)
    elseif unit == 'tokens' then
      ring_correct(key, slice, tokens - cost)
    end
  end
end

-- Moves each budget by what was used: {nusd, tokens, requests}. `counted` says that the hold was already posted in
-- full, so that only the difference is due.
local function move_budgets(hold, used, counted, stream, now)
  for _, budget in ipairs(cmsgpack.unpack(hold.budgets)) do
    local key, unit, cost = budget[1], budget[2], budget[3]
    if counted then
      redis.call('HINCRBY', key, 'spent', integer_text(used[unit] - cost))
    else
      redis.call('HINCRBY', key, 'held', integer_text(-cost))
      redis.call('HINCRBY', key, 'spent', integer_text(used[unit]))
    end
    fire_thresholds(key, stream, now)
  end
end

-- The members of an event that only Redis knows. `amount_text` is "null" where no price was known.
local function settled_members(id, kind, sequence, hold, now, amount_text)
  return table.concat({
    '"id":"', id, '","kind":"', kind, '","seq":', integer_text(sequence), ',"reserved_at_ms":', hold.reserved_at,
    ',"posted_at_ms":', integer_text(now), ',"hold_nusd":', hold.nusd, ',"amount_nusd":', amount_text,
  })
end

local function read_hold(key)
  local stored = redis.call('HMGET', key, 'state', 'nusd', 'reserved_at', 'draft', 'limits', 'budgets')
  return {
    state = stored[1], nusd = stored[2], reserved_at = stored[3], draft = stored[4],
    limits = stored[5], budgets = stored[6],
  }
end

-- What remains of a resolved hold is its state, so that a repeat of its id is known for a while.
local function leave_tombstone(key, state, keep_ms)
  redis.call('DEL', key)
  redis.call('HSET', key, 'state', state)
  redis.call('PEXPIRE', key, keep_ms)
end
