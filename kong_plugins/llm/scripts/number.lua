-- Fragment. The one way in which a number becomes text. Lua's own conversion loses digits above 1e14, and
-- `+ 0` turns a negative zero into a zero, which HINCRBY would refuse after earlier writes.
local function integer_text(number)
  return string.format('%.0f', number + 0)
end
