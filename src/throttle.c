/*
 * throttle.c - bytes per second. A pause saves up for a quarter of a second; what goes at once is a fiftieth, so that a
 * low rate does not mean a byte per poll.
 */
#include "throttle.h"
#include "base.h"

#include <stdlib.h>

#define SAVED 0.25 /* seconds */
#define AT_ONCE_MAX 65536.0

void throttle_init(mp_throttle *t, uint64_t rate)
{
    atomic_init(&t->rate, rate);
    atomic_init(&t->paid, clock_monotonic());
}

int mp_throttle_new(mp_throttle **out, uint64_t rate)
{
    *out = malloc(sizeof **out);
    if (*out == NULL)
        return MP_SYSTEM;
    throttle_init(*out, rate);
    return MP_OK;
}

void mp_throttle_set(mp_throttle *throttle, uint64_t rate)
{
    atomic_store(&throttle->rate, rate);
}

void mp_throttle_free(mp_throttle *throttle)
{
    free(throttle);
}

static double at_once(double rate)
{
    double n = rate / 50;
    return n < 1 ? 1 : n > AT_ONCE_MAX ? AT_ONCE_MAX : n;
}

/* The seconds that count since the last was paid for: more than can be saved up is lost. Negative: there are debts. */
static double elapsed(double paid, double now, double rate)
{
    double most = at_once(rate) / rate;
    most = most < SAVED ? SAVED : most;
    return now - paid > most ? most : now - paid;
}

size_t throttle_allows(const mp_throttle *t, double now)
{
    double rate = (double)atomic_load(&t->rate), bytes;

    if (rate <= 0)
        return SIZE_MAX;
    bytes = elapsed(atomic_load(&t->paid), now, rate) * rate;
    return bytes < at_once(rate) ? 0 : (size_t)bytes;
}

double throttle_wait(const mp_throttle *t, double now)
{
    double rate = (double)atomic_load(&t->rate), wait;

    if (rate <= 0)
        return 0;
    wait = atomic_load(&t->paid) + at_once(rate) / rate - now;
    return wait > 0 ? wait : 0;
}

void throttle_count(mp_throttle *t, size_t n, double now)
{
    double rate = (double)atomic_load(&t->rate), paid = atomic_load(&t->paid);

    if (rate <= 0)
        return;
    while (!atomic_compare_exchange_weak(&t->paid, &paid, now - elapsed(paid, now, rate) + (double)n / rate))
        continue;
}
