-- Fragment. Threshold events of a budget's period, each percentage once.
--
-- The period's hash holds `thresholds` ("50,75,90"), `fired` (those already reported, ",50,75,") and `identity`, the
-- beginning of the event's JSON up to and into its id, so that names need no escaping here.

-- Reports every percentage that `spent` has reached; a refusal by the budget reaches 100 whatever was spent.
local function fire_thresholds(key, stream, now, refused)
  local stored = redis.call('HMGET', key, 'cap', 'each_cap', 'extensions', 'spent', 'thresholds', 'fired', 'identity')
  local cap, spent, fired = cap_of(stored, now), tonumber(stored[4]) or 0, stored[6] or ','
  if not cap then
    return
  end
  for percent in string.gmatch(stored[5] or '', '%d+') do
    local is_reached = spent > 0 and spent >= share_of(cap, tonumber(percent))
    if (is_reached or refused and percent == '100') and not string.find(fired, ',' .. percent .. ',', 1, true) then
      fired = fired .. percent .. ','
      redis.call('HSET', key, 'fired', fired)
      append_event(stream, 'threshold', table.concat({
        stored[7], percent, '","percent":', percent, ',"cap":', integer_text(cap), ',"spent":', integer_text(spent),
        ',"crossed_at_ms":', integer_text(now), '}',
      }))
    end
  end
end
