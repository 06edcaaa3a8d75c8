/*
 * bind_host.c - floor 5: hosts as Lua values.
 */
#include "bind.h"

static const char class_name[] = "moonpool.host";

mp_host *bind_check_host(lua_State *L, int arg)
{
    mp_host **h = luaL_checkudata(L, arg, class_name);
    luaL_argcheck(L, *h != NULL, arg, "the host is closed");
    return *h;
}

static int host_close(lua_State *L)
{
    mp_host **h = luaL_checkudata(L, 1, class_name);
    mp_host *host = *h;

    *h = NULL;
    mp_host_close(host);
    return 0;
}

static int host_name(lua_State *L)
{
    lua_pushstring(L, mp_host_name(bind_check_host(L, 1)));
    return 1;
}

static int host_dry(lua_State *L)
{
    lua_pushboolean(L, mp_host_is_dry(bind_check_host(L, 1)));
    return 1;
}

/* core.host(destination, dry, ssh_config, ssh_program, connect_timeout, dead_after, no_shell) */
static int core_host(lua_State *L)
{
    const char *destination = luaL_optstring(L, 1, NULL);
    mp_host_options o = {
        .dry = lua_toboolean(L, 2),
        .ssh_config = luaL_optstring(L, 3, NULL),
        .ssh_program = luaL_optstring(L, 4, NULL),
        .connect_timeout = luaL_optnumber(L, 5, 0),
        .dead_after = luaL_optnumber(L, 6, 0),
        .no_shell = lua_toboolean(L, 7),
    };
    mp_host **h = lua_newuserdatauv(L, sizeof *h, 0);
    int rc;

    *h = NULL;
    luaL_setmetatable(L, class_name);
    rc = mp_host_open(h, destination, &o);
    if (rc != MP_OK)
        return bind_failure(L, rc, "'%s' is no host", destination != NULL ? destination : "local");
    return 1;
}

/* core.reads(argv): whether a command is known to only read */
static int core_reads(lua_State *L)
{
    lua_pushboolean(L, mp_verb_reads(bind_check_argv(L, 1)));
    return 1;
}

void bind_host_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"name", host_name}, {"dry", host_dry}, {"close", host_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"host", core_host}, {"reads", core_reads}, {NULL, NULL}};

    bind_class(L, class_name, methods, host_close, host_close);
    luaL_setfuncs(L, functions, 0);
}
