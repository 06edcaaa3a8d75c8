/*
 * throttle.h - floor 0: a rate that any number of pipes keep to together. Any thread.
 *
 * Who has bytes to move books a turn: so many bytes, from the time at which all that was booked before has gone. As
 * nobody has more than one turn at a time, everybody gets as much, whoever is quickest to ask.
 */
#ifndef THROTTLE_H
#define THROTTLE_H

#include "moonpool.h"

#include <stdatomic.h>

struct mp_throttle {
    _Atomic uint64_t rate; /* bytes per second, 0: no limit */
    _Atomic double booked; /* until when, of clock_monotonic() */
};

/* What one who moves bytes has booked; zeroed to begin with. Its owner's thread. */
typedef struct throttle_turn {
    double from; /* of clock_monotonic() */
    size_t left; /* bytes */
} throttle_turn;

/* One in the caller's own memory. */
void throttle_init(mp_throttle *t, uint64_t rate);
/* Bytes that may go at the time `now` (of clock_monotonic()): 0 before the turn. Books one where there is none. */
size_t throttle_allows(mp_throttle *t, throttle_turn *turn, double now);
/* Seconds until some may go, 0: at once. */
double throttle_wait(const mp_throttle *t, const throttle_turn *turn, double now);
/* Says that n bytes went. */
void throttle_count(throttle_turn *turn, size_t n);

#endif
