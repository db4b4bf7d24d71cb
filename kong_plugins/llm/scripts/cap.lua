-- Fragment. The cap of a budget's period as it counts at an instant.
--
-- The period's hash holds `cap`; where none has been set for the subject, `each_cap`, which the policy gives to each
-- subject by itself; and `extensions` ("amount:until_ms,…"), which add to it until then.

-- `stored` is {cap, each_cap, extensions} as HMGET gives them; nil where there is neither cap nor each_cap.
local function cap_of(stored, now)
  local cap = tonumber(stored[1] or stored[2])
  if cap and stored[3] then
    for amount, until_ms in string.gmatch(stored[3], '(%d+):(%d+)') do
      cap = cap + (now < tonumber(until_ms) and tonumber(amount) or 0)
    end
  end
  return cap
end

-- The least amount that is `percent` of the cap. In two steps, because cap * percent would lose digits.
local function share_of(cap, percent)
  local hundredth = math.floor(cap / 100)
  return hundredth * percent + math.ceil((cap - hundredth * 100) * percent / 100)
end

-- The most that is not above `percent` of the cap.
local function part_of(cap, percent)
  local hundredth = math.floor(cap / 100)
  return hundredth * percent + math.floor((cap - hundredth * 100) * percent / 100)
end
