--- What a simulation left, for people: a picture of time in the terminal, tables of ages and gaps, and the same as SVG.

local day_number = require("moonpool.names").day_number

local picture = {}

local DAY = 86400
local SHADES = { "·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }

-- Ages at which the axis has a mark.
local MARKS = {
  { 3600, "1h" }, { 6 * 3600, "6h" }, { DAY, "1d" }, { 7 * DAY, "1w" }, { 30 * DAY, "1m" }, { 91 * DAY, "3m" }, { 365 * DAY, "1y" },
  { 730 * DAY, "2y" }, { 1825 * DAY, "5y" },
}

-- The column of an age: the newest on the right, and each step to the left is so many times older.
local function column_of(age, oldest, width)
  local least = 1800
  local share = math.log(math.max(age, least) / least) / math.log(math.max(oldest, 2 * least) / least)
  return math.max(1, math.min(width, width - math.floor(share * (width - 1) + 0.5)))
end

local function counts(list, width, age_of, oldest)
  local columns = {}
  for i = 1, width do columns[i] = 0 end
  for _, s in ipairs(list) do
    local c = column_of(age_of(s), oldest, width)
    columns[c] = columns[c] + 1
  end
  return columns
end

local function bar(columns)
  local words, most = {}, 1
  for _, n in ipairs(columns) do most = math.max(most, n) end
  for i, n in ipairs(columns) do
    local height = n == 0 and 0 or 1 + math.floor(math.log(n) / math.log(most + 1) * (#SHADES - 2) + 0.5)
    words[i] = n == 0 and " " or SHADES[math.min(#SHADES, height + 1)]
  end
  return table.concat(words)
end

local function axis(width, oldest)
  local cells = {}
  for i = 1, width do cells[i] = " " end
  for _, mark in ipairs(MARKS) do
    local at = column_of(mark[1], oldest, width)
    if mark[1] <= oldest and at + #mark[2] - 1 <= width and cells[at] == " " then
      for i = 1, #mark[2] do cells[at + i - 1] = mark[2]:sub(i, i) end
    end
  end
  return table.concat(cells)
end

local BANDS = { { DAY, "up to a day" }, { 7 * DAY, "up to a week" }, { 31 * DAY, "up to a month" }, { 365 * DAY, "up to a year" }, { math.huge, "older" } }

-- The sides that a policy has, with what is kept there of the first dataset, and what was destroyed.
local function sides_of(result)
  local list = {}
  for _, side in ipairs { "source", "target" } do
    local ds = result.histories[1][side]
    if ds then list[#list + 1] = { name = side, kept = ds.list, gone = result.gone[side] } end
  end
  return list
end

-- Of one side: for each band of ages how many are kept, the largest gap between neighbours, and how many were destroyed at that age.
local function bands_of(side, now)
  local rows, lower = {}, 0
  for i, band in ipairs(BANDS) do
    local row = { count = 0, gap = 0, gone = 0 }
    for k, s in ipairs(side.kept) do
      local age = now - s.time
      if age >= lower and age < band[1] then
        row.count = row.count + 1
        local following = side.kept[k + 1] and side.kept[k + 1].time or now
        row.gap = math.max(row.gap, following - s.time)
      end
    end
    for _, s in ipairs(side.gone) do
      local age = s.gone - s.time
      if age >= lower and age < band[1] then row.gone = row.gone + 1 end
    end
    rows[i], lower = row, band[1]
  end
  return rows
end

local function span(seconds)
  if seconds >= 2 * DAY then return ("%.3g d"):format(seconds / DAY) end
  return seconds > 0 and ("%.3g h"):format(seconds / 3600) or "-"
end

local function table_of(result, sides)
  local lines, rows = { ("%-13s"):format "age" }, {}
  for _, side in ipairs(sides) do
    lines[1] = lines[1] .. ("  %6s %11s %9s"):format(side.name, "largest gap", "destroyed")
    rows[#rows + 1] = bands_of(side, result.now)
  end
  for i, band in ipairs(BANDS) do
    local line, n = ("%-13s"):format(band[2]), 0
    for _, of in ipairs(rows) do
      line = line .. ("  %6d %11s %9d"):format(of[i].count, span(of[i].gap), of[i].gone)
      n = n + of[i].count + of[i].gone
    end
    if n > 0 then lines[#lines + 1] = line end
  end
  return lines
end

-- "3380 snapshots on the source and 690 on the target", of all datasets.
local function totals(result, sides)
  local words = {}
  for i, side in ipairs(sides) do
    local n = 0
    for _, history in ipairs(result.histories) do n = n + #history[side.name].list * #history.names end
    words[i] = ("%d %son the %s"):format(n, i == 1 and "snapshots " or "", side.name)
  end
  return table.concat(words, " and ")
end

local function count_datasets(result)
  local n = 0
  for _, h in ipairs(result.histories) do n = n + #h.names end
  return n
end

local function oldest_age(result, sides)
  local oldest = DAY
  for _, side in ipairs(sides) do
    if side.kept[1] then oldest = math.max(oldest, result.now - side.kept[1].time) end
  end
  return oldest
end

--- What a simulation left, as text.
-- @param result from `simulate.run`; @param width of the terminal in columns
-- @return text: time across by age (the newest on the right), of each side what is kept now and at what age the rest was destroyed; then a table
-- @example io.write(picture.text(simulate.run(p, p.options, span), 80))
function picture.text(result, width)
  width = math.max(20, width - 14)
  local sides = sides_of(result)
  local oldest = oldest_age(result, sides)
  local lines = { ("%-12s %s"):format("age", axis(width, oldest)) }
  for _, side in ipairs(sides) do
    local kept = counts(side.kept, width, function(s) return result.now - s.time end, oldest)
    local gone = counts(side.gone, width, function(s) return s.gone - s.time end, oldest)
    lines[#lines + 1] = ("%-7s kept %s"):format(side.name, bar(kept))
    lines[#lines + 1] = ("%-7s gone %s"):format("", bar(gone))
  end
  lines[#lines + 1] = ""
  table.move(table_of(result, sides), 1, #BANDS + 1, #lines + 1, lines)
  lines[#lines + 1] = ""
  lines[#lines + 1] = ("%d runs, %d datasets: %s now; shown is %s"):format(result.runs, count_datasets(result), totals(result, sides), result.histories[1].name)
  for _, f in ipairs(result.failures) do lines[#lines + 1] = ("failed %d times, first for %s: %s"):format(f.count, f.dataset, f.text) end
  for i, line in ipairs(lines) do lines[i] = line:gsub(" +$", "") end
  return table.concat(lines, "\n") .. "\n"
end

-- ---- SVG ------------------------------------------------------------------------------------------------

local WIDTH, ROW, LEFT = 1000, 120, 80

local function escaped(text) return (text:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" })) end

local function x_of(time, first, now) return LEFT + (time - first) / math.max(1, now - first) * (WIDTH - LEFT - 20) end

-- Destroyed snapshots as columns: how long they lived, by when they were made.
local function gone_columns(list, first, now, y)
  local columns, parts = {}, {}
  for _, s in ipairs(list) do
    local c = math.floor(x_of(s.time, first, now))
    local lived = math.log(1 + (s.gone - s.time) / 3600) / math.log(1 + 5 * 365 * 24)
    columns[c] = math.max(columns[c] or 0, lived)
  end
  for c, lived in pairs(columns) do
    parts[#parts + 1] = ('<rect x="%d" y="%.1f" width="1" height="%.1f"/>'):format(c, y + 60 - lived * 60, lived * 60)
  end
  table.sort(parts)
  return table.concat(parts, "\n")
end

local function svg_row(result, side, y, first)
  local parts = {
    ('<text x="8" y="%d">%s</text>'):format(y + 40, side.name),
    '<g fill="#ccc">',
    gone_columns(side.gone, first, result.now, y),
    "</g>",
    '<g fill="#075">',
  }
  for _, s in ipairs(side.kept) do
    local x = x_of(s.time, first, result.now)
    parts[#parts + 1] = ('<rect x="%.1f" y="%d" width="1.5" height="20"><title>%s</title></rect>'):format(x, y + 65, escaped(s.name))
  end
  parts[#parts + 1] = "</g>"
  return table.concat(parts, "\n")
end

local function first_time(result, sides)
  local first = result.now
  for _, side in ipairs(sides) do
    for _, list in ipairs { side.kept, side.gone } do
      for _, s in ipairs(list) do first = math.min(first, s.time) end
    end
  end
  return first
end

-- The beginnings of quarters below the rows.
local function svg_axis(result, first, y)
  local parts = {}
  for year = tonumber(os.date("!%Y", first)), tonumber(os.date("!%Y", result.now)) do
    for month = 1, 12, 3 do
      local time = day_number(year, month, 1) * DAY
      if time >= first and time <= result.now then
        parts[#parts + 1] = ('<text x="%.0f" y="%d" fill="#555">%04d-%02d</text>'):format(x_of(time, first, result.now), y, year, month)
      end
    end
  end
  return table.concat(parts, "\n")
end

--- The same as a drawing: time across, a row a side, green what is kept now, grey how long the rest lived (on a logarithmic scale up to five years).
-- @param result from `simulate.run`; @param title text; @return SVG
-- @example io.open("kept.svg", "w"):write(picture.svg(result, "nas"))
function picture.svg(result, title)
  local sides = sides_of(result)
  local first, height = first_time(result, sides), #sides * ROW
  local parts = {
    ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">'):format(WIDTH, height + 60),
    ('<text x="8" y="18">%s: %d runs, %s to %s</text>'):format(escaped(title), result.runs, os.date("!%Y-%m-%d", first), os.date("!%Y-%m-%d", result.now)),
  }
  for i, side in ipairs(sides) do parts[#parts + 1] = svg_row(result, side, 30 + (i - 1) * ROW, first) end
  parts[#parts + 1] = svg_axis(result, first, height + 45)
  parts[#parts + 1] = "</svg>\n"
  return table.concat(parts, "\n")
end

return picture
