/*
 * pipe.c - n programs on any hosts, each one's output the next one's input, and the one that is to blame if it fails.
 */
#include "pipe.h"
#include "host.h"
#include "result.h"

#include <assert.h>
#include <stdlib.h>

#define BUFFER_DEFAULT ((size_t)16 * 1024 * 1024)

/* Whether all stages may be started: asked before any of them is. *where: the one that may not. */
static int admit(const mp_stage stages[], size_t n, const wake *cancel, size_t *where, fault *f)
{
    for (size_t i = 0; i < n; i++) {
        *where = i;
        if (stages[i].argv[0] == NULL || stages[i].argv[0][0] == '\0')
            return fault_set(f, MP_INVALID, "a command without a program");
        if (mp_host_is_dry(stages[i].host) && !mp_verb_reads(stages[i].argv))
            return fault_set(f, MP_DRY, "not started on a dry host, as it may write");
    }
    *where = 0;
    if (cancel != NULL && wake_is_set(cancel))
        return fault_set(f, MP_CANCELLED, "cancelled");
    return MP_OK;
}

/* Starts the last one first: a receiver that can't be reached is known before a sender does anything. */
static int start_all(pump_stage pumped[], const mp_stage stages[], size_t n, const wake *cancel, buf *warnings,
                     size_t *where, fault *f)
{
    for (size_t i = n; i > 0; i--) {
        const mp_stage *s = &stages[i - 1];
        int rc = host_start(&pumped[i - 1].p, s->host, s->argv, HOST_STREAM, cancel, 0, warnings, f);
        if (rc != MP_OK) {
            *where = i - 1;
            return rc;
        }
    }
    return MP_OK;
}

static void drive(mp_result *r, pump_stage pumped[], const mp_stage stages[], size_t n, const pump_options *options)
{
    fault f = {0};
    size_t where;
    int rc = pump_run(pumped, n, options, &where, &f);
    ptrdiff_t cause = pump_cause(pumped, n);

    for (size_t i = 0; i < n; i++)
        result_stage(r, i, &pumped[i], mp_host_name(stages[i].host), stages[i].argv);
    if (rc != MP_OK)
        (void)result_fail(r, where, &f, mp_host_name(stages[where].host), stages[where].argv);
    else if (cause >= 0)
        result_blame(r, (size_t)cause);
}

int pipe_stages(mp_result **out, const mp_stage stages[], size_t n, const mp_pipe_options *options, const wake *cancel,
                _Atomic uint64_t *moved)
{
    static const mp_pipe_options defaults;
    const mp_pipe_options *o = options != NULL ? options : &defaults;
    double start = clock_monotonic();
    _Atomic uint64_t own_count = 0;
    mp_throttle own_throttle;
    pump_options pump = {.stall = o->stall_timeout, .cancel = cancel};
    pump_stage *pumped = calloc(n, sizeof *pumped);
    size_t where = 0;
    fault f = {0};
    buf warnings = {0};
    mp_result *r = result_new(n);
    int rc;

    assert(n > 0);
    *out = r;
    pump.moved = moved != NULL ? moved : &own_count;
    throttle_init(&own_throttle, o->rate);
    pump.throttle = o->throttle != NULL ? o->throttle : o->rate > 0 ? &own_throttle : NULL;
    pump.buffer = o->buffer > 0 ? o->buffer : BUFFER_DEFAULT;
    if (!result_is_usable(r))
        goto out;
    rc = pumped == NULL ? fault_set(&f, MP_SYSTEM, "out of memory") : admit(stages, n, cancel, &where, &f);
    if (rc == MP_OK)
        rc = start_all(pumped, stages, n, cancel, &warnings, &where, &f);
    if (rc == MP_OK) {
        drive(r, pumped, stages, n, &pump);
    } else {
        bool refused = rc == MP_DRY || rc == MP_INVALID;
        r->stages[where].code =
            result_fail(r, where, &f, mp_host_name(stages[where].host), refused ? stages[where].argv : NULL);
    }
    for (size_t i = 0; i < n && pumped != NULL; i++) {
        if (pumped[i].p != NULL)
            pumped[i].p->ops->destroy(pumped[i].p);
        tail_free(&pumped[i].err);
    }
    if (warnings.len > 0)
        r->warnings = buf_take(&warnings);
    r->bytes = atomic_load(pump.moved);
    r->seconds = clock_monotonic() - start;
out:
    buf_free(&warnings);
    free(pumped);
    return r->code;
}

int mp_pipe(mp_result **out, const mp_stage stages[], size_t n, const mp_pipe_options *options)
{
    return pipe_stages(out, stages, n, options, NULL, NULL);
}
