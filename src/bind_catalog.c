/*
 * bind_catalog.c - floor 5: listings as Lua values. Rows become tables one dataset at a time.
 */
#include "bind.h"

#include <limits.h>
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

/* Where check_entry_arguments() puts the keys of entries: made into strings of Lua once, not for each entry. */
enum { META = 5, TIMES = 6, KEY_NAME = 7, KEY_TIME = 8, KEY_OWN = 9, KEYS = 10 };

/* table[key] = the value on top of the stack, which is popped. */
static void set_field(lua_State *L, int table, int key)
{
    lua_pushvalue(L, key);
    lua_insert(L, -2);
    lua_rawset(L, table);
}

/*
 * Pushes { name = …, and its columns by their names } with the metatable of the arguments. If the table of times knows
 * of that name a time (or false), they are its `time` and whether it is `own`; there is room for both in any case.
 */
static void push_entry(lua_State *L, const lua_catalog *c, size_t row)
{
    int n = (int)strlen(c->columns), entry = lua_gettop(L) + 1;

    lua_createtable(L, 0, n + 3);
    lua_pushstring(L, mp_catalog_row_name(c->catalog, row));
    if (!lua_isnil(L, TIMES)) {
        lua_pushvalue(L, -1);
        if (lua_rawget(L, TIMES) == LUA_TNUMBER) {
            set_field(L, entry, KEY_TIME);
            lua_pushboolean(L, true);
            set_field(L, entry, KEY_OWN);
        } else {
            lua_pop(L, 1);
        }
    }
    set_field(L, entry, KEY_NAME);
    for (int i = 0; i < n; i++) {
        if (c->columns[i] == 'u')
            lua_pushinteger(L, (lua_Integer)mp_catalog_number(c->catalog, row, (size_t)i + 1));
        else
            lua_pushstring(L, mp_catalog_word(c->catalog, row, (size_t)i + 1));
        set_field(L, entry, KEYS + i);
    }
    lua_pushvalue(L, META);
    lua_setmetatable(L, -2);
}

/* The first row of a dataset from `row` on that is of a kind (NULL: of any); -1 if there is none. */
static ptrdiff_t of_kind(const mp_catalog *c, ptrdiff_t row, const char *kind)
{
    while (row >= 0 && kind != NULL && mp_catalog_kind(c, (size_t)row) != *kind)
        row = mp_catalog_next(c, (size_t)row);
    return row;
}

static ptrdiff_t next_of_kind(const mp_catalog *c, ptrdiff_t row, const char *kind)
{
    return of_kind(c, mp_catalog_next(c, (size_t)row), kind);
}

/* How many rows of a kind a dataset has, at most INT_MAX. */
static int count_rows(const mp_catalog *c, size_t dataset, const char *kind)
{
    int n = 0;

    for (ptrdiff_t row = of_kind(c, mp_catalog_first(c, dataset), kind); row >= 0 && n < INT_MAX;
         row = next_of_kind(c, row, kind))
        n++;
    return n;
}

/* Pushes an array of what `push` makes of each row of the dataset at 2 that is of the kind at 3 (none: of any) and, if
 * `where` is not 0, has another number than 0 in that column. */
