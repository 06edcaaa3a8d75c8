/*
 * state.c - floor 5: a Lua state with moonpool in it, what may run there, and the command line program.
 */
#include "bind.h"
#include "slab.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mp_state {
    lua_State *L;
    slab memory; /* Lua's own: a decision makes and forgets a table for each snapshot */
    bind_interrupts *interrupts;
    char *program;
    bool warns, in_warning;
};

/* ---- what scripts must not do ---------------------------------------------------------------------------- */

/* They would walk around the dry run and the log, or end an embedder's process. */
static int refuse(lua_State *L)
{
    return luaL_error(L, "%s is not available here: %s", lua_tostring(L, lua_upvalueindex(1)),
                      lua_tostring(L, lua_upvalueindex(2)));
}

static void replace(lua_State *L, const char *library, const char *function, const char *advice)
{
    lua_getglobal(L, library);
    lua_pushfstring(L, "%s.%s", library, function);
    lua_pushstring(L, advice);
    lua_pushcclosure(L, refuse, 2);
    lua_setfield(L, -2, function);
    lua_pop(L, 1);
}

/* Removes what is looked for in the current directory from package.path or package.cpath. */
static void forget_current_directory(lua_State *L, const char *field)
{
    luaL_Buffer b;
    const char *path;

    lua_getglobal(L, "package");
    lua_getfield(L, -1, field);
    path = lua_tostring(L, -1);
    luaL_buffinit(L, &b);
    while (path != NULL && *path != '\0') {
        size_t n = strcspn(path, ";");
        if (path[0] == '/') {
            luaL_addlstring(&b, path, n);
            luaL_addchar(&b, ';');
        }
        path += n;
        path += *path == ';';
    }
    luaL_pushresult(&b);
    lua_setfield(L, -3, field);
    lua_pop(L, 2);
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* Makes `require "moonpool.core"` and the Lua files that are carried along available. */
static void prepare(lua_State *L)
{
    luaL_requiref(L, "moonpool.core", luaopen_moonpool_core, 0);
    lua_pop(L, 1);
}

int luaopen_moonpool(lua_State *L)
{
    prepare(L);
    /* `require` is at work on "moonpool" itself: its Lua part is loaded under a name of its own. */
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonpool.init");
    lua_call(L, 1, 1);
    return 1;
}

/* warn(): off until a script says "@on", as for lua(1). */
static void on_warning(void *arg, const char *text, int more)
{
    mp_state *s = arg;

    if (!s->in_warning && !more && text[0] == '@') {
        s->warns = strcmp(text, "@on") == 0 || (s->warns && strcmp(text, "@off") != 0);
        return;
    }
    if (s->warns)
        (void)fprintf(stderr, "%s%s%s", s->in_warning ? "" : "warning: ", text, more ? "" : "\n");
    s->in_warning = more;
}

static int on_panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    (void)fprintf(stderr, "moonpool: %s\n", text != NULL ? text : "an error outside of a protected call");
    return 0;
}

static int open_libraries(lua_State *L)
{
    lua_pushboolean(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV"); /* LUA_PATH of whoever calls is not searched, as with lua -E */
    luaL_openlibs(L);
    forget_current_directory(L, "path");
    forget_current_directory(L, "cpath");
    replace(L, "os", "execute", "use host:run { … }");
    replace(L, "io", "popen", "use host:run { … } or host:pipe { … }");
    replace(L, "os", "exit", "return a status, or raise an error");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_moonpool);
    lua_setfield(L, -2, "moonpool");
    lua_pop(L, 1);
    prepare(L);
    return 0;
}

int mp_state_open(mp_state **out, const char *program)
{
    mp_state *s = calloc(1, sizeof *s);

    if (s == NULL)
        return MP_SYSTEM;
    s->program = strdup(program != NULL ? program : "moonpool");
    s->L = lua_newstate(slab_realloc, &s->memory);
    if (s->program == NULL || s->L == NULL)
        goto failed;
    (void)lua_atpanic(s->L, on_panic);
    lua_setwarnf(s->L, on_warning, s);
    lua_pushcfunction(s->L, open_libraries);
    if (lua_pcall(s->L, 0, 0, 0) != LUA_OK)
        goto failed;
    s->interrupts = bind_interrupts_of(s->L);
    *out = s;
    return MP_OK;
failed:
    mp_state_close(s);
    return MP_SYSTEM;
}

void mp_state_close(mp_state *state)
{
    if (state == NULL)
        return;
    if (state->L != NULL)
        lua_close(state->L);
    slab_free(&state->memory);
    free(state->program);
    free(state);
}

lua_State *mp_state_lua(mp_state *state)
{
    return state->L;
}

bool mp_state_interrupt(mp_state *state)
{
    return bind_interrupt(state->interrupts);
}

/* ---- running ------------------------------------------------------------------------------------------- */

static int to_text(lua_State *L)
{
    (void)luaL_tolstring(L, 1, NULL);
    return 1;
}

/* Turns the value on top of the stack into its text, malloc'd; NULL for nil, or without memory. */
static char *take_text(lua_State *L)
{
    const char *text;

    if (lua_isnil(L, -1))
        return NULL;
    lua_pushcfunction(L, to_text);
    lua_insert(L, -2);
    (void)lua_pcall(L, 1, 1, 0); /* its __tostring may fail, and that error have no text either */
    text = lua_tostring(L, -1);
    return strdup(text != NULL ? text : "an error without a text");
}

int mp_state_eval(mp_state *state, const char *text, const char *chunk, char **result)
{
    lua_State *L = state->L;
    int top = lua_gettop(L), rc = MP_OK;

    lua_pushfstring(L, "=%s", chunk != NULL ? chunk : "eval");
    if (luaL_loadbufferx(L, text, strlen(text), lua_tostring(L, -1), "t") != LUA_OK)
        rc = MP_PARSE;
    else if (lua_pcall(L, 0, 1, 0) != LUA_OK)
        rc = MP_EXIT;
    if (result != NULL)
        *result = take_text(L);
    lua_settop(L, top);
    return rc;
}

static int call_main(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonpool.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

int mp_state_main(mp_state *state, int argc, char *const argv[])
{
    lua_State *L = state->L;
    int status = 255, top = lua_gettop(L);
    char *text;

    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return printf("moonpool %s\n", MP_VERSION) < 0 || fflush(stdout) != 0;
    lua_pushcfunction(L, call_main);
    lua_createtable(L, argc, 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, i == 0 ? state->program : argv[i]);
        lua_rawseti(L, -2, i);
    }
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
        status = (int)lua_tointeger(L, -1);
    } else {
        text = take_text(L);
        (void)fprintf(stderr, "moonpool: internal error: %s\n", text != NULL ? text : "nil");
        free(text);
    }
    lua_settop(L, top);
    return status;
}
