/*
 * bind_regex.c - floor 5: extended regular expressions of POSIX, for options that promise them.
 */
#include "bind.h"

#include <regex.h>
#include <stdbool.h>

static const char class_name[] = "moonpool.regex";

typedef struct lua_regex {
    regex_t re;
    bool is_set;
} lua_regex;

static int regex_gc(lua_State *L)
{
    lua_regex *r = luaL_checkudata(L, 1, class_name);
    if (r->is_set)
        regfree(&r->re);
    r->is_set = false;
    return 0;
}

/* re:match(text): whether it is found anywhere in the text */
static int regex_match(lua_State *L)
{
    lua_regex *r = luaL_checkudata(L, 1, class_name);
    const char *text = luaL_checkstring(L, 2);
    lua_pushboolean(L, r->is_set && regexec(&r->re, text, 0, NULL, 0) == 0);
    return 1;
}

/* core.regex(pattern): the expression, or nil and what is wrong with it */
static int core_regex(lua_State *L)
{
    const char *pattern = luaL_checkstring(L, 1);
    lua_regex *r = lua_newuserdatauv(L, sizeof *r, 0);
    char text[256];
    int rc;

    r->is_set = false;
    luaL_setmetatable(L, class_name);
    rc = regcomp(&r->re, pattern, REG_EXTENDED | REG_NOSUB);
    if (rc != 0) {
        (void)regerror(rc, &r->re, text, sizeof text);
        lua_pushnil(L);
        lua_pushstring(L, text);
        return 2;
    }
    r->is_set = true;
    return 1;
}

void bind_regex_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"match", regex_match}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"regex", core_regex}, {NULL, NULL}};

    bind_class(L, class_name, methods, regex_gc, bind_leave);
    luaL_setfuncs(L, functions, 0);
}
