#!lua
-- Notes how a call at a deployment has ended. A failure marks it; a success of a call that was let pass after the last
-- failure takes the mark away. What was let pass before has seen the deployment as it was then: its failure makes no
-- mark longer but by what the provider asks for, and its success ends none. Within one millisecond nobody can tell
-- before from after: then a failure adds nothing, and a success counts, for only calls that were let pass in spite of
-- a mark are reported as successes (`metering.py`).
--
-- KEYS   1 marks (see failing.lua)
-- ARGV   1 deployment, 2 failed, succeeded, or neither, which ends a trial without a result, 3 request id, 4 when it was
--        reserved, in Unix ms; of a failure, 5 for how long the deployment is to be passed over, in ms, or "" for a time
--        that doubles with each failure in a row, 6 its status
-- Result 1 where a mark was made, or taken away, or had one more failure added; else 0

local FIRST_MS, LONGEST_MS = 1000, 60000
-- So that what concerns a deployment that is no more goes away in the end.
local KEPT_MS = 604800000

local deployment, kind, request_id, reserved_at_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local function write(mark)
  redis.call('HSET', KEYS[1], deployment, cmsgpack.pack(mark))
  redis.call('PEXPIRE', KEYS[1], KEPT_MS)
end

local function backoff_ms(failures)
  return math.min(LONGEST_MS, FIRST_MS * 2 ^ math.min(failures - 1, 10))
end

local function end_trial(mark)
  if mark.trial == request_id then
    mark.trial, mark.trial_until_ms = nil, nil
  end
end

local function fail(mark, is_news, now)
  local asked_ms = tonumber(ARGV[5])
  if is_news then
    mark.marked_at_ms, mark.failures = now, mark.failures + 1
  end
  mark.until_ms = math.max(mark.until_ms, now + (asked_ms or is_news and backoff_ms(mark.failures) or 0))
  mark.status = tonumber(ARGV[6])
  end_trial(mark)
  write(mark)
  return is_news and 1 or 0
end

local function end_call(now)
  local mark = read_mark(redis.call('HGET', KEYS[1], deployment))
  local is_news = not mark or reserved_at_ms > mark.marked_at_ms
  if kind == 'failed' then
    return fail(mark or { since_ms = now, failures = 0, until_ms = 0 }, is_news, now)
  elseif not mark then
    return 0
  elseif kind == 'succeeded' and reserved_at_ms >= mark.marked_at_ms then
    return redis.call('HDEL', KEYS[1], deployment)
  end
  end_trial(mark)
  write(mark)
  return 0
end

return end_call(now_ms())
