-- Takes the usage event out of a stream whose client did not ask for it; everything else passes byte for byte.
-- An event is held back only until its end is known.

local usage_event = require "kong.plugins.llm-guard.usage_event"

local kong = kong
local concat = table.concat
local sub = string.sub

-- Usage events have a few hundred bytes. What grows beyond this passes without waiting for its end.
local LONGEST_EVENT_BYTES = 16384

local usage_filter = {}


-- An answer begins: it is filtered where the grant says so. An encoded one cannot be, and Bursar asks providers for
-- none.
function usage_filter.begin(grant, state)
  local is_plain = state.content_encoding == "" or state.content_encoding == "identity"
  if grant.strip_usage_chunk and state.is_event_stream and is_plain then
    state.filter = { pending = {}, pending_bytes = 0, is_passing = false }
    kong.response.clear_header("content-length")
  end
end


local function take_pending(filter)
  local text = concat(filter.pending)
  filter.pending, filter.pending_bytes = {}, 0
  return text
end


local function end_event(filter, piece, kept)
  local event = take_pending(filter) .. piece
  if filter.is_passing or not usage_event(event) then
    kept[#kept + 1] = event
  end
  filter.is_passing = false
end


local function hold_back(filter, piece, kept)
  filter.pending[#filter.pending + 1] = piece
  filter.pending_bytes = filter.pending_bytes + #piece
  if filter.is_passing or filter.pending_bytes > LONGEST_EVENT_BYTES then
    filter.is_passing = true
    kept[#kept + 1] = take_pending(filter)
  end
end


-- What of `chunk`, and of what was held back before it, is to be sent now; `event_ends` are the positions at
-- which events end in it, and `complete` says that no more will come.
function usage_filter.pass(filter, chunk, event_ends, complete)
  local kept = {}
  local position = 1
  for _, last in ipairs(event_ends) do
    end_event(filter, sub(chunk, position, last), kept)
    position = last + 1
  end
  local rest = sub(chunk, position)
  if complete then
    end_event(filter, rest, kept)
  elseif rest ~= "" then
    hold_back(filter, rest, kept)
  end
  return concat(kept)
end


return usage_filter
