/*
 * run.c - one command: started, fed, captured or put into a catalog, and its end put into a result.
 */
#include "run.h"
#include "catalog.h"
#include "host.h"
#include "result.h"

#include <assert.h>

#define LIMIT_DEFAULT ((size_t)64 * 1024 * 1024)

struct capture {
    buf out;
    size_t limit;
};

static int capture_bytes(void *arg, const char *bytes, size_t n, fault *f)
{
    struct capture *c = arg;
    size_t room = c->limit - c->out.len;

    if (buf_add(&c->out, bytes, n < room ? n : room) != MP_OK)
        return fault_set(f, MP_SYSTEM, "out of memory");
    return n <= room ? MP_OK : fault_set(f, MP_LIMIT, "more than %zu bytes of output", c->limit);
}

static int feed_catalog(void *arg, const char *bytes, size_t n, fault *f)
{
    mp_catalog *c = arg;
    int rc = mp_catalog_feed(c, bytes, n);
    return rc == MP_OK ? rc : fault_set(f, rc, "%s", catalog_fault(c));
}

/* Drives a command that was started. */
static void drive(mp_result *r, pump_stage *s, mp_host *host, const char *const argv[], const pump_options *options,
                  mp_catalog *catalog)
{
    fault f = {0};
    size_t where;
    int rc = pump_run(s, 1, options, &where, &f);

    result_stage(r, 0, s, mp_host_name(host), argv);
    if (rc == MP_OK && pump_cause(s, 1) >= 0) {
        result_blame(r, 0);
        return;
    }
    if (rc == MP_OK && catalog != NULL) {
        rc = mp_catalog_end(catalog);
        if (rc != MP_OK)
            (void)fault_set(&f, rc, "%s", catalog_fault(catalog));
    }
    if (rc != MP_OK)
        (void)result_fail(r, 0, &f, mp_host_name(host), argv);
}

/* Whether a command may be started at all. */
static int admit(mp_host *host, const char *const argv[], const wake *cancel, fault *f)
{
    if (argv[0] == NULL || argv[0][0] == '\0')
        return fault_set(f, MP_INVALID, "a command without a program");
    if (mp_host_is_dry(host) && !mp_verb_reads(argv))
        return fault_set(f, MP_DRY, "not started on a dry host, as it may write");
    if (cancel != NULL && wake_is_set(cancel))
        return fault_set(f, MP_CANCELLED, "cancelled");
    return MP_OK;
}

int run_command(mp_result **out, mp_host *host, const char *const argv[], const mp_run_options *options,
                const wake *cancel, _Atomic uint64_t *moved)
{
    static const mp_run_options defaults;
    const mp_run_options *o = options != NULL ? options : &defaults;
    double start = clock_monotonic();
    struct capture capture = {.limit = o->limit > 0 ? o->limit : LIMIT_DEFAULT};
    _Atomic uint64_t own_count = 0;
    pump_options pump = {.input = o->input, .input_len = o->input_len, .cancel = cancel, .buffer = 0};
    pump_stage stage = {0};
    fault f = {0};
    buf warnings = {0};
    mp_result *r = result_new(1);

    assert(host != NULL && argv != NULL);
    *out = r;
    if (!result_is_usable(r))
        return r->code;
    pump.moved = moved != NULL ? moved : &own_count;
    pump.sink = o->catalog != NULL ? feed_catalog : capture_bytes;
    pump.sink_arg = o->catalog != NULL ? (void *)o->catalog : (void *)&capture;
    pump.deadline = o->timeout > 0 ? start + o->timeout : 0;
    if (admit(host, argv, cancel, &f) != MP_OK) {
        r->stages[0].code = result_fail(r, 0, &f, mp_host_name(host), argv[0] != NULL ? argv : NULL);
    } else if (host_start(&stage.p, host, argv, o->input != NULL ? HOST_STREAM : HOST_COMMAND, cancel, pump.deadline,
                          &warnings, &f) != MP_OK) {
        r->stages[0].code = result_fail(r, 0, &f, mp_host_name(host), NULL);
    } else {
        drive(r, &stage, host, argv, &pump, o->catalog);
        stage.p->ops->destroy(stage.p);
        tail_free(&stage.err);
    }
    if (o->catalog == NULL) {
        r->out_len = capture.out.len;
        r->out = buf_take(&capture.out);
    }
    if (warnings.len > 0)
        r->warnings = buf_take(&warnings);
    r->bytes = atomic_load(pump.moved);
    r->seconds = clock_monotonic() - start;
    return r->code;
}

int mp_run(mp_result **out, mp_host *host, const char *const argv[], const mp_run_options *options)
{
    return run_command(out, host, argv, options, NULL, NULL);
}
