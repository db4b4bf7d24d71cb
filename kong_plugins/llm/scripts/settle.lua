-- Fragment. How a hold ends: its money moves from held to spent in every budget, its tokens are put right in every
-- limit, and the event of it is appended, all in the one script that calls this.
--
-- A hold is one MessagePack map: `state` (pending, posted, voided, expired, denied); while pending also `nusd` (absent
-- where no price is known), `tokens`, `reserved_at_ms`, `draft`, `answer`, `limits` and `budgets` (what it counts in);
-- after it has expired, `input_tokens` and `output_tokens` are what its event said. A `restored` hold was made anew
-- after Redis had lost it: what becomes of it is counted when the ledger takes it, which may know of it already.

local function read_hold(key)
  local stored = redis.call('GET', key)
  return stored and cmsgpack.unpack(stored) or {}
end

-- What remains of a resolved hold is its state, so that a repeat of its id is known for a while.
local function leave_tombstone(key, state, keep_ms)
  redis.call('SET', key, cmsgpack.pack({ state = state }), 'PX', keep_ms)
end

-- Gives back the slot and the tokens that were not used. A request stays counted, whatever became of it.
local function correct_limits(hold, request_id, tokens)
  for _, limit in ipairs(hold.limits) do
    if limit.unit == 'concurrency' then
      redis.call('ZREM', limit.key, request_id)
    elseif limit.unit == 'tokens' then
      ring_correct(limit.key, limit.slice, tokens - limit.cost)
    end
  end
end

-- Moves each budget, or the share of a tier in it, by what was used: {nusd, tokens, requests}. An expired hold was
-- already posted in full, so only the difference is due.
local function move_budgets(hold, used, stream, now)
  for _, budget in ipairs(hold.budgets) do
    local suffix = budget.tier and ':' .. budget.tier or ''
    local difference = hold.restored and 0 or used[budget.unit]
    if hold.state ~= 'expired' then
      redis.call('HINCRBY', budget.key, 'held' .. suffix, integer_text(-budget.cost))
    elseif not hold.restored then
      difference = difference - budget.cost
    end
    redis.call('HINCRBY', budget.key, 'spent' .. suffix, integer_text(difference))
    if difference > 0 and not budget.tier then
      fire_thresholds(budget.key, stream, now, false)
    end
  end
end

-- The members of an event that only Redis knows. `amount` is the text of a number, or "null" where no price was known.
local function settled_members(id, kind, sequence, hold, now, amount)
  return table.concat({
    '"id":"', id, '","kind":"', kind, '","seq":', integer_text(sequence),
    ',"reserved_at_ms":', integer_text(hold.reserved_at_ms or now), ',"posted_at_ms":', integer_text(now),
    ',"hold_nusd":', integer_text(hold.nusd or 0), ',"amount_nusd":', amount,
    hold.restored and ',"uncounted":true' or '',
  })
end
