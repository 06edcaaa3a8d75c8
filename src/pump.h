/*
 * pump.h - floor 3: the poll loop that drives n programs as one pipe, and says which of them is to blame.
 */
#ifndef PUMP_H
#define PUMP_H

#include "proc.h"
#include "ring.h"
#include "throttle.h"

#include <stdatomic.h>

/* Takes the last program's output: 0, or a code that ends the whole pipe, with the reason in *f. */
typedef int pump_sink(void *arg, const char *bytes, size_t n, fault *f);

/* One program of a pipe. Set `p`, the rest zeroed. */
typedef struct pump_stage {
    proc *p;      /* started; stays the caller's, who destroys it */
    tail err;     /* afterwards: what it wrote on standard error; tail_free() */
    proc_end end; /* afterwards: how it ended */
    bool cut;     /* afterwards: its reader stopped reading while it was still at work */

    /* the pump's own */
    ring ring; /* from this stage's output to the next one's input */
    bool in_done, out_done, err_done, ended;
    bool no_splice;
    double blocked; /* since when its reader has been full, 0: it is not */
    double kill_at; /* when the next signal is due, 0: never */
    int kills;      /* how many it got */
} pump_stage;

typedef struct pump_options {
    const void *input; /* for the first program's standard input */
    size_t input_len;
    pump_sink *sink; /* NULL: the last program's output is thrown away */
    void *sink_arg;
    size_t buffer;           /* bytes per edge */
    mp_throttle *throttle;   /* of the bytes out of the first program, or NULL */
    double stall;            /* seconds without a byte moved, 0: never */
    double deadline;         /* of clock_monotonic(), 0: none */
    const wake *cancel;      /* or NULL */
    _Atomic uint64_t *moved; /* counts the bytes out of the first program; or NULL */
} pump_options;

/*
 * Runs until every program has ended and its output is read. MP_OK says only that: see pump_cause(). Otherwise
 * MP_CANCELLED, MP_TIMEOUT, MP_STALLED, MP_SYSTEM or the sink's code: then all programs got SIGTERM and, 2 seconds
 * later, SIGKILL; *f says what happened and *where (set always) the stage that it is about.
 */
int pump_run(pump_stage stages[], size_t n, const pump_options *options, size_t *where, fault *f);

/*
 * The stage that is the cause of a failure: the first one that failed and whose reader had not gone away before, as
 * what a program says after that is an effect. Else the last one that failed. -1: none did.
 */
ptrdiff_t pump_cause(const pump_stage stages[], size_t n);

#endif
