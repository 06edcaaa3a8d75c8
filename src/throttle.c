/*
 * throttle.c - bytes per second. A pause saves up for a quarter of a second; a turn is a fiftieth, so that a low rate
 * does not mean a byte per poll.
 */
#include "throttle.h"
#include "base.h"

#include <stdlib.h>

#define SAVED 0.25 /* seconds */
#define AT_ONCE_MAX 65536.0

void throttle_init(mp_throttle *t, uint64_t rate)
{
    atomic_init(&t->rate, rate);
    atomic_init(&t->booked, clock_monotonic());
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

static void book(mp_throttle *t, throttle_turn *turn, double rate, double now)
{
    double booked = atomic_load(&t->booked);

    turn->left = (size_t)at_once(rate);
    do
        turn->from = booked < now - SAVED ? now - SAVED : booked;
    while (!atomic_compare_exchange_weak(&t->booked, &booked, turn->from + (double)turn->left / rate));
}

size_t throttle_allows(mp_throttle *t, throttle_turn *turn, double now)
{
    double rate = (double)atomic_load(&t->rate);

    if (rate <= 0)
        return SIZE_MAX;
    if (turn->left == 0)
        book(t, turn, rate, now);
    return now < turn->from ? 0 : turn->left;
}

double throttle_wait(const mp_throttle *t, const throttle_turn *turn, double now)
{
    return atomic_load(&t->rate) == 0 || turn->left == 0 || turn->from < now ? 0 : turn->from - now;
}

void throttle_count(throttle_turn *turn, size_t n)
{
    turn->left -= n < turn->left ? n : turn->left;
}
