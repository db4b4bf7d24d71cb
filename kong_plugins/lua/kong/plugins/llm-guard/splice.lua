-- Replaces ranges of a text. Each splice is {offset, length, replacement}: byte offsets from 0 in the original
-- text, ascending, not overlapping. Returns the new text, or nil and the reason why a splice does not fit.

local concat = table.concat
local sub = string.sub


return function(text, splices)
  local pieces = {}
  local copied = 0
  for index, entry in ipairs(splices) do
    local offset, length, replacement = entry[1], entry[2], entry[3]
    if offset < copied or length < 0 or offset + length > #text then
      return nil, "splice " .. index .. " does not fit the request's body"
    end
    pieces[#pieces + 1] = sub(text, copied + 1, offset)
    pieces[#pieces + 1] = replacement
    copied = offset + length
  end
  if copied == 0 and #pieces == 0 then
    return text
  end
  pieces[#pieces + 1] = sub(text, copied + 1)
  return concat(pieces)
end
