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

/* catalog:rows(dataset, kind): all of its rows in the order of the listing, or those of one kind */
static int catalog_rows(lua_State *L)
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
        push_row(L, c, (size_t)row);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
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
    static const luaL_Reg methods[] = {{"datasets", catalog_datasets},
                                       {"name", catalog_name},
                                       {"find", catalog_find},
                                       {"rows", catalog_rows},
                                       {NULL, NULL}};
    static const luaL_Reg functions[] = {{"catalog", core_catalog}, {NULL, NULL}};

    bind_class(L, class_name, methods, catalog_gc);
    luaL_setfuncs(L, functions, 0);
}
