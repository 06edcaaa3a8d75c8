/*
 * base_test.c - buffers, tails, faults, quoting and wakes.
 */
#include "helper.h"

static void a_buffer_is_always_ended_by_a_nul(void **state)
{
    buf b = {0};
    (void)state;
    assert_int_equal(buf_str(&b, "abc"), MP_OK);
    assert_int_equal(buf_fmt(&b, "-%d-%s", 42, "x"), MP_OK);
    assert_string_equal(b.data, "abc-42-x");
    buf_drop(&b, 4);
    assert_string_equal(b.data, "42-x");
    assert_int_equal(b.len, 4);
    buf_free(&b);
}

static void taking_an_empty_buffer_gives_an_empty_string(void **state)
{
    buf b = {0};
    char *text = buf_take(&b);
    (void)state;
    assert_string_equal(text, "");
    free(text);
}

static void a_short_error_stream_is_kept_whole(void **state)
{
    tail t = {0};
    char *text, block[1000];
    (void)state;
    for (int i = 0; i < 60; i++) {
        memset(block, 'a' + i % 26, sizeof block);
        tail_add(&t, block, sizeof block);
    }
    text = tail_text(&t);
    assert_int_equal(strlen(text), 60000);
    for (int i = 0; i < 60000; i++)
        assert_int_equal(text[i], 'a' + i / 1000 % 26);
    free(text);
    tail_free(&t);
}

static void a_long_error_stream_keeps_both_ends(void **state)
{
    tail t = {0};
    char *text, line[32];
    (void)state;
    for (int i = 0; i < 100000; i++) {
        int n = snprintf(line, sizeof line, "line %06d\n", i);
        tail_add(&t, line, (size_t)n);
    }
    text = tail_text(&t);
    assert_memory_equal(text, "line 000000\n", 12);
    assert_mentions(text, "\n[... 1134464 bytes left out ...]\n");
    assert_string_equal(text + strlen(text) - 24, "line 099998\nline 099999\n");
    free(text);
    tail_free(&t);
}

static void a_fault_with_errno_says_what_the_system_said(void **state)
{
    fault f = {0};
    (void)state;
    errno = ENOENT;
    assert_int_equal(fault_errno(&f, "open %s", "x"), MP_SYSTEM);
    assert_string_equal(f.text, "open x: No such file or directory");
    assert_int_equal(fault_set(NULL, MP_DRY, "nobody asks"), MP_DRY);
}

static void quoting_leaves_plain_words_bare_and_quotes_the_rest(void **state)
{
    char *text = mp_quote(ARGV("zfs", "list", "-o", "a,b", "tank/a b@x", "it's", "", "=x", "$HOME"));
    (void)state;
    assert_string_equal(text, "zfs list -o a,b 'tank/a b@x' 'it'\\''s' '' '=x' '$HOME'");
    free(text);
}

/* Runs a script through a login shell and compares what it prints. */
static void says(const char *shell, const char *script, const char *expected)
{
    buf b = {0};
    char out[256];
    size_t n;
    FILE *f;
    char *quoted;
    assert_int_equal(argv_login_shell(&b, script), MP_OK);
    quoted = mp_quote(ARGV(shell, "-c", b.data));
    f = popen(quoted, "r");
    n = fread(out, 1, sizeof out - 1, f);
    out[n] = '\0';
    assert_int_equal(pclose(f), 0);
    assert_string_equal(out, expected);
    free(quoted);
    buf_free(&b);
}

static void a_script_passes_any_login_shell_unchanged(void **state)
{
    static const char *const shells[] = {"/bin/sh",   "/bin/bash",     "/bin/csh",
                                         "/bin/tcsh", "/usr/bin/tcsh", "/usr/bin/fish"};
    (void)state;
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (access(shells[i], X_OK) != 0)
            continue;
        says(shells[i], "echo plain words", "plain words\n");
        says(shells[i], "printf %s 'a!b\\c'\"$((1+2))\"'%d\xc3\xa4'", "a!b\\c3%d\xc3\xa4");
        says(shells[i], "echo 'two\nlines'\necho `echo tick`\n\n", "two\nlines\ntick\n");
    }
}

static void a_wake_stays_set_until_it_is_cleared(void **state)
{
    wake w;
    (void)state;
    assert_int_equal(wake_open(&w), MP_OK);
    assert_false(wake_is_set(&w));
    wake_set(&w);
    wake_set(&w);
    assert_true(wake_is_set(&w));
    assert_true(wake_is_set(&w));
    wake_clear(&w);
    assert_false(wake_is_set(&w));
    wake_close(&w);
}

static void pipes_stay_away_from_the_standard_descriptors(void **state)
{
    int saved = fcntl(0, F_DUPFD_CLOEXEC, 100), fds[2];
    (void)state;
    (void)close(0);
    assert_int_equal(fd_pipe(fds), 0);
    assert_true(fds[0] > 2 && fds[1] > 2);
    assert_true((fcntl(fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(fds[1], F_GETFD) & FD_CLOEXEC) != 0);
    (void)close(fds[0]);
    (void)close(fds[1]);
    assert_int_equal(dup2(saved, 0), 0);
    (void)close(saved);
}

static void a_copied_vector_is_one_block(void **state)
{
    char **copy = argv_copy(ARGV("a", "", "long word"));
    (void)state;
    assert_string_equal(copy[0], "a");
    assert_string_equal(copy[1], "");
    assert_string_equal(copy[2], "long word");
    assert_null(copy[3]);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_buffer_is_always_ended_by_a_nul),
        TEST(taking_an_empty_buffer_gives_an_empty_string),
        TEST(a_short_error_stream_is_kept_whole),
        TEST(a_long_error_stream_keeps_both_ends),
        TEST(a_fault_with_errno_says_what_the_system_said),
        TEST(quoting_leaves_plain_words_bare_and_quotes_the_rest),
        TEST(a_script_passes_any_login_shell_unchanged),
        TEST(a_wake_stays_set_until_it_is_cleared),
        TEST(pipes_stay_away_from_the_standard_descriptors),
        TEST(a_copied_vector_is_one_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
