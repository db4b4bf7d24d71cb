#!lua flags=allow-oom
-- Counts what the ledger has taken and the counters have not, because Redis had lost the call's hold.
--
-- KEYS   1 the event's mark, 2 event stream; then one a budget: its period
-- ARGV   1 how long the mark is kept, in ms; then one a budget: the difference in its unit
-- Result 1, or 0 where the event has been counted before
-- A budget without a cap here is left alone: its period is set to the ledger's sum when it is made.

if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then
  return 0
end
for number = 3, #KEYS do
  if redis.call('HEXISTS', KEYS[number], 'cap') == 1 then
    redis.call('HINCRBY', KEYS[number], 'spent', integer_text(ARGV[number - 1]))
    fire_thresholds(KEYS[number], KEYS[2], now_ms(), false)
  end
end
return 1
