/*
 * ring_test.c - the buffer between two programs.
 */
#include "helper.h"
#include "ring.h"

/* Puts n bytes of a counted pattern; false if the ring is full. */
static bool put(ring *r, size_t n, unsigned *next)
{
    size_t room;
    char *to = ring_space(r, &room);
    if (to == NULL)
        return false;
    n = n < room ? n : room;
    for (size_t i = 0; i < n; i++)
        to[i] = (char)((*next)++ % 251);
    ring_put(r, n);
    return true;
}

static size_t take(ring *r, size_t most, unsigned *next)
{
    size_t n;
    const char *bytes = ring_bytes(r, &n);
    if (bytes == NULL)
        return 0;
    n = n < most ? n : most;
    for (size_t i = 0; i < n; i++)
        assert_int_equal((unsigned char)bytes[i], (*next)++ % 251);
    ring_drop(r, n);
    return n;
}

static void bytes_come_out_as_they_went_in(void **state)
{
    ring r;
    unsigned in = 0, out = 0;
    (void)state;
    ring_init(&r, 256 * 1024);
    for (int i = 0; i < 3000; i++) {
        (void)put(&r, (size_t)(i * 37 % 9000) + 1, &in);
        if (i % 3 != 0)
            (void)take(&r, (size_t)(i * 53 % 12000) + 1, &out);
        assert_int_equal(r.len, in - out);
    }
    while (take(&r, SIZE_MAX, &out) > 0)
        continue;
    assert_int_equal(in, out);
    ring_free(&r);
}

static void it_never_holds_more_than_its_limit(void **state)
{
    ring r;
    unsigned in = 0;
    (void)state;
    ring_init(&r, 1024 * 1024);
    while (put(&r, SIZE_MAX, &in))
        continue;
    assert_false(ring_has_room(&r));
    assert_int_equal(r.len, 1024 * 1024);
    assert_true(r.blocks * r.block <= 1024 * 1024);
    ring_free(&r);
}

static void a_block_that_was_drained_is_used_again(void **state)
{
    ring r;
    unsigned in = 0, out = 0;
    (void)state;
    ring_init(&r, 64 * 1024);
    while (put(&r, SIZE_MAX, &in))
        continue;
    (void)take(&r, SIZE_MAX, &out);
    assert_true(ring_has_room(&r));
    assert_true(put(&r, 1, &in));
    assert_true(r.blocks <= r.max_blocks);
    ring_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_come_out_as_they_went_in),
        TEST(it_never_holds_more_than_its_limit),
        TEST(a_block_that_was_drained_is_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
