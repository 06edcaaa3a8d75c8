/*
 * bind.h - floor 5: the Lua module `moonpool.core`, one file per noun. Lua is the caller: wrong arguments raise, what
 * the world does wrong comes back as nil, a code's word and a message.
 */
#ifndef BIND_H
#define BIND_H

#include "moonpool.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>

/* What a signal handler may touch: how often it was called, and the queue that somebody sleeps on. One per Lua state.
 */
typedef struct bind_interrupts {
    atomic_uint count;
    atomic_bool pending; /* from the first one until a prompt waits for input again */
    _Atomic(mp_queue *) sleeper;
    unsigned seen; /* by the sleeper */
} bind_interrupts;

/* The interrupts of a state in which the module was opened. */
bind_interrupts *bind_interrupts_of(lua_State *L);
/* Counts one and ends a sleep. Returns true if one was pending already. Safe in a signal handler. */
bool bind_interrupt(bind_interrupts *i);

/* Opens `moonpool.core`. */
int luaopen_moonpool_core(lua_State *L);

/* Each adds its functions to the module at the top of the stack, and makes its metatables. */
void bind_host_open(lua_State *L);
void bind_job_open(lua_State *L);
void bind_catalog_open(lua_State *L);
void bind_system_open(lua_State *L);
void bind_embedded_open(lua_State *L);
void bind_regex_open(lua_State *L);
void bind_readline_open(lua_State *L);

/* What a binding gives to another. All raise a Lua error for an argument of another type. */
mp_host *bind_check_host(lua_State *L, int arg);
mp_catalog *bind_check_catalog(lua_State *L, int arg);
/* The array of words at `arg` as argv, valid until the next collection after the value pushed here is popped. */
const char *const *bind_check_argv(lua_State *L, int arg);

/* Pushes nil, the code's word and a message; returns 3. */
int bind_failure(lua_State *L, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with errno's text behind; the code is "system". */
int bind_errno(lua_State *L, const char *what);

/* Makes a metatable with methods, __gc, __close and __name. Leaves nothing on the stack. */
void bind_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc, lua_CFunction close);
/* A __close for what jobs may still use, or others hold: it stays until nobody has it any more. */
int bind_leave(lua_State *L);

#endif
