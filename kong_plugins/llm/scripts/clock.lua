-- Fragment. The clock of every decision: Redis' own, in Unix milliseconds, so that edge clocks do not matter.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
