-- Fragment. A sliding window as a ring of 61 slices, each a sixtieth of the window long.
--
-- The window that ends now overlaps 61 slices, the oldest only partly. That one counts whole, so no window ever admits
-- more than the limit, and 60/61 of it is reached in steady state.
--
-- One string of 64 doubles: the newest slice that was counted in, the total over the ring, the drift, and the slots;
-- slice i lies in slot i mod 61. The drift is what must be added to the clock's slice so that slices never go back:
-- where the clock is set back, ages stay what they were, and nothing is admitted twice or locked out.
local SLICES, SLOTS = 60, 61
local HEADER, NUMBER = '<ddd', '<d'
local HEADER_BYTES, NUMBER_BYTES = 24, 8
local EMPTY_SLOT = string.rep('\0', NUMBER_BYTES)
local EMPTY_SLOTS = string.rep(EMPTY_SLOT, SLOTS)

-- Where in a string of slots a slice begins, from 0.
local function ring_offset(slice)
  return slice % SLOTS * NUMBER_BYTES
end

local function ring_count(slots, slice)
  return (struct.unpack(NUMBER, slots, ring_offset(slice) + 1))
end

local function ring_with(slots, slice, number)
  local at = ring_offset(slice)
  return table.concat({
    string.sub(slots, 1, at), number == 0 and EMPTY_SLOT or struct.pack(NUMBER, number),
    string.sub(slots, at + NUMBER_BYTES + 1),
  })
end

-- Moves a ring on to `slice`: what its slots then hold, and their total.
local function ring_advanced(slots, total, newest, slice)
  if slice - newest >= SLOTS then
    return EMPTY_SLOTS, 0
  end
  for opened = newest + 1, slice do
    total = total - ring_count(slots, opened)
    slots = ring_with(slots, opened, 0)
  end
  return slots, total
end

-- The ring as it stands now, from what is stored (false if nothing is). Changes nothing.
local function ring_read(stored, window_ms, now)
  local clock_slice = math.floor(now * SLICES / window_ms)
  if not stored then
    return { window_ms = window_ms, slice = clock_slice, drift = 0, total = 0, slots = EMPTY_SLOTS }
  end
  local newest, total, drift = struct.unpack(HEADER, stored)
  local slice = math.max(newest, clock_slice + drift)
  local slots = string.sub(stored, HEADER_BYTES + 1)
  if slice > newest then
    slots, total = ring_advanced(slots, total, newest, slice)
  end
  local was_set_back = clock_slice + drift < newest
  return {
    window_ms = window_ms, slice = slice, drift = slice - clock_slice, total = total, slots = slots,
    was_set_back = was_set_back,
  }
end

-- Counts `cost` in the newest slice. A cost of 0 keeps what was read, its drift above all.
local function ring_add(key, ring, cost)
  local slots = ring_with(ring.slots, ring.slice, ring_count(ring.slots, ring.slice) + cost)
  local header = struct.pack(HEADER, ring.slice, ring.total + cost, ring.drift)
  redis.call('SET', key, table.concat({ header, slots }), 'PX', integer_text(ring.window_ms * 2))
end

-- Corrects what was counted in a slice, if that slice has not left the ring.
local function ring_correct(key, slice, difference)
  local stored = redis.call('GET', key)
  if not stored or difference == 0 then
    return
  end
  local newest, total, drift = struct.unpack(HEADER, stored)
  if slice <= newest - SLOTS or slice > newest then
    return
  end
  local slots = string.sub(stored, HEADER_BYTES + 1)
  local counted = ring_count(slots, slice)
  local corrected = math.max(0, counted + difference)
  local header = struct.pack(HEADER, newest, total + corrected - counted, drift)
  redis.call('SET', key, table.concat({ header, ring_with(slots, slice, corrected) }), 'KEEPTTL')
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