static int push_all(lua_State *L, size_t where, void (*push)(lua_State *, const lua_catalog *, size_t))
{
    lua_catalog *c = luaL_checkudata(L, 1, class_name);
    size_t dataset = check_index(L, c->catalog, 2);
    const char *kind = luaL_optstring(L, 3, NULL);
    lua_Integer n = 0;

    lua_createtable(L, where == 0 ? count_rows(c->catalog, dataset, kind) : 0, 0);
    for (ptrdiff_t row = of_kind(c->catalog, mp_catalog_first(c->catalog, dataset), kind); row >= 0;
         row = next_of_kind(c->catalog, row, kind)) {
        if (where != 0 && mp_catalog_number(c->catalog, (size_t)row, where) == 0)
            continue;
        push(L, c, (size_t)row);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* catalog:rows(dataset, kind): all of its rows in the order of the listing, or those of one kind */
static int catalog_rows(lua_State *L)
{
    return push_all(L, 0, push_row);
}

/* The number at `arg` of a column of numbers; 0 if there is nothing and that is allowed. */
static size_t check_column(lua_State *L, const lua_catalog *c, int arg, bool optional)
{
    lua_Integer column = optional ? luaL_optinteger(L, arg, 0) : luaL_checkinteger(L, arg);

    if (optional && column == 0)
        return 0;
    luaL_argcheck(L, column >= 1 && (size_t)column <= strlen(c->columns) && c->columns[column - 1] == 'u', arg,
                  "no such column of numbers");
    return (size_t)column;
}

/* Checks what push_entry() takes, and puts its keys where it takes them from; *column is the one whose number is at 7.
 */
static const lua_catalog *check_entry_arguments(lua_State *L, size_t *column, bool optional)
{
    const lua_catalog *c = luaL_checkudata(L, 1, class_name);

    luaL_checktype(L, 4, LUA_TTABLE);
    luaL_checktype(L, 5, LUA_TTABLE);
    luaL_argexpected(L, lua_isnoneornil(L, 6) || lua_istable(L, 6), 6, "table or nil");
    luaL_argcheck(L, lua_rawlen(L, 4) == strlen(c->columns), 4, "one name for each column");
    for (lua_Integer i = 1; i <= (lua_Integer)strlen(c->columns); i++) {
        lua_rawgeti(L, 4, i);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 4, "names are strings");
        lua_pop(L, 1);
    }
    *column = check_column(L, c, 7, optional);
    lua_settop(L, TIMES);
    luaL_checkstack(L, MAX_COLUMNS + LUA_MINSTACK, NULL);
    lua_pushliteral(L, "name");
    lua_pushliteral(L, "time");
    lua_pushliteral(L, "own");
    for (lua_Integer i = 1; i <= (lua_Integer)strlen(c->columns); i++)
        lua_rawgeti(L, 4, i);
    return c;
}

/* catalog:entries(dataset, kind, columns, meta, times[, where]): the same, each with its columns by name and a
 * metatable, and its time if `times` knows it by its name; `where` is the number of a column that must not be 0 */
static int catalog_entries(lua_State *L)
{
    size_t where;

    (void)check_entry_arguments(L, &where, true);
    return push_all(L, where, push_entry);
}

/* catalog:greatest(dataset, kind, columns, meta, times, by): the one entry with the greatest number in the column `by`,
 * of several the last; or nil */
static int catalog_greatest(lua_State *L)
{
    size_t by;
    const lua_catalog *c = check_entry_arguments(L, &by, false);
    const char *kind = luaL_checkstring(L, 3);
    ptrdiff_t row = of_kind(c->catalog, mp_catalog_first(c->catalog, check_index(L, c->catalog, 2)), kind), best = row;

    for (; row >= 0; row = next_of_kind(c->catalog, row, kind)) {
        if (mp_catalog_number(c->catalog, (size_t)row, by) >= mp_catalog_number(c->catalog, (size_t)best, by))
            best = row;
    }
    if (best < 0)
        lua_pushnil(L);
    else
        push_entry(L, c, (size_t)best);
    return 1;
}

/* catalog:ascends(dataset, kind, by): whether the numbers in the column `by` never fall from one row to the next */
static int catalog_ascends(lua_State *L)
{
    const lua_catalog *c = luaL_checkudata(L, 1, class_name);
    size_t dataset = check_index(L, c->catalog, 2), by = check_column(L, c, 4, false);
    const char *kind = luaL_checkstring(L, 3);
    uint64_t last = 0, number = 0;

    for (ptrdiff_t row = of_kind(c->catalog, mp_catalog_first(c->catalog, dataset), kind); row >= 0 && number >= last;
         row = next_of_kind(c->catalog, row, kind)) {
        last = number;
        number = mp_catalog_number(c->catalog, (size_t)row, by);
    }
    lua_pushboolean(L, number >= last);
    return 1;
}

/* catalog:has(dataset, kind, name): whether there is such a row */
static int catalog_has(lua_State *L)
{
    const mp_catalog *c = bind_check_catalog(L, 1);
    const char *kind = luaL_checkstring(L, 3), *name = luaL_checkstring(L, 4);
    ptrdiff_t row = of_kind(c, mp_catalog_first(c, check_index(L, c, 2)), kind);

    while (row >= 0 && strcmp(mp_catalog_row_name(c, (size_t)row), name) != 0)
        row = next_of_kind(c, row, kind);
    lua_pushboolean(L, row >= 0);
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
    static const luaL_Reg methods[] = {
        {"datasets", catalog_datasets}, {"name", catalog_name},       {"find", catalog_find},
        {"rows", catalog_rows},         {"entries", catalog_entries}, {"greatest", catalog_greatest},
        {"ascends", catalog_ascends},   {"has", catalog_has},         {NULL, NULL}};
    static const luaL_Reg functions[] = {{"catalog", core_catalog}, {NULL, NULL}};

    bind_class(L, class_name, methods, catalog_gc, bind_leave);
    luaL_setfuncs(L, functions, 0);
}
