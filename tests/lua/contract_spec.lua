-- The tables of docs/contract.md and docs/from-zfs_autobackup.md: every option has its row, and every test that a row names exists.

local PAGES = { "docs/contract.md", "docs/from-zfs_autobackup.md" }

local function read(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

-- The last cell of each row of a page's tables that names tests.
local function cells(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    local cell = line:match "^|.*|%s*(%w+: .-)%s*|$"
    if cell then list[#list + 1] = cell end
  end
  return list
end

-- "file: case; case; other: case …" one by one
local function named(cell)
  local list, file = {}, nil
  for part in (cell .. ";"):gmatch "%s*(.-)%s*;" do
    local first, rest = part:match "^(%w+): (.*)$"
    file = first or file
    list[#list + 1] = { file = file, case = (rest or part):gsub("%s*…$", "") }
  end
  return list
end

local function has_case(file, case)
  local text = read("tests/zfs/" .. file .. "_test.sh")
  local wanted = "test_" .. case:lower():gsub("[ ']", "_")
  for name in (text or ""):gmatch "\n(test_[%w_]+)%(%)" do
    if name:sub(1, #wanted) == wanted then return true end
  end
  return false
end

describe("the page of the contract", function()
  it("names only tests that there are", function()
    local missing, count = {}, 0
    for _, page in ipairs(PAGES) do
      for _, cell in ipairs(cells(read(page))) do
        for _, test in ipairs(named(cell)) do
          count = count + 1
          if not has_case(test.file, test.case) then missing[#missing + 1] = test.file .. ": " .. test.case end
        end
      end
    end
    assert.are.same({}, missing)
    assert.is_true(count > 60)
  end)

  it("has every option of autobackup", function()
    local text, missing = read "docs/contract.md", {}
    for _, option in ipairs(require "policies.options") do
      local spelled = option.positional and "`" .. option.name:upper() .. "`" or "`--" .. option.name
      if not text:find(spelled, 1, true) then missing[#missing + 1] = spelled end
    end
    assert.are.same({}, missing)
  end)
end)
