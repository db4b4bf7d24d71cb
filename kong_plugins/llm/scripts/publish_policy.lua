#!lua flags=allow-oom
-- Puts a policy document in force. Its number decides: gateways see it change inside their next reservation.
--
-- KEYS   1 policy number, 2 policy document
-- ARGV   1 number, 2 the document as JSON
-- Result 1, or 0 where a newer document, or another one of this number, is in force already

local known = tonumber(redis.call('GET', KEYS[1]))
local document = redis.call('GET', KEYS[2])
if known and document and (known > tonumber(ARGV[1]) or known == tonumber(ARGV[1]) and document ~= ARGV[2]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], ARGV[1])
return 1
