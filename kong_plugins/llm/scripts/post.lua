#!lua flags=allow-oom
-- Ends a hold with the truth: `posted` with what the call cost, or `voided` where no provider was reached.
--
-- KEYS  1 hold, 2 leases, 3 sequence, 4 event stream; the keys of limits and budgets stand in the hold and have its
--       hash tag
-- ARGV  1 request id, 2 posted or voided, 3 nano-USD, or "" where no price was known, 4 tokens, 5 fields of the event
--       (a JSON object), 6 how long the id is remembered, in ms
-- Result posted | voided | adjusted (the hold had expired: the difference was posted) | duplicate (nothing was done)
--        | orphan (no hold: an event without counters; a void only leaves a tombstone)
-- Redis' memory limit does not stop it: what was used must be counted.

local request_id, kind = ARGV[1], ARGV[2]

local function used()
  if kind == 'voided' then
    return { nusd = 0, tokens = 0, requests = 0 }
  end
  return { nusd = tonumber(ARGV[3]) or 0, tokens = tonumber(ARGV[4]), requests = 1 }
end

local function append(number, event_kind, hold, now, amount_text)
  local sequence = redis.call('INCR', KEYS[3])
  local members = settled_members(request_id .. ':' .. number, event_kind, sequence, hold, now, amount_text)
  append_event(KEYS[4], 'usage', event_with(ARGV[5], members))
end

local function amount_text()
  return kind == 'voided' and '0' or ARGV[3] == '' and 'null' or integer_text(ARGV[3])
end

local function post_orphan(now)
  leave_tombstone(KEYS[1], kind, ARGV[6])
  if kind == 'posted' then
    append(1, kind, { nusd = '0', reserved_at = integer_text(now) }, now, amount_text())
  end
  return 'orphan'
end

local function post_late(hold, now)
  move_budgets(hold, used(), true, KEYS[4], now)
  append(2, 'adjusted', hold, now, integer_text(used().nusd - hold.nusd))
  leave_tombstone(KEYS[1], kind, ARGV[6])
  return 'adjusted'
end

local function post_in_time(hold, now)
  correct_limits(hold, request_id, used().tokens)
  move_budgets(hold, used(), false, KEYS[4], now)
  append(1, kind, hold, now, amount_text())
  redis.call('ZREM', KEYS[2], request_id)
  leave_tombstone(KEYS[1], kind, ARGV[6])
  return kind
end

local hold = read_hold(KEYS[1])
if not hold.state then
  return post_orphan(now_ms())
elseif hold.state == 'pending' then
  return post_in_time(hold, now_ms())
elseif hold.state == 'expired' then
  return post_late(hold, now_ms())
end
return 'duplicate'
