#!lua flags=allow-oom
-- Holds what a gateway has granted and Redis does not know of, because it has lost it, or was away. Not if the call's id
-- is known. One whose lease is over is held too, so that the next sweep posts it in full: nobody may yet have charged it.
--
-- KEYS   1 hold, 2 leases; then one a budget: its period
-- ARGV   1 request id, 2 end of the lease in ms, 3 the hold as MessagePack (see settle.lua) without its draft and its
--        budgets' keys, 4 its draft
-- Result 1, or 0 where nothing was held

if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
local hold = cmsgpack.unpack(ARGV[3])
hold.state, hold.restored, hold.draft = 'pending', true, ARGV[4]
for number, budget in ipairs(hold.budgets) do
  budget.key = KEYS[2 + number]
  redis.call('HINCRBY', budget.key, budget.tier and 'held:' .. budget.tier or 'held', integer_text(budget.cost))
end
redis.call('SET', KEYS[1], cmsgpack.pack(hold))
redis.call('ZADD', KEYS[2], integer_text(ARGV[2]), ARGV[1])
return 1
