/*
 * bind_job.c - floor 5: jobs and the queue that they report to, as Lua values.
 *
 * A running job is kept alive by its queue (in the queue's user value), so that nobody has to hold on to it; what is
 * taken from the queue is the same Lua value that was started.
 */
#include "bind.h"

#include <string.h>

static const char job_class[] = "moonpool.job";
static const char queue_class[] = "moonpool.queue";
static const char throttle_class[] = "moonpool.throttle";

/* ---- results ------------------------------------------------------------------------------------------- */

static void push_text(lua_State *L, const char *field, const char *text)
{
    if (text == NULL)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void push_integer(lua_State *L, const char *field, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, field);
}

static void push_stages(lua_State *L, const mp_result *r)
{
    lua_createtable(L, (int)r->n_stages, 0);
    for (size_t i = 0; i < r->n_stages; i++) {
        const mp_stage_end *s = &r->stages[i];
        lua_createtable(L, 0, 5);
        push_text(L, "code", mp_code_name(s->code));
        push_text(L, "err", s->err);
        push_text(L, "message", s->message);
        push_integer(L, "status", s->status);
        push_integer(L, "signal", s->signal);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "stages");
}

static void push_result(lua_State *L, const mp_result *r)
{
    lua_createtable(L, 0, 8);
    push_text(L, "code", mp_code_name(r->code));
    push_text(L, "message", r->message);
    push_text(L, "warnings", r->warnings);
    if (r->code != MP_OK)
        push_integer(L, "stage", (lua_Integer)r->failed_stage + 1);
    if (r->out != NULL) {
        lua_pushlstring(L, r->out, r->out_len);
        lua_setfield(L, -2, "out");
    }
    push_integer(L, "bytes", (lua_Integer)r->bytes);
    lua_pushnumber(L, r->seconds);
    lua_setfield(L, -2, "seconds");
    push_stages(L, r);
}

/* ---- jobs ---------------------------------------------------------------------------------------------- */

static mp_job *check_job(lua_State *L, int arg)
{
    mp_job **j = luaL_checkudata(L, arg, job_class);
    luaL_argcheck(L, *j != NULL, arg, "the job was never started");
    return *j;
}

static int job_gc(lua_State *L)
{
    mp_job **j = luaL_checkudata(L, 1, job_class);
    mp_job_free(*j);
    *j = NULL;
    return 0;
}

static int job_cancel(lua_State *L)
{
    mp_job_cancel(check_job(L, 1));
    return 0;
}

static int job_done(lua_State *L)
{
    lua_pushboolean(L, mp_job_done(check_job(L, 1)));
    return 1;
}

static int job_bytes(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)mp_job_bytes(check_job(L, 1)));
    return 1;
}

static int job_result(lua_State *L)
{
    mp_job *job = check_job(L, 1);
    if (!mp_job_done(job))
        return 0;
    push_result(L, mp_job_wait(job));
    return 1;
}

/* ---- the queue ----------------------------------------------------------------------------------------- */

static mp_queue *opt_queue(lua_State *L, int arg)
{
    mp_queue **q;

    if (lua_isnoneornil(L, arg))
        return NULL;
    q = luaL_checkudata(L, arg, queue_class);
    luaL_argcheck(L, *q != NULL, arg, "the queue is closed");
    return *q;
}

static int queue_gc(lua_State *L)
{
    mp_queue **q = luaL_checkudata(L, 1, queue_class);
    mp_queue_free(*q);
    *q = NULL;
    return 0;
}

static int queue_fd(lua_State *L)
{
    luaL_checkudata(L, 1, queue_class);
    lua_pushinteger(L, mp_queue_fd(opt_queue(L, 1)));
    return 1;
}

/* queue:take(timeout): a job that ended; nil after that many seconds, or after an interrupt */
static int queue_take(lua_State *L)
{
    bind_interrupts *interrupts = bind_interrupts_of(L);
    double timeout = luaL_optnumber(L, 2, -1);
    mp_queue *queue;
    mp_job *job = NULL;
    unsigned count;

    luaL_checkudata(L, 1, queue_class);
    queue = opt_queue(L, 1);
    atomic_store(&interrupts->sleeper, queue);
    count = atomic_load(&interrupts->count);
    if (count == interrupts->seen)
        job = mp_queue_take(queue, timeout);
    interrupts->seen = count;
    atomic_store(&interrupts->sleeper, NULL);
    if (job == NULL)
        return 0;
    (void)lua_getiuservalue(L, 1, 1);
    (void)lua_rawgetp(L, -1, job);
    lua_pushnil(L);
    lua_rawsetp(L, -3, job);
    return 1;
}

static int core_queue(lua_State *L)
{
    mp_queue **q = lua_newuserdatauv(L, sizeof *q, 1);

    *q = NULL;
    luaL_setmetatable(L, queue_class);
    lua_newtable(L);
    (void)lua_setiuservalue(L, -2, 1);
    if (mp_queue_new(q) != MP_OK)
        return bind_failure(L, MP_SYSTEM, "no queue: out of memory or descriptors");
    return 1;
}

/* ---- starting ------------------------------------------------------------------------------------------ */

/* An empty job on the stack; its user value keeps `keep` (a stack index, or 0) alive. */
static mp_job **new_job(lua_State *L, int keep)
{
    mp_job **j = lua_newuserdatauv(L, sizeof *j, 1);

    *j = NULL;
    luaL_setmetatable(L, job_class);
    if (keep != 0) {
        lua_pushvalue(L, keep);
        (void)lua_setiuservalue(L, -2, 1);
    }
    return j;
}

