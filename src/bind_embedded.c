/*
 * bind_embedded.c - floor 5: the Lua files that the program carries, and `require` for them.
 */
#include "bind.h"
#include "embedded.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *name, const void *file)
{
    return strcmp(name, ((const embedded_file *)file)->name);
}

static size_t count_files(void)
{
    size_t n = 0;
    while (embedded_files[n].name != NULL)
        n++;
    return n;
}

static const embedded_file *find(const char *name)
{
    return bsearch(name, embedded_files, count_files(), sizeof *embedded_files, by_name);
}

/* core.embedded(name): the text of a file, or nil */
static int core_embedded(lua_State *L)
{
    const embedded_file *f = find(luaL_checkstring(L, 1));
    if (f == NULL)
        return 0;
    lua_pushlstring(L, f->text, f->size);
    return 1;
}

static int core_embedded_names(lua_State *L)
{
    size_t n = count_files();

    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushstring(L, embedded_files[i].name);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* For package.searchers: "moonpool.plan" is lua/moonpool/plan.lua; "argparse" and the like lie at the top. */
static int search(lua_State *L)
{
    const char *module = luaL_checkstring(L, 1);
    const embedded_file *f;
    const char *path;

    luaL_gsub(L, module, ".", "/");
    path = lua_pushfstring(L, strncmp(module, "moonpool", 8) == 0 ? "lua/%s.lua" : "%s.lua", lua_tostring(L, -1));
    f = find(path);
    if (f == NULL) {
        lua_pushfstring(L, "no '%s' inside moonpool", path);
        return 1;
    }
    lua_pushfstring(L, "@moonpool:%s", path);
    if (luaL_loadbufferx(L, f->text, f->size, lua_tostring(L, -1), "t") != LUA_OK)
        return lua_error(L);
    lua_pushfstring(L, "moonpool:%s", path);
    return 2;
}

/* Puts the searcher behind package.preload, so that no file of the current directory takes the place of ours. */
static void install_searcher(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) {
        (void)lua_geti(L, -1, i);
        lua_seti(L, -2, i + 1);
    }
    lua_pushcfunction(L, search);
    lua_seti(L, -2, 2);
    lua_pop(L, 2);
}

void bind_embedded_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"embedded", core_embedded}, {"embedded_names", core_embedded_names}, {NULL, NULL}};

    install_searcher(L);
    luaL_setfuncs(L, functions, 0);
}
