#!lua flags=allow-oom
-- Replaces a key's record by one of the same or a newer version.
--
-- KEYS   1 the record
-- ARGV   1 version, 2 the record as JSON
-- Result 1, or 0 where a newer version is there already

local known = redis.call('GET', KEYS[1])
if known and cjson.decode(known).version > tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
