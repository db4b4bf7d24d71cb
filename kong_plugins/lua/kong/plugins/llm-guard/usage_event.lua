-- Recognises the event that OpenAI sends last when `stream_options.include_usage` is on: at the top level of its
-- JSON, `choices` is an empty array and `usage` is an object. Content that merely prints these words is inside a
-- string or deeper, and Azure's first event has empty `choices` but no usage.
-- https://platform.openai.com/docs/api-reference/chat-streaming

local concat = table.concat
local find = string.find
local gmatch = string.gmatch
local sub = string.sub

local EMPTY_CHOICES = '"choices"%s*:%s*%[%s*%]'


local function data_of(event)
  local lines = {}
  for line in gmatch(event, "[^\r\n]+") do
    if sub(line, 1, 5) == "data:" then
      lines[#lines + 1] = sub(line, 6)
    end
  end
  return concat(lines, "\n")
end


-- The position of the quote that closes the string whose opening quote is at `position`.
local function string_end(json, position)
  repeat
    position = find(json, '["\\]', position + 1)
    if position and sub(json, position, position) == "\\" then
      position = position + 1
    elseif position then
      return position
    end
  until not position
  return #json
end


-- Whether `pattern` matches where the value of `key` stands at the top level of the JSON object.
local function top_level_value_is(json, key, pattern)
  local depth, position = 0, 0
  while true do
    position = find(json, '["{}%[%]]', position + 1)
    if not position then
      return false
    end
    local mark = sub(json, position, position)
    if mark == '"' then
      local last = string_end(json, position)
      if depth == 1 and sub(json, position + 1, last - 1) == key and find(json, pattern, last + 1) then
        return true
      end
      position = last
    else
      depth = depth + ((mark == "{" or mark == "[") and 1 or -1)
    end
  end
end


-- Whether `event`, the text of one event, is the usage event.
return function(event)
  if not find(event, EMPTY_CHOICES) then
    return false
  end
  local json = data_of(event)
  return top_level_value_is(json, "choices", "^%s*:%s*%[%s*%]") and top_level_value_is(json, "usage", "^%s*:%s*{")
end
