/*
 * bind_catalog.c - floor 5: listings as Lua values. Rows become tables one dataset at a time.
 */
#include "bind.h"

#include <stdlib.h>
#include <string.h>

static const char class_name[] = "moonpool.catalog";

#define MAX_COLUMNS 16

typedef struct lua_catalog {
    mp_catalog *catalog;
    char columns[MAX_COLUMNS + 1];
} lua_catalog;

mp_catalog *bind_check_catalog(lua_State *L, int arg)
{
    return ((lua_catalog *)luaL_checkudata(L, arg, class_name))->catalog;
}

static int catalog_gc(lua_State *L)
{
    lua_catalog *c = luaL_checkudata(L, 1, class_name);
    mp_catalog_free(c->catalog);
    c->catalog = NULL;
    return 0;
}

static int catalog_datasets(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)mp_catalog_datasets(bind_check_catalog(L, 1)));
    return 1;
}

/* The dataset's number at `arg`, from 1 in Lua and from 0 in C. */
static size_t check_index(lua_State *L, const mp_catalog *c, int arg)
{
    lua_Integer i = luaL_checkinteger(L, arg);
    luaL_argcheck(L, i >= 1 && (size_t)i <= mp_catalog_datasets(c), arg, "no such dataset");
    return (size_t)i - 1;
}

static int catalog_name(lua_State *L)
{
    mp_catalog *c = bind_check_catalog(L, 1);
    lua_pushstring(L, mp_catalog_dataset_name(c, check_index(L, c, 2)));
    return 1;
}

static int catalog_find(lua_State *L)
{
    ptrdiff_t i = mp_catalog_find(bind_check_catalog(L, 1), luaL_checkstring(L, 2));
    if (i < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)i + 1);
    return 1;
}

/* Pushes { kind = "" | "@" | "#", name = …, value of column 1, … }. */
static void push_row(lua_State *L, const lua_catalog *c, size_t row)
{
    int kind = mp_catalog_kind(c->catalog, row);
    char sign = (char)kind;
    size_t n = strlen(c->columns);

    lua_createtable(L, (int)n, 2);
    lua_pushlstring(L, &sign, kind != 0);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, mp_catalog_row_name(c->catalog, row));
    lua_setfield(L, -2, "name");
    for (size_t i = 0; i < n; i++) {
        if (c->columns[i] == 'u')
            lua_pushinteger(L, (lua_Integer)mp_catalog_number(c->catalog, row, i + 1));
        else
            lua_pushstring(L, mp_catalog_word(c->catalog, row, i + 1));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/*
 * Pushes the same with names for its columns, those of the table at 4, the value at 5 as `dataset`, and the metatable
 * at 6; with room for two fields more.
 */
static void push_entry(lua_State *L, const lua_catalog *c, size_t row)
{
    int kind = mp_catalog_kind(c->catalog, row);
    char sign = (char)kind;
    size_t n = strlen(c->columns);

    lua_createtable(L, 0, (int)n + 5);
    lua_pushvalue(L, 5);
    lua_setfield(L, -2, "dataset");
    lua_pushlstring(L, &sign, kind != 0);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, mp_catalog_row_name(c->catalog, row));
    lua_setfield(L, -2, "name");
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 4, (lua_Integer)i + 1);
        if (c->columns[i] == 'u')
            lua_pushinteger(L, (lua_Integer)mp_catalog_number(c->catalog, row, i + 1));
        else
            lua_pushstring(L, mp_catalog_word(c->catalog, row, i + 1));
        lua_rawset(L, -3);
    }
    lua_pushvalue(L, 6);
    lua_setmetatable(L, -2);
}

/* Pushes an array of what `push` makes of each row of the dataset at 2, of one kind only if there is one at 3. */
static int push_all(lua_State *L, void (*push)(lua_State *, const lua_catalog *, size_t))
{
    lua_catalog *c = luaL_checkudata(L, 1, class_name);
    size_t dataset = check_index(L, c->catalog, 2);
    const char *kind = luaL_optstring(L, 3, NULL);
    lua_Integer n = 0;

    lua_newtable(L);
    for (ptrdiff_t row = mp_catalog_first(c->catalog, dataset); row >= 0;
         row = mp_catalog_next(c->catalog, (size_t)row)) {
        if (kind != NULL && mp_catalog_kind(c->catalog, (size_t)row) != *kind)
            continue;
        push(L, c, (size_t)row);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* catalog:rows(dataset, kind): all of its rows in the order of the listing, or those of one kind */
static int catalog_rows(lua_State *L)
{
    return push_all(L, push_row);
}

/* catalog:entries(dataset, kind, columns, name, meta): the same, each with its columns by name, `dataset` and a
 * metatable */
static int catalog_entries(lua_State *L)
{
    const lua_catalog *c = luaL_checkudata(L, 1, class_name);

    luaL_checktype(L, 4, LUA_TTABLE);
    luaL_checkstring(L, 5);
    luaL_checktype(L, 6, LUA_TTABLE);
    luaL_argcheck(L, lua_rawlen(L, 4) == strlen(c->columns), 4, "one name for each column");
    for (lua_Integer i = 1; i <= (lua_Integer)strlen(c->columns); i++) {
        lua_rawgeti(L, 4, i);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 4, "names are strings");
        lua_pop(L, 1);
    }
    lua_settop(L, 6);
    return push_all(L, push_entry);
}

/* core.catalog(columns): one letter a column after the name, u a number, s a word */
static int core_catalog(lua_State *L)
{
    const char *columns = luaL_checkstring(L, 1);
    lua_catalog *c;

    luaL_argcheck(L, strlen(columns) <= MAX_COLUMNS, 1, "more than 16 columns");
    c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (lua_catalog){0};
    luaL_setmetatable(L, class_name);
    (void)memcpy(c->columns, columns, strlen(columns));
    if (mp_catalog_new(&c->catalog, columns) != MP_OK)
        return luaL_argerror(L, 1, "columns are u or s");
    return 1;
}

void bind_catalog_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"datasets", catalog_datasets}, {"name", catalog_name},
                                       {"find", catalog_find},         {"rows", catalog_rows},
                                       {"entries", catalog_entries},   {NULL, NULL}};
    static const luaL_Reg functions[] = {{"catalog", core_catalog}, {NULL, NULL}};

    bind_class(L, class_name, methods, catalog_gc);
    luaL_setfuncs(L, functions, 0);
}
