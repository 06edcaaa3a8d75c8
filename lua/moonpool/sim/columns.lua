--- Prints rows the way zfs does: with tabs for scripts, or in columns for people.

local columns = {}

-- No column for numbers is narrower, whatever is in it.
local LEAST_NUMBER = 5

--- Prints a table.
-- @param c the command; @param headers array of texts; @param rows array of arrays of texts
-- @param scripted true: tabs between columns and no header
-- @param right { [column index] = true } for columns set to the right, or nil
function columns.print(c, headers, rows, scripted, right)
  if scripted then
    for _, row in ipairs(rows) do c:row(row) end
    return
  end
  right = right or {}
  local width = {}
  for i, header in ipairs(headers) do width[i] = math.max(#header, right[i] and LEAST_NUMBER or 0) end
  for _, row in ipairs(rows) do
    for i, text in ipairs(row) do width[i] = math.max(width[i], #text) end
  end
  local function line(row)
    local cells = {}
    for i, text in ipairs(row) do
      local pad = (" "):rep(width[i] - #text)
      cells[i] = right[i] and pad .. text or (i == #row and text or text .. pad)
    end
    c:print("%s", table.concat(cells, "  "))
  end
  line(headers)
  for _, row in ipairs(rows) do line(row) end
end

return columns
