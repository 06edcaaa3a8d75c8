/*
 * log_test.c - words for codes, printable text.
 */
#include "helper.h"

static void shows(const char *bytes, size_t n, const char *expected)
{
    char *text = mp_printable(bytes, n);
    assert_string_equal(text, expected);
    free(text);
}

static void every_code_has_a_word(void **state)
{
    (void)state;
    assert_string_equal(mp_code_name(MP_OK), "ok");
    assert_string_equal(mp_code_name(MP_EXIT), "exit");
    assert_string_equal(mp_code_name(MP_DISCONNECT), "disconnect");
    assert_string_equal(mp_code_name(MP_DRY), "dry");
    assert_string_equal(mp_code_name(MP_SYSTEM), "system");
    assert_string_equal(mp_code_name(1), "unknown");
    assert_string_equal(mp_code_name(-1000), "unknown");
}

static void control_characters_are_escaped(void **state)
{
    (void)state;
    shows("a\tb\nc\x1b[0m\x7f\r", 12, "a\\tb\\nc\\x1b[0m\\x7f\\x0d\\x00");
}

static void utf8_passes_and_what_is_none_is_escaped(void **state)
{
    (void)state;
    shows("\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\x99", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\x99");
    shows("\xc3", 1, "\\xc3");                   /* cut off */
    shows("\xc0\x80", 2, "\\xc0\\x80");          /* overlong */
    shows("\xed\xa0\x80", 3, "\\xed\\xa0\\x80"); /* a surrogate */
    shows("\xc2\x9b", 2, "\\xc2\\x9b");          /* a control that terminals obey */
    shows("", 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_code_has_a_word),
        TEST(control_characters_are_escaped),
        TEST(utf8_passes_and_what_is_none_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
