/*
 * throttle_test.c - a rate that several pipes keep to together; on a clock of the test's own.
 */
#include "helper.h"
#include "throttle.h"

#define MOVERS 3

/* Lets `movers` move all that they may for so many seconds, as if mover i came by every i + 1 milliseconds. */
static double moved(mp_throttle *t, double bytes[MOVERS], size_t movers, double seconds)
{
    throttle_turn turns[MOVERS] = {{0}};
    double start = clock_monotonic(), sum = 0;

    for (int ms = 0; ms < seconds * 1000; ms++)
        for (size_t i = 0; i < movers; i++) {
            double now = start + ms / 1000.0;
            for (size_t n; ms % (int)(i + 1) == 0 && (n = throttle_allows(t, &turns[i], now)) > 0;
                 bytes[i] += (double)n)
                throttle_count(&turns[i], n);
        }
    for (size_t i = 0; i < movers; i++)
        sum += bytes[i];
    return sum;
}

static void several_keep_to_one_rate_and_each_gets_its_share(void **state)
{
    static const uint64_t rates[] = {1, 3, 1000, 1000000};
    mp_throttle t;

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        for (size_t movers = 1; movers <= MOVERS; movers++) {
            double rate = (double)rates[i], each[MOVERS] = {0}, all;
            throttle_init(&t, rates[i]);
            all = moved(&t, each, movers, 20) / 20;
            print_message("# %g bytes a second, %zu movers: %g\n", rate, movers, all);
            assert_true(all > 0.9 * rate && all < 1.05 * rate + 0.1);
            for (size_t m = 0; m < movers; m++)
                assert_true(each[m] / 20 > 0.8 * all / (double)movers - 0.1);
        }
}

static void who_must_wait_is_told_for_how_long(void **state)
{
    static const uint64_t rates[] = {1, 2, 3, 7, 1000, 5000000};
    mp_throttle t;

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        throttle_turn turn = {0}, other = {0};
        double now = clock_monotonic() + 100;
        throttle_init(&t, rates[i]);
        for (size_t n; (n = throttle_allows(&t, &turn, now)) > 0;)
            throttle_count(&turn, n);
        assert_int_equal(throttle_allows(&t, &other, now), 0);
        assert_true(throttle_wait(&t, &turn, now) > 0);
        assert_true(throttle_wait(&t, &other, now) > throttle_wait(&t, &turn, now));
        now += throttle_wait(&t, &turn, now) + 1e-6;
        assert_true(throttle_allows(&t, &turn, now) > 0);
        assert_true(throttle_wait(&t, &turn, now) <= 0);
        assert_int_equal(throttle_allows(&t, &other, now), 0);
    }
}

static void a_long_pause_saves_up_a_quarter_of_a_second(void **state)
{
    throttle_turn turn = {0};
    double now = clock_monotonic() + 3600;
    size_t sum = 0;
    mp_throttle t;

    (void)state;
    throttle_init(&t, 1000);
    for (size_t n; (n = throttle_allows(&t, &turn, now)) > 0; sum += n)
        throttle_count(&turn, n);
    assert_in_range(sum, 250, 270);
}

static void another_rate_counts_at_once_and_none_is_no_limit(void **state)
{
    throttle_turn turn = {0};
    mp_throttle *t;
    double now = clock_monotonic();

    (void)state;
    assert_int_equal(mp_throttle_new(&t, 10), MP_OK);
    for (size_t n; (n = throttle_allows(t, &turn, now)) > 0;)
        throttle_count(&turn, n);
    mp_throttle_set(t, 0);
    assert_true(throttle_allows(t, &turn, now) == SIZE_MAX);
    assert_true(throttle_wait(t, &turn, now) <= 0);
    mp_throttle_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(several_keep_to_one_rate_and_each_gets_its_share),
        TEST(who_must_wait_is_told_for_how_long),
        TEST(a_long_pause_saves_up_a_quarter_of_a_second),
        TEST(another_rate_counts_at_once_and_none_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
