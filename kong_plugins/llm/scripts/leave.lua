#!lua flags=allow-oom
-- Takes a call out of the line in which it waits.
--
-- KEYS   1 those who wait
-- ARGV   1 request id
-- Result 1

leave_line(KEYS[1], ARGV[1])
return 1
