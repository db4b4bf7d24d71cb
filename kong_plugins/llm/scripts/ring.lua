-- Fragment. A sliding window as a ring of 61 slices, each a sixtieth of the window long.
--
-- The window that ends now overlaps 61 slices, the oldest only partly; it counts whole, so no window of that length
-- ever admits more than the limit, and 60/61 of the limit is reached in steady state. The hash holds `head` (the
-- newest slice's index), `total` (over the whole ring) and one field a slot; slice i lies in slot i mod 61.
local SLICES = 60
local SLOTS = SLICES + 1

local function ring_slot(index)
  return 's' .. integer_text(index % SLOTS)
end

-- What is still inside the window that ends now: its head and total, the newest slice that was counted in, and the
-- slots whose slices have left the window. Changes nothing.
local function ring_read(key, window_ms, now)
  local stored = redis.call('HMGET', key, 'head', 'total')
  local head, total = tonumber(stored[1]), tonumber(stored[2]) or 0
  local index = math.floor(now * SLICES / window_ms)
  if not head then
    return { head = index, newest = index, total = 0, expired = {} }
  end
  -- A clock that was set back does not open slices that are already in use.
  index = math.max(index, head)
  local expired = {}
  for opened = head + 1, math.min(index, head + SLOTS) do
    expired[#expired + 1] = ring_slot(opened)
  end
  if #expired == SLOTS then
    total = 0
  elseif #expired > 0 then
    for _, count in ipairs(redis.call('HMGET', key, unpack(expired))) do
      total = total - (tonumber(count) or 0)
    end
  end
  return { head = index, newest = head, total = total, expired = expired }
end

local function ring_add(key, window_ms, ring, cost)
  if #ring.expired > 0 then
    redis.call('HDEL', key, unpack(ring.expired))
  end
  redis.call('HINCRBY', key, ring_slot(ring.head), integer_text(cost))
  redis.call('HSET', key, 'head', integer_text(ring.head), 'total', integer_text(ring.total + cost))
  redis.call('PEXPIRE', key, integer_text(window_ms * 2))
end

-- Corrects what was counted in slice `index`, if that slice has not left the ring.
local function ring_correct(key, index, difference)
  local head = tonumber(redis.call('HGET', key, 'head'))
  if head and difference ~= 0 and index > head - SLOTS then
    redis.call('HINCRBY', key, ring_slot(index), integer_text(difference))
    redis.call('HINCRBY', key, 'total', integer_text(difference))
  end
end

-- In how many milliseconds `needed` will have left the window, if nothing is refunded meanwhile.
local function ring_wait_ms(key, window_ms, ring, needed, now)
  local freed = 0
  for index = ring.head - SLICES, ring.newest do
    freed = freed + (tonumber(redis.call('HGET', key, ring_slot(index))) or 0)
    if freed >= needed then
      return math.max(1, math.ceil((index + SLOTS) * window_ms / SLICES - now))
    end
  end
  return window_ms
end
