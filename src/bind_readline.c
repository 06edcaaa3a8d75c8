/*
 * bind_readline.c - floor 5: one line from a person, with editing, history and completion by libedit.
 */
#include "bind.h"

#include <errno.h>
#include <histedit.h>
#include <stdio.h>
#include <string.h>

static const char class_name[] = "moonpool.lines";

#define HISTORY_SIZE 1000

typedef struct lines {
    EditLine *el;
    History *history;
    lua_State *L; /* while a line is being read: for the prompt and completion */
    int complete; /* stack index of the completion function, 0: none */
    const char *prompt;
} lines;

static lines *lines_of(EditLine *el)
{
    lines *l = NULL;
    (void)el_get(el, EL_CLIENTDATA, &l);
    return l;
}

static char *prompt(EditLine *el)
{
    static char text[128];
    (void)snprintf(text, sizeof text, "%s", lines_of(el)->prompt);
    return text;
}

/* Asks Lua what to insert at the cursor: complete(text before it) gives a text; true if it has shown a choice; or nil.
 */
static unsigned char complete(EditLine *el, int ch)
{
    lines *l = lines_of(el);
    const LineInfo *line = el_line(el);
    unsigned char answer = CC_NORM;

    (void)ch;
    if (l->complete == 0)
        return CC_ERROR;
    lua_pushvalue(l->L, l->complete);
    lua_pushlstring(l->L, line->buffer, (size_t)(line->cursor - line->buffer));
    if (lua_pcall(l->L, 1, 1, 0) != LUA_OK)
        answer = CC_ERROR;
    else if (lua_isboolean(l->L, -1))
        answer = CC_REDISPLAY;
    else if (lua_type(l->L, -1) != LUA_TSTRING)
        answer = CC_ERROR;
    else
        answer = el_insertstr(el, lua_tostring(l->L, -1)) == 0 ? CC_REFRESH : CC_ERROR;
    lua_pop(l->L, 1);
    return answer;
}

static int lines_gc(lua_State *L)
{
    lines *l = luaL_checkudata(L, 1, class_name);
    if (l->el != NULL)
        el_end(l->el);
    if (l->history != NULL)
        history_end(l->history);
    l->el = NULL;
    l->history = NULL;
    return 0;
}

/*
 * lines:read(prompt, complete): a line without its newline; nil at the end of the input; false after an interrupt.
 */
static int lines_read(lua_State *L)
{
    lines *l = luaL_checkudata(L, 1, class_name);
    bind_interrupts *interrupts = bind_interrupts_of(L);
    unsigned before = atomic_load(&interrupts->count);
    const char *line;
    int n = 0;

    l->prompt = luaL_checkstring(L, 2);
    l->complete = lua_isfunction(L, 3) ? 3 : 0;
    l->L = L;
    atomic_store(&interrupts->pending, false);
    line = el_gets(l->el, &n);
    if (atomic_load(&interrupts->count) != before) {
        interrupts->seen = atomic_load(&interrupts->count);
        atomic_store(&interrupts->pending, false);
        el_reset(l->el);
        lua_pushboolean(L, 0);
        return 1;
    }
    if (line == NULL || n <= 0)
        return 0;
    lua_pushlstring(L, line, (size_t)n - (line[n - 1] == '\n'));
    return 1;
}

/* lines:remember(line, file): into the history, and into a file if one is given */
static int lines_remember(lua_State *L)
{
    lines *l = luaL_checkudata(L, 1, class_name);
    const char *line = luaL_checkstring(L, 2);
    const char *file = luaL_optstring(L, 3, NULL);
    HistEvent event;

    (void)history(l->history, &event, H_ENTER, line);
    if (file != NULL)
        (void)history(l->history, &event, H_SAVE, file);
    return 0;
}

/* core.lines(file): an editor of lines with the history of a file (or nil) */
static int core_lines(lua_State *L)
{
    const char *file = luaL_optstring(L, 1, NULL);
    lines *l = lua_newuserdatauv(L, sizeof *l, 0);
    HistEvent event;

    *l = (lines){0};
    luaL_setmetatable(L, class_name);
    l->history = history_init();
    l->el = el_init("moonpool", stdin, stdout, stderr);
    if (l->history == NULL || l->el == NULL)
        return luaL_error(L, "no line editing: out of memory");
    (void)history(l->history, &event, H_SETSIZE, HISTORY_SIZE);
    (void)history(l->history, &event, H_SETUNIQUE, 1);
    if (file != NULL)
        (void)history(l->history, &event, H_LOAD, file);
    (void)el_set(l->el, EL_CLIENTDATA, l);
    (void)el_set(l->el, EL_PROMPT, prompt);
    (void)el_set(l->el, EL_EDITOR, "emacs");
    (void)el_set(l->el, EL_HIST, history, l->history);
    (void)el_set(l->el, EL_ADDFN, "lua-complete", "complete by Lua", complete);
    (void)el_set(l->el, EL_BIND, "^I", "lua-complete", NULL);
    (void)el_source(l->el, NULL);
    return 1;
}

void bind_readline_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", lines_read}, {"remember", lines_remember}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"lines", core_lines}, {NULL, NULL}};

    bind_class(L, class_name, methods, lines_gc, bind_leave);
    luaL_setfuncs(L, functions, 0);
}
