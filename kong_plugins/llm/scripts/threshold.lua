-- Fragment. Threshold events of a budget's period, each percentage once.
--
-- The period's hash holds `thresholds` ("50,75,90"), `identity` (the beginning of the event's JSON, up to and into
-- its id, so that names need no escaping here), and one field `fired:<percent>` for each that has been reported.

local function fire_threshold(key, stream, percent, cap, spent, now)
  if redis.call('HSETNX', key, 'fired:' .. percent, integer_text(now)) == 0 then
    return
  end
  append_event(stream, 'threshold', table.concat({
    redis.call('HGET', key, 'identity'), percent, '","percent":', percent, ',"cap":', integer_text(cap),
    ',"spent":', integer_text(spent), ',"crossed_at_ms":', integer_text(now), '}',
  }))
end

-- Reports every percentage of the cap that `spent` has reached. A cap of 0 is reached by its first refusal only.
local function fire_thresholds(key, stream, now)
  local stored = redis.call('HMGET', key, 'cap', 'spent', 'thresholds')
  local cap, spent = tonumber(stored[1]), tonumber(stored[2]) or 0
  if not cap or cap == 0 or spent == 0 then
    return
  end
  for percent in string.gmatch(stored[3] or '', '%d+') do
    if spent >= cap * (tonumber(percent) / 100) then
      fire_threshold(key, stream, percent, cap, spent, now)
    end
  end
end
