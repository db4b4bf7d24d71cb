-- Fragment. Events are spliced as text and never re-encoded: an encoder would round large integers.

-- `fields` is a JSON object; `more` is text of further members, without the leading comma.
local function event_with(fields, more)
  if fields == '{}' then
    return '{' .. more .. '}'
  end
  return string.sub(fields, 1, -2) .. ',' .. more .. '}'
end

local function append_event(stream, event_type, data)
  redis.call('XADD', stream, '*', 'type', event_type, 'data', data)
end
