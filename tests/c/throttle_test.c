/*
 * throttle_test.c - a rate that several pipes keep to together; on a clock of the test's own.
 */
#include "helper.h"
#include "throttle.h"

/* Bytes that `movers` get through in so many seconds, each taking what it is allowed as soon as it may. */
static double moved(mp_throttle *t, int movers, double from, double seconds)
{
    double bytes = 0;

    for (double now = from; now < from + seconds; now += 0.001)
        for (int i = 0; i < movers; i++) {
            size_t n = throttle_allows(t, now);
            throttle_count(t, n, now);
            bytes += (double)n;
        }
    return bytes;
}

static void several_keep_to_one_rate(void **state)
{
    static const uint64_t rates[] = {1, 3, 1000, 5000000};
    mp_throttle t;

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        double now, rate = (double)rates[i], bytes;
        throttle_init(&t, rates[i]);
        now = clock_monotonic();
        bytes = moved(&t, 3, now, 20);
        print_message("# %g bytes a second: %g\n", rate, bytes / 20);
        assert_true(bytes > 18 * rate && bytes < 21 * rate + 1);
    }
}

static void who_must_wait_is_told_for_how_long(void **state)
{
    static const uint64_t rates[] = {1, 2, 3, 7, 1000, 5000000};
    mp_throttle t;

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        double now = clock_monotonic() + 100;
        throttle_init(&t, rates[i]);
        assert_true(throttle_allows(&t, now) > 0);
        throttle_count(&t, throttle_allows(&t, now) + 1000000, now);
        assert_int_equal(throttle_allows(&t, now), 0);
        assert_true(throttle_wait(&t, now) > 0);
        now += throttle_wait(&t, now) + 1e-6;
        assert_true(throttle_allows(&t, now) > 0);
        assert_true(throttle_wait(&t, now) <= 0);
    }
}

static void a_long_pause_saves_up_a_quarter_of_a_second(void **state)
{
    mp_throttle t;

    (void)state;
    throttle_init(&t, 1000);
    assert_int_equal(throttle_allows(&t, clock_monotonic() + 3600), 250);
}

static void another_rate_counts_at_once_and_none_is_no_limit(void **state)
{
    mp_throttle *t;
    double now = clock_monotonic();

    (void)state;
    assert_int_equal(mp_throttle_new(&t, 10), MP_OK);
    throttle_count(t, 1000, now);
    assert_int_equal(throttle_allows(t, now + 1), 0);
    mp_throttle_set(t, 0);
    assert_true(throttle_allows(t, now + 1) == SIZE_MAX);
    assert_true(throttle_wait(t, now + 1) <= 0);
    mp_throttle_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(several_keep_to_one_rate),
        TEST(who_must_wait_is_told_for_how_long),
        TEST(a_long_pause_saves_up_a_quarter_of_a_second),
        TEST(another_rate_counts_at_once_and_none_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
