/*
 * bind.c - floor 5: the module table of `moonpool.core`, and what all bindings share.
 */
#include "bind.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#ifndef MP_PREFIX
#define MP_PREFIX "/usr/local"
#endif

static const char interrupts_key[] = "moonpool.interrupts";

bind_interrupts *bind_interrupts_of(lua_State *L)
{
    bind_interrupts *i;

    lua_getfield(L, LUA_REGISTRYINDEX, interrupts_key);
    i = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return i;
}

bool bind_interrupt(bind_interrupts *i)
{
    bool was_pending = atomic_exchange(&i->pending, true);
    mp_queue *queue;

    (void)atomic_fetch_add(&i->count, 1);
    queue = atomic_load(&i->sleeper);
    if (queue != NULL)
        mp_queue_wake(queue);
    return was_pending;
}

int bind_failure(lua_State *L, int code, const char *format, ...)
{
    va_list args;

    lua_pushnil(L);
    lua_pushstring(L, mp_code_name(code));
    va_start(args, format);
    (void)lua_pushvfstring(L, format, args);
    va_end(args);
    return 3;
}

int bind_errno(lua_State *L, const char *what)
{
    int error = errno;
    return bind_failure(L, MP_SYSTEM, "%s: %s", what, strerror(error));
}

const char *const *bind_check_argv(lua_State *L, int arg)
{
    const char **argv;
    size_t n;

    luaL_checktype(L, arg, LUA_TTABLE);
    n = lua_rawlen(L, arg);
    luaL_argcheck(L, n > 0, arg, "a command has at least one word");
    argv = lua_newuserdatauv(L, (n + 1) * sizeof *argv, 0);
    for (size_t i = 1; i <= n; i++) {
        size_t len;
        /* Only the table itself keeps its strings alive: not a number that becomes one, nor what a metatable makes. */
        luaL_argcheck(L, lua_rawgeti(L, arg, (lua_Integer)i) == LUA_TSTRING, arg,
                      "every word of a command is a string");
        argv[i - 1] = lua_tolstring(L, -1, &len);
        luaL_argcheck(L, strlen(argv[i - 1]) == len, arg, "a word of a command has a NUL byte in it");
        lua_pop(L, 1);
    }
    argv[n] = NULL;
    return argv;
}

int bind_leave(lua_State *L)
{
    (void)L;
    return 0;
}

void bind_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc, lua_CFunction close)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
}

static int core_interrupted(lua_State *L)
{
    lua_pushinteger(L, atomic_load(&bind_interrupts_of(L)->count));
    return 1;
}

int luaopen_moonpool_core(lua_State *L)
{
    static const luaL_Reg functions[] = {{"interrupted", core_interrupted}, {NULL, NULL}};

    if (bind_interrupts_of(L) == NULL) {
        bind_interrupts *i = lua_newuserdatauv(L, sizeof *i, 0);
        (void)memset(i, 0, sizeof *i);
        lua_setfield(L, LUA_REGISTRYINDEX, interrupts_key);
    }
    luaL_newlib(L, functions);
    lua_pushliteral(L, MP_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushliteral(L, MP_PREFIX);
    lua_setfield(L, -2, "prefix");
    bind_host_open(L);
    bind_job_open(L);
    bind_catalog_open(L);
    bind_system_open(L);
    bind_embedded_open(L);
    bind_regex_open(L);
    bind_readline_open(L);
    return 1;
}
