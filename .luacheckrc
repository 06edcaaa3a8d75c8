-- How luacheck checks; tests/lint runs it over all Lua files.
std = "lua54"
max_line_length = 160
files["tests/lua/*_spec.lua"] = { std = "+busted" }
