-- What the meter gets to see of an answer: its first and last bytes, how much came and when. Plain data, because
-- it lies in kong.ctx.shared. Pieces are kept in lists and joined once, in the log phase.

local ngx = ngx
local concat = table.concat
local find = string.find
local sub = string.sub

local HEAD_BYTES = 4096
local TAIL_BYTES = 16384

local tap = {}


-- `deadline_at_ms` is nil where an answer may take as long as it does.
function tap.new(deadline_at_ms)
  return {
    deadline_at_ms = deadline_at_ms,
    from_service = false,
    is_event_stream = false,
    boundary = { carry = "" },
    content_type = "",
    content_encoding = "",
    headers = {},
    bytes = 0,
    events = 0,
    complete = false,
    ended_at_deadline = false,
    head_pieces = {},
    head_bytes = 0,
    tail_pieces = {},
    tail_bytes = 0,
    tail_first = 1,
    tail_last = 0,
  }
end


local function first_value(value)
  if type(value) == "table" then
    value = value[1]
  end
  return value or ""
end


-- The provider has answered; `answer` is the headers of its answer, of which `wanted` names those that the meter reads.
function tap.begin(state, answer, wanted)
  state.from_service = true
  state.content_type = first_value(answer["content-type"])
  state.content_encoding = first_value(answer["content-encoding"])
  state.is_event_stream = find(state.content_type, "^%s*text/event%-stream") ~= nil
  for _, name in ipairs(wanted) do
    state.headers[name] = answer[name] and first_value(answer[name])
  end
end


local function keep_head(state, chunk)
  local room = HEAD_BYTES - state.head_bytes
  if room > 0 then
    local piece = sub(chunk, 1, room)
    state.head_pieces[#state.head_pieces + 1] = piece
    state.head_bytes = state.head_bytes + #piece
  end
end


local function keep_tail(state, chunk)
  local pieces = state.tail_pieces
  state.tail_last = state.tail_last + 1
  pieces[state.tail_last] = sub(chunk, -TAIL_BYTES)
  state.tail_bytes = state.tail_bytes + #pieces[state.tail_last]
  while state.tail_bytes - #pieces[state.tail_first] >= TAIL_BYTES do
    state.tail_bytes = state.tail_bytes - #pieces[state.tail_first]
    pieces[state.tail_first] = nil
    state.tail_first = state.tail_first + 1
  end
end


function tap.add(state, chunk, event_count, complete)
  if chunk ~= "" then
    state.first_byte_at_ms = state.first_byte_at_ms or ngx.now() * 1000
    state.bytes = state.bytes + #chunk
    state.events = state.events + event_count
    keep_head(state, chunk)
    keep_tail(state, chunk)
  end
  state.complete = complete or state.complete
end


function tap.head(state)
  return concat(state.head_pieces)
end


function tap.tail(state)
  return sub(concat(state.tail_pieces, "", state.tail_first, state.tail_last), -TAIL_BYTES)
end


return tap
