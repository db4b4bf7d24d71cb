#!lua flags=no-writes
-- What one budget has spent in a period that is over, once nothing of it is held any more.
--
-- KEYS   1 the period, 2 readiness epoch
-- ARGV   1 the period's end in ms
-- Result {spent}, {} where Redis knows no such period, or nil while it goes on, calls of it do, or counters are being
--        rebuilt

local stored = redis.call('HMGET', KEYS[1], 'cap', 'spent', 'held')
if redis.call('EXISTS', KEYS[2]) == 0 or now_ms() < tonumber(ARGV[1]) or (tonumber(stored[3]) or 0) > 0 then
  return nil
end
return stored[1] and { tonumber(stored[2]) or 0 } or {}
