#!lua flags=allow-oom
-- Counts what the ledger has taken and the counters have not, because Redis had lost the call's hold.
--
-- KEYS   1 the event's mark, 2 event stream; then one a counter: its budget's period
-- ARGV   1 how long the mark is kept, in ms; then three a counter: its field, the difference in the budget's unit, and
--        until when the period is kept, in Unix ms, or "" for good
-- Result 1, or 0 where the event has been counted before

if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then
  return 0
end
for number = 3, #KEYS do
  local key, first = KEYS[number], 3 * number - 7
  redis.call('HINCRBY', key, ARGV[first], integer_text(ARGV[first + 1]))
  if ARGV[first + 2] ~= '' then
    redis.call('PEXPIREAT', key, ARGV[first + 2])
  end
  if ARGV[first] == 'spent' then
    fire_thresholds(key, KEYS[2], now_ms(), false)
  end
end
return 1
