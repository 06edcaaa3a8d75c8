--- "Did you mean": the nearest of the words that exist.

local suggest = {}

-- Edits from one word to another, a swap of neighbours counting as one (optimal string alignment).
local function distance(a, b)
  local before, last, row = {}, {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    row[0] = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before, last, row = last, row, before
  end
  return last[#b]
end

--- The word of a list that is nearest to a misspelt one.
-- @param word what was written; @param list array of words that exist
-- @return one of them, or nil if none is near
-- @example suggest.nearest("kep", { "keep", "select" }) --> "keep"
function suggest.nearest(word, list)
  local best, best_distance
  for _, candidate in ipairs(list) do
    local d = distance(word, candidate)
    if d <= math.max(1, #word // 3) and (not best or d < best_distance) then best, best_distance = candidate, d end
  end
  return best
end

--- The same as the end of a sentence. @param word as above; @param list as above; @return ", did you mean 'x'?", or ""
function suggest.text(word, list)
  local nearest = suggest.nearest(tostring(word), list)
  return nearest and (", did you mean '%s'?"):format(nearest) or ""
end

return suggest
