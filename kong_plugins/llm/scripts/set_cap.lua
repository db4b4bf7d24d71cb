#!lua flags=allow-oom
-- Sets the cap of one budget for one subject in one period, and creates the period where it is new.
--
-- KEYS   1 the period, 2 event stream, 3 those who wait
-- ARGV   1 cap, 2 version, 3 thresholds ("50,75,90"), 4 identity (see threshold.lua),
--        5 extensions (see cap.lua)
-- Result 1, or 0 where a newer version is there already

local known = tonumber(redis.call('HGET', KEYS[1], 'version'))
if known and known > tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'cap', ARGV[1], 'version', ARGV[2], 'thresholds', ARGV[3], 'identity', ARGV[4],
  'extensions', ARGV[5])
redis.call('HSETNX', KEYS[1], 'spent', '0')
redis.call('HSETNX', KEYS[1], 'held', '0')
fire_thresholds(KEYS[1], KEYS[2], now_ms(), false)
tell_waiting(KEYS[3])
return 1
