/*
 * slab_test.c - memory in small pieces.
 */
#include "helper.h"
#include "slab.h"

static void a_piece_keeps_its_contents_when_it_grows_and_shrinks(void **state)
{
    slab s = {0};
    size_t sizes[] = {1, 16, 17, 200, 512, 513, 100000, 513, 512, 40, 1}, old = 0;
    char *p = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        p = slab_realloc(&s, p, old, sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t at = 0; at < sizes[i] && at < old; at++)
            assert_int_equal((unsigned char)p[at], i - 1);
        memset(p, (int)i, sizes[i]);
        old = sizes[i];
    }
    assert_null(slab_realloc(&s, p, old, 0));
    slab_free(&s);
}

/* Pieces of many sizes, given back in another order than taken: each must still have what was written into it. */
static void pieces_do_not_overlap(void **state)
{
    enum { PIECES = 3000 };
    static unsigned char *pieces[PIECES];
    static size_t sizes[PIECES];
    slab s = {0};
    unsigned random = 1;

    (void)state;
    for (int round = 0; round < 20 * PIECES; round++) {
        size_t i = (random = random * 1103515245 + 12345) >> 8, size;
        i %= PIECES;
        size = (random >> 20) % 700 + 1;
        for (size_t at = 0; at < sizes[i]; at++)
            assert_int_equal(pieces[i][at], i % 251);
        pieces[i] = slab_realloc(&s, pieces[i], sizes[i], size);
        assert_non_null(pieces[i]);
        memset(pieces[i], (int)(i % 251), size);
        sizes[i] = size;
    }
    for (int i = 0; i < PIECES; i++)
        (void)slab_realloc(&s, pieces[i], sizes[i], 0);
    slab_free(&s);
}

static void what_is_given_back_is_the_next_piece_of_its_size(void **state)
{
    slab s = {0};
    size_t blocks = 0;

    (void)state;
    for (int i = 0; i < 100000; i++)
        assert_null(slab_realloc(&s, slab_realloc(&s, NULL, 5, 250), 250, 0));
    for (void **block = s.blocks; block != NULL; block = *block)
        blocks++;
    assert_true(blocks <= 1);
    slab_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_piece_keeps_its_contents_when_it_grows_and_shrinks),
        TEST(pieces_do_not_overlap),
        TEST(what_is_given_back_is_the_next_piece_of_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
