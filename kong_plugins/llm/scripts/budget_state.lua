#!lua flags=no-writes
-- How one budget stands for one subject in one period.
--
-- KEYS   1 the period
-- ARGV   1 a tier, of whose share spent and held are told, or "", 2 the cap of a subject for which none has been set, or
--        "" where the policy at hand does not say
-- Result {cap in force, spent, held}, or nil where there is no cap

local suffix = ARGV[1] == '' and '' or ':' .. ARGV[1]
local stored = redis.call('HMGET', KEYS[1], 'cap', 'each_cap', 'extensions', 'spent' .. suffix, 'held' .. suffix)
stored[2] = ARGV[2] ~= '' and ARGV[2] or stored[2]
local cap = cap_of(stored, now_ms())
return cap and { cap, tonumber(stored[4]) or 0, tonumber(stored[5]) or 0 }
