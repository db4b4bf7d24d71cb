#!lua flags=allow-oom
-- Ends a hold with the truth: `posted` with what the call cost, or `voided` where no provider was reached.
--
-- KEYS   1 hold, 2 leases, 3 sequence, 4 event stream, 5 those who wait; the keys of limits and budgets stand in the hold, and have its
--        hash tag
-- ARGV   1 request id, 2 posted or voided, 3 nano-USD, or "" where no price was known, 4 tokens, 5 fields of the event
--        (a JSON object), 6 how long the id is remembered, in ms, 7 when it was reserved, 8 nano-USD that were held; both
--        as the caller knows them, or "", for the event of a hold that is not here
-- Result posted | voided | adjusted (the hold had expired: the difference was posted) | duplicate (nothing was done)
--        | orphan (no hold: an event that the counters learn of when the ledger takes it; a void only leaves a tombstone)
-- Redis' memory limit does not stop it: what was used must be counted.

local request_id, kind, fields = ARGV[1], ARGV[2], ARGV[5]
local used = { nusd = tonumber(ARGV[3]) or 0, tokens = tonumber(ARGV[4]), requests = kind == 'posted' and 1 or 0 }

local function append(suffix, event_kind, hold, now, amount)
  local members = settled_members(request_id .. suffix, event_kind, redis.call('INCR', KEYS[3]), hold, now, amount)
  append_event(KEYS[4], 'usage', event_with(fields, members))
end

local function amount()
  return ARGV[3] == '' and 'null' or integer_text(ARGV[3])
end

local function post_orphan(now)
  leave_tombstone(KEYS[1], kind, ARGV[6])
  if kind == 'posted' then
    local lost = { reserved_at_ms = tonumber(ARGV[7]), nusd = tonumber(ARGV[8]), restored = true }
    append(':1', kind, lost, now, amount())
  end
  return 'orphan'
end

-- Lowers a count of the event by what the expired hold's event has counted already. `"name":` cannot stand inside a
-- JSON string, where the quote would be escaped, so the member can be replaced as text.
local function lower_count(name, counted)
  local member = '"' .. name .. '":'
  local stated = tonumber(string.match(fields, member .. '(%d+)')) or 0
  local without = string.gsub(string.gsub(fields, member .. '%d+,?', ''), ',}$', '}')
  fields = event_with(without, member .. integer_text(stated - counted))
end

local function post_late(hold, now)
  correct_limits(hold, request_id, used.tokens)
  move_budgets(hold, used, KEYS[4], now)
  lower_count('input_tokens', hold.input_tokens)
  lower_count('output_tokens', hold.output_tokens)
  append(':2', 'adjusted', hold, now, integer_text(used.nusd - (hold.nusd or 0)))
  leave_tombstone(KEYS[1], kind, ARGV[6])
  tell_waiting(KEYS[5])
  return 'adjusted'
end

local function post_in_time(hold, now)
  correct_limits(hold, request_id, used.tokens)
  move_budgets(hold, used, KEYS[4], now)
  append(':1', kind, hold, now, amount())
  redis.call('ZREM', KEYS[2], request_id)
  leave_tombstone(KEYS[1], kind, ARGV[6])
  tell_waiting(KEYS[5])
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
