/*
 * catalog_test.c - listings parsed as they arrive.
 */
#include "helper.h"
#include "catalog.h"

#include <stdio.h>
#include <time.h>

static mp_catalog *make(const char *columns)
{
    mp_catalog *c = NULL;
    assert_int_equal(mp_catalog_new(&c, columns), MP_OK);
    return c;
}

static const char sample[] = "tank\t11\t-\tfilesystem\n"
                             "tank@a\t12\t100\tsnapshot\n"
                             "tank/x y\t13\tnone\tvolume\n"
                             "tank/x y@a\t14\t200\tsnapshot\n"
                             "tank#m\t15\t300\tbookmark\n"
                             "tank@b:c%d\t18446744073709551615\t0\tsnapshot\n";

static void check_sample(const mp_catalog *c)
{
    ptrdiff_t row;
    assert_int_equal(mp_catalog_datasets(c), 2);
    assert_int_equal(mp_catalog_rows(c), 6);
    assert_int_equal(mp_catalog_find(c, "tank"), 0);
    assert_int_equal(mp_catalog_find(c, "tank/x y"), 1);
    assert_int_equal(mp_catalog_find(c, "tank/x"), -1);
    assert_string_equal(mp_catalog_dataset_name(c, 1), "tank/x y");
    row = mp_catalog_first(c, 0);
    assert_int_equal(mp_catalog_kind(c, (size_t)row), 0);
    assert_string_equal(mp_catalog_row_name(c, (size_t)row), "");
    assert_int_equal(mp_catalog_number(c, (size_t)row, 1), 11);
    assert_int_equal(mp_catalog_number(c, (size_t)row, 2), 0);
    assert_string_equal(mp_catalog_word(c, (size_t)row, 3), "filesystem");
    row = mp_catalog_next(c, (size_t)row);
    assert_int_equal(mp_catalog_kind(c, (size_t)row), '@');
    assert_string_equal(mp_catalog_row_name(c, (size_t)row), "a");
    row = mp_catalog_next(c, (size_t)row);
    assert_int_equal(mp_catalog_kind(c, (size_t)row), '#');
    assert_string_equal(mp_catalog_row_name(c, (size_t)row), "m");
    row = mp_catalog_next(c, (size_t)row);
    assert_string_equal(mp_catalog_row_name(c, (size_t)row), "b:c%d");
    assert_true(mp_catalog_number(c, (size_t)row, 1) == UINT64_MAX);
    assert_int_equal(mp_catalog_next(c, (size_t)row), -1);
    row = mp_catalog_next(c, (size_t)mp_catalog_first(c, 1));
    assert_int_equal(mp_catalog_number(c, (size_t)row, 2), 200);
}

static void a_listing_may_be_cut_at_any_byte(void **state)
{
    size_t n = sizeof sample - 1;
    (void)state;
    for (size_t at = 0; at <= n; at++) {
        mp_catalog *c = make("uus");
        assert_int_equal(mp_catalog_feed(c, sample, at), MP_OK);
        assert_int_equal(mp_catalog_feed(c, sample + at, n - at), MP_OK);
        assert_int_equal(mp_catalog_end(c), MP_OK);
        check_sample(c);
        mp_catalog_free(c);
    }
}

static void a_listing_may_come_byte_by_byte(void **state)
{
    mp_catalog *c = make("uus");
    (void)state;
    for (size_t i = 0; i + 1 < sizeof sample; i++)
        assert_int_equal(mp_catalog_feed(c, sample + i, 1), MP_OK);
    assert_int_equal(mp_catalog_end(c), MP_OK);
    check_sample(c);
    mp_catalog_free(c);
}

static void an_empty_listing_is_a_listing(void **state)
{
    mp_catalog *c = make("u");
    (void)state;
    assert_int_equal(mp_catalog_end(c), MP_OK);
    assert_int_equal(mp_catalog_datasets(c), 0);
    assert_int_equal(mp_catalog_find(c, "tank"), -1);
    mp_catalog_free(c);
}

static void breaks(const char *columns, const char *text, const char *why)
{
    mp_catalog *c = make(columns);
    int rc = mp_catalog_feed(c, text, strlen(text));
    if (rc == MP_OK)
        rc = mp_catalog_end(c);
    assert_int_equal(rc, MP_PARSE);
    assert_mentions(catalog_fault(c), why);
    assert_int_equal(mp_catalog_feed(c, "tank\t1\n", 7), MP_PARSE);
    mp_catalog_free(c);
}

