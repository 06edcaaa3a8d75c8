-- Writes Lua files as C: lua5.4 src/embed.lua NAME=FILE… >build/embedded.c. They come out sorted by NAME; each must be Lua.

local files = {}
for _, word in ipairs(arg) do
  local name, path = word:match "^([^=]+)=(.+)$"
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  assert(load(text, "@" .. name))
  files[#files + 1] = { name = name, text = text }
end
table.sort(files, function(a, b) return a.name < b.name end)

print '#include "embedded.h"'
for i, f in ipairs(files) do
  local bytes = {}
  for j = 1, #f.text do bytes[j] = f.text:byte(j) end
  bytes[#bytes + 1] = 0
  for j = 1, #bytes do
    if bytes[j] > 127 then bytes[j] = bytes[j] - 256 end
  end
  print(("static const char text_%d[] = {%s};"):format(i, table.concat(bytes, ",")))
end
print "const embedded_file embedded_files[] = {"
for i, f in ipairs(files) do print(('    {"%s", text_%d, sizeof text_%d - 1},'):format(f.name, i, i)) end
print "    {0, 0, 0},\n};"
