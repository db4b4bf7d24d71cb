-- Where the events of an event stream end, in chunks that may cut anywhere: at a blank line, "\n\n" or
-- "\r\n\r\n". No provider uses a lone "\r", which the format would allow too.
-- https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

local byte = string.byte
local find = string.find
local match = string.match
local max = math.max
local sub = string.sub

local NEWLINE = byte("\n")

local event_boundary = {}


-- The last byte of a boundary that began in the chunk before, which ended in `carry`; nil if there is none.
local function straddling_end(carry, chunk)
  if carry == "\n" then
    local _, last = find(chunk, "^\r?\n")
    return last
  end
  if carry == "\n\r" and byte(chunk, 1) == NEWLINE then
    return 1
  end
  return nil
end


local function boundary_end(chunk, position)
  local _, last = find(chunk, "\n\r?\n", position)
  return last
end


-- The positions in `chunk` at which an event ends. `state.carry`, "" at first, is what an unfinished boundary
-- has so far.
function event_boundary.ends(state, chunk)
  local ends = {}
  if chunk == "" then
    return ends
  end
  local position = 1
  local last = straddling_end(state.carry, chunk) or boundary_end(chunk, position)
  while last do
    ends[#ends + 1] = last
    position = last + 1
    last = boundary_end(chunk, position)
  end
  local open = sub(chunk, max(position, #chunk - 1))
  state.carry = match(position == 1 and state.carry .. open or open, "\n\r?$") or ""
  return ends
end


return event_boundary