static void what_is_no_listing_is_refused_with_the_row(void **state)
{
    (void)state;
    breaks("u", "tank\t1\ntank@a\n", "row 2 of the listing has too few columns: tank@a");
    breaks("u", "tank\t1\t2\n", "too many columns");
    breaks("u", "tank\t1x\n", "bad number");
    breaks("u", "tank\t\n", "bad number");
    breaks("u", "tank\t-1\n", "bad number");
    breaks("u", "tank\t18446744073709551616\n", "bad number");
    breaks("u", "\t1\n", "no proper name");
    breaks("u", "@a\t1\n", "no proper name");
    breaks("u", "tank@\t1\n", "no proper name");
    breaks("", "\n", "no proper name");
    breaks("u", "tank\t1\ntank@a\t1", "row 2 of the listing is cut off: tank@a\\t1");
}

static void a_row_with_a_nul_byte_is_refused(void **state)
{
    mp_catalog *c = make("s");
    (void)state;
    assert_int_equal(mp_catalog_feed(c, "tank\ta\0b\n", 9), MP_PARSE);
    mp_catalog_free(c);
}

static void a_line_without_an_end_does_not_eat_all_memory(void **state)
{
    mp_catalog *c = make("u");
    static char block[65536];
    int rc = MP_OK, n = 0;
    (void)state;
    memset(block, 'x', sizeof block);
    while (rc == MP_OK && n++ < 1000)
        rc = mp_catalog_feed(c, block, sizeof block);
    assert_int_equal(rc, MP_PARSE);
    assert_true(n < 20);
    mp_catalog_free(c);
}

static void unknown_column_types_are_refused(void **state)
{
    mp_catalog *c;
    (void)state;
    assert_int_equal(mp_catalog_new(&c, "uux"), MP_INVALID);
    assert_int_equal(mp_catalog_new(&c, "uuuuuuuuuuuuuuuuu"), MP_INVALID);
}

static void many_datasets_are_found_by_name(void **state)
{
    mp_catalog *c = make("u");
    char line[64];
    (void)state;
    for (int i = 0; i < 20000; i++) {
        int n = snprintf(line, sizeof line, "tank/d%d\t%d\n", i, i);
        assert_int_equal(mp_catalog_feed(c, line, (size_t)n), MP_OK);
    }
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(line, sizeof line, "tank/d%d", i);
        assert_int_equal(mp_catalog_find(c, line), i);
    }
    mp_catalog_free(c);
}

static size_t resident_kilobytes(void)
{
    size_t total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL) {
        if (fscanf(f, "%zu %zu", &total, &resident) != 2)
            resident = 0;
        (void)fclose(f);
    }
    return resident * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* A thousand datasets with a thousand snapshots each; all names different if `distinct`. */
static void million(bool distinct, size_t *kilobytes, double *seconds)
{
    mp_catalog *c = make("uuuuu");
    size_t before = resident_kilobytes(), len = 0;
    static char block[80000];
    *seconds = 0;
    for (int i = 0; i < 1000000; i++) {
        len += (size_t)snprintf(block + len, 160, "tank/some/data%03d@backup-20%010d\t%d\t%d\t%d\t%d\t%d\n", i / 1000,
                                distinct ? i : i % 1000, i + 1000000, 1700000000 + i, i, i * 3, 7);
        if (len > sizeof block - 160 || i == 999999) {
            double start = (double)clock() / CLOCKS_PER_SEC;
            assert_int_equal(mp_catalog_feed(c, block, len), MP_OK);
            *seconds += (double)clock() / CLOCKS_PER_SEC - start;
            len = 0;
        }
    }
    *kilobytes = resident_kilobytes() - before;
    assert_int_equal(mp_catalog_rows(c), 1000000);
    assert_int_equal(mp_catalog_datasets(c), 1000);
    assert_int_equal(mp_catalog_number(c, 999999, 1), 1999999);
    mp_catalog_free(c);
}

static void a_million_snapshots_fit_in_a_hundred_megabytes(void **state)
{
    size_t kilobytes;
    double seconds;
    (void)state;
    for (int distinct = 0; distinct < 2; distinct++) {
        million(distinct == 1, &kilobytes, &seconds);
        print_message("# a million rows, %s names: %zu KiB, %.2f s of the processor\n",
                      distinct ? "distinct" : "recurring", kilobytes, seconds);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        assert_true(kilobytes < 102400);
#endif
        assert_true(seconds < 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_listing_may_be_cut_at_any_byte),
        TEST(a_listing_may_come_byte_by_byte),
        TEST(an_empty_listing_is_a_listing),
        TEST(what_is_no_listing_is_refused_with_the_row),
        TEST(a_row_with_a_nul_byte_is_refused),
        TEST(a_line_without_an_end_does_not_eat_all_memory),
        TEST(unknown_column_types_are_refused),
        TEST(many_datasets_are_found_by_name),
        TEST(a_million_snapshots_fit_in_a_hundred_megabytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