/* With the started job on top of the stack: the queue (at 1) keeps it alive until it is taken. */
static int started(lua_State *L, mp_job *const *job, int rc)
{
    if (rc != MP_OK)
        return bind_failure(L, rc, "can't start a job: no thread");
    if (!lua_isnoneornil(L, 1)) {
        (void)lua_getiuservalue(L, 1, 1);
        lua_pushvalue(L, -2);
        lua_rawsetp(L, -2, *job);
        lua_pop(L, 1);
    }
    return 1;
}

/* core.run(queue, host, argv, input, timeout, limit, catalog) */
static int core_run(lua_State *L)
{
    mp_queue *queue = opt_queue(L, 1);
    mp_host *host = bind_check_host(L, 2);
    mp_run_options o = {.timeout = luaL_optnumber(L, 5, 0)};
    lua_Integer limit = luaL_optinteger(L, 6, 0);
    const char *const *argv;
    mp_job **job;

    luaL_argcheck(L, limit >= 0, 6, "a limit is not negative");
    o.input = luaL_optlstring(L, 4, NULL, &o.input_len);
    o.limit = (size_t)limit;
    o.catalog = lua_isnoneornil(L, 7) ? NULL : bind_check_catalog(L, 7);
    argv = bind_check_argv(L, 3);
    job = new_job(L, o.catalog != NULL ? 7 : 0);
    return started(L, job, mp_job_run(job, queue, host, argv, &o));
}

/* ---- a rate for several pipes ---------------------------------------------------------------------------- */

static lua_Integer check_rate(lua_State *L, int arg)
{
    lua_Integer rate = luaL_optinteger(L, arg, 0);
    luaL_argcheck(L, rate >= 0, arg, "a rate is not negative");
    return rate;
}

static int throttle_gc(lua_State *L)
{
    mp_throttle **t = luaL_checkudata(L, 1, throttle_class);
    mp_throttle_free(*t);
    *t = NULL;
    return 0;
}

/* throttle:set(rate): bytes per second from now on, 0: no limit */
static int throttle_set(lua_State *L)
{
    mp_throttle **t = luaL_checkudata(L, 1, throttle_class);
    mp_throttle_set(*t, (uint64_t)check_rate(L, 2));
    return 0;
}

/* core.throttle(rate): what several pipes can be given as their rate, which they then keep to together */
static int core_throttle(lua_State *L)
{
    lua_Integer rate = check_rate(L, 1);
    mp_throttle **t = lua_newuserdatauv(L, sizeof *t, 0);

    *t = NULL;
    luaL_setmetatable(L, throttle_class);
    if (mp_throttle_new(t, (uint64_t)rate) != MP_OK)
        return bind_failure(L, MP_SYSTEM, "out of memory");
    return 1;
}

/* core.pipe(queue, hosts, argvs, buffer, rate, stall_timeout): the rate is a number or a throttle */
static int core_pipe(lua_State *L)
{
    mp_queue *queue = opt_queue(L, 1);
    mp_throttle **shared = luaL_testudata(L, 5, throttle_class);
    lua_Integer buffer = luaL_optinteger(L, 4, 0), rate = shared != NULL ? 0 : check_rate(L, 5);
    mp_pipe_options o = {.stall_timeout = luaL_optnumber(L, 6, 0)};
    lua_Integer n;
    mp_stage *stages;
    mp_job **job;

    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    n = luaL_len(L, 2);
    luaL_argcheck(L, n > 0 && n <= 100 && n == luaL_len(L, 3), 3, "one to 100 stages, each with a host and a command");
    luaL_argcheck(L, buffer >= 0, 4, "a size is not negative");
    o.buffer = (size_t)buffer;
    o.rate = (uint64_t)rate;
    o.throttle = shared != NULL ? *shared : NULL;
    luaL_checkstack(L, (int)n * 3 + 8, "too many stages");
    stages = lua_newuserdatauv(L, (size_t)n * sizeof *stages, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        /* Host, command and its vector stay on the stack until the job has copied them. */
        (void)lua_geti(L, 2, i);
        stages[i - 1].host = bind_check_host(L, lua_gettop(L));
        (void)lua_geti(L, 3, i);
        stages[i - 1].argv = bind_check_argv(L, lua_gettop(L));
    }
    job = new_job(L, shared != NULL ? 5 : 0);
    return started(L, job, mp_job_pipe(job, queue, stages, (size_t)n, &o));
}

void bind_job_open(lua_State *L)
{
    static const luaL_Reg job_methods[] = {
        {"cancel", job_cancel}, {"done", job_done}, {"bytes", job_bytes}, {"result", job_result}, {NULL, NULL}};
    static const luaL_Reg queue_methods[] = {{"take", queue_take}, {"fd", queue_fd}, {"close", queue_gc}, {NULL, NULL}};
    static const luaL_Reg throttle_methods[] = {{"set", throttle_set}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"queue", core_queue}, {"run", core_run}, {"pipe", core_pipe}, {"throttle", core_throttle}, {NULL, NULL}};

    bind_class(L, job_class, job_methods, job_gc, job_gc);
    bind_class(L, queue_class, queue_methods, queue_gc, queue_gc);
    bind_class(L, throttle_class, throttle_methods, throttle_gc, bind_leave);
    luaL_setfuncs(L, functions, 0);
}
