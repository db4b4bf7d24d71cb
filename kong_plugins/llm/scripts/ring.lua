-- Fragment. A sliding window as a ring of 61 slices, each a sixtieth of the window long.
--
-- The window that ends now overlaps 61 slices, the oldest only partly. That one counts whole, so no window ever admits
-- more than the limit, and 60/61 of it is reached in steady state.
--
-- One string of 64 doubles: the newest slice that was counted in, the total over the ring, the drift, and the slots;
-- slice i lies in slot i mod 61. The drift is what must be added to the clock's slice so that slices never go back:
-- where the clock is set back, ages stay what they were, and nothing is admitted twice or locked out.
--
-- Strings of this size are dear to make, so what is counted in the newest slice is written over in place.
local SLICES, SLOTS = 60, 61
local HEADER, NUMBER = '<ddd', '<d'
local HEADER_BYTES, NUMBER_BYTES, RING_BYTES = 24, 8, 512
local EMPTY_RING = string.rep('\0', RING_BYTES)

-- Where in a ring the slot of a slice begins, from 0.
local function ring_offset(slice)
  return HEADER_BYTES + slice % SLOTS * NUMBER_BYTES
end

local function ring_count(slots, slice)
  return (struct.unpack(NUMBER, slots, ring_offset(slice) + 1))
end

-- Empties the slots of `count` slices from `slice` on, which may go round the end of the ring.
local function ring_emptied(slots, slice, count)
  local at = ring_offset(slice)
  local bytes = math.min(count * NUMBER_BYTES, RING_BYTES - at)
  local emptied = string.sub(slots, 1, at) .. string.sub(EMPTY_RING, 1, bytes) .. string.sub(slots, at + bytes + 1)
  local left = count - bytes / NUMBER_BYTES
  return left > 0 and ring_emptied(emptied, slice + count - left, left) or emptied
end

-- Moves a ring on to `slice`: what it then holds behind its header, and the total of that.
local function ring_advanced(slots, total, newest, slice)
  if slice - newest >= SLOTS then
    return EMPTY_RING, 0
  end
  for opened = newest + 1, slice do
    total = total - ring_count(slots, opened)
  end
  return ring_emptied(slots, newest + 1, slice - newest), total
end

-- The ring as it stands now, from what is stored (false if nothing is). Changes nothing. The header of its `slots` is
-- of no account.
local function ring_read(stored, window_ms, now)
  local clock_slice = math.floor(now * SLICES / window_ms)
  if not stored then
    return { window_ms = window_ms, slice = clock_slice, drift = 0, total = 0, slots = EMPTY_RING }
  end
  local newest, total, drift = struct.unpack(HEADER, stored)
  local slice = math.max(newest, clock_slice + drift)
  local slots = stored
  if slice > newest then
    slots, total = ring_advanced(stored, total, newest, slice)
  end
  return {
    window_ms = window_ms, slice = slice, drift = slice - clock_slice, total = total, slots = slots,
    is_current = slice == newest, was_set_back = clock_slice + drift < newest,
  }
end

local function ring_write_over(key, slice, header, count)
  redis.call('SETRANGE', key, 0, header)
  redis.call('SETRANGE', key, ring_offset(slice), struct.pack(NUMBER, count))
end

-- Counts `cost` in the newest slice. A cost of 0 keeps what was read, its drift above all.
local function ring_add(key, ring, cost)
  local header = struct.pack(HEADER, ring.slice, ring.total + cost, ring.drift)
  local count = ring_count(ring.slots, ring.slice) + cost
  if ring.is_current and not ring.was_set_back then
    return ring_write_over(key, ring.slice, header, count)
  end
  local at = ring_offset(ring.slice)
  local slots = ring.slots
  redis.call('SET', key, header .. string.sub(slots, HEADER_BYTES + 1, at) .. struct.pack(NUMBER, count)
    .. string.sub(slots, at + NUMBER_BYTES + 1), 'PX', integer_text(ring.window_ms * 2))
end

-- Corrects what was counted in a slice, if that slice has not left the ring.
local function ring_correct(key, slice, difference)
  local stored = difference ~= 0 and redis.call('GET', key)
  if not stored then
    return
  end
  local newest, total, drift = struct.unpack(HEADER, stored)
  if slice <= newest - SLOTS or slice > newest then
    return
  end
  local counted = ring_count(stored, slice)
  local corrected = math.max(0, counted + difference)
  ring_write_over(key, slice, struct.pack(HEADER, newest, total + corrected - counted, drift), corrected)
end

-- In how many milliseconds a slice will have left the window.
local function ring_leaves_ms(ring, slice, now)
  return math.ceil((slice + SLOTS - ring.drift) * ring.window_ms / SLICES) - now
end

-- In how many milliseconds `needed` will have left the window, if nothing is refunded meanwhile.
local function ring_wait_ms(ring, needed, now)
  local freed = 0
  for slice = ring.slice - SLICES, ring.slice do
    freed = freed + ring_count(ring.slots, slice)
    if freed >= needed then
      return ring_leaves_ms(ring, slice, now)
    end
  end
  return ring.window_ms
end
