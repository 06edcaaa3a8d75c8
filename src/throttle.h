/*
 * throttle.h - floor 0: a rate that any number of pipes keep to together. Any thread.
 *
 * All that is kept is the time at which what was let through is paid for. Who moves bytes asks how many may go, moves
 * them and says so; two who ask at the same moment get the same answer, and both wait the longer for it afterwards.
 */
#ifndef THROTTLE_H
#define THROTTLE_H

#include "moonpool.h"

#include <stdatomic.h>

struct mp_throttle {
    _Atomic uint64_t rate; /* bytes per second, 0: no limit */
    _Atomic double paid;   /* of clock_monotonic() */
};

/* One in the caller's own memory. */
void throttle_init(mp_throttle *t, uint64_t rate);
/* Bytes that may go at the time `now` (of clock_monotonic()): 0 while it is too few to be worth moving. */
size_t throttle_allows(const mp_throttle *t, double now);
/* Seconds until some may go, 0: at once. */
double throttle_wait(const mp_throttle *t, double now);
/* Says that n bytes went. */
void throttle_count(mp_throttle *t, size_t n, double now);

#endif
