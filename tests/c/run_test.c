/*
 * run_test.c - one command: output, input, limits, time, and the words for what went wrong.
 */
#include "helper.h"

#include <pthread.h>

#include "run.h"

static void output_and_error_stream_are_captured(void **state)
{
    mp_result *r = run_here(SH("printf 'a\\0b'; echo oops >&2"), NULL);
    (void)state;
    assert_int_equal(r->code, MP_OK);
    assert_null(r->message);
    assert_int_equal(r->out_len, 3);
    assert_memory_equal(r->out, "a\0b", 4);
    assert_string_equal(r->stages[0].err, "oops\n");
    assert_int_equal(r->stages[0].status, 0);
    assert_int_equal(r->bytes, 3);
    mp_result_free(r);
}

static void no_output_is_an_empty_string(void **state)
{
    mp_result *r = run_here(ARGV("true"), NULL);
    (void)state;
    assert_string_equal(r->out, "");
    assert_string_equal(r->stages[0].err, "");
    mp_result_free(r);
}

static void a_failure_is_one_line_with_the_last_thing_said(void **state)
{
    mp_result *r = run_here(SH("echo first >&2; printf 'cannot open\\033[1m x: gone\\n\\n' >&2; exit 3"), NULL);
    (void)state;
    assert_int_equal(r->code, MP_EXIT);
    assert_int_equal(r->stages[0].status, 3);
    assert_string_equal(r->message, "local: sh: exit 3: cannot open\\x1b[1m x: gone");
    assert_string_equal(r->stages[0].message, r->message);
    mp_result_free(r);
}

static void arguments_arrive_as_they_are(void **state)
{
    mp_result *r = run_here(ARGV("printf", "%s|", "a b", "", "it's", "$HOME", "*", "\n\t!"), NULL);
    (void)state;
    assert_string_equal(r->out, "a b||it's|$HOME|*|\n\t!|");
    mp_result_free(r);
}

static void input_is_fed_and_then_ends(void **state)
{
    size_t n = 3 * 1024 * 1024;
    char *input = malloc(n);
    mp_result *r;
    (void)state;
    for (size_t i = 0; i < n; i++)
        input[i] = (char)(i * 7 % 253);
    r = run_here(ARGV("cat"), &(mp_run_options){.input = input, .input_len = n});
    assert_int_equal(r->code, MP_OK);
    assert_int_equal(r->out_len, n);
    assert_memory_equal(r->out, input, n);
    mp_result_free(r);
    free(input);
}

static void input_that_is_not_wanted_is_no_failure(void **state)
{
    static char input[1024 * 1024];
    mp_result *r = run_here(ARGV("true"), &(mp_run_options){.input = input, .input_len = sizeof input});
    (void)state;
    assert_int_equal(r->code, MP_OK);
    mp_result_free(r);
}

static void without_input_there_is_an_end_of_file(void **state)
{
    mp_result *r = run_here(ARGV("cat"), &(mp_run_options){.timeout = 10});
    (void)state;
    assert_int_equal(r->code, MP_OK);
    mp_result_free(r);
}

static void an_error_stream_of_20_megabytes_does_not_deadlock(void **state)
{
    mp_result *r = run_here(SH("head -c 20000000 /dev/zero | tr '\\0' x >&2; echo end >&2; echo out; exit 1"),
                            &(mp_run_options){.timeout = 60});
    (void)state;
    assert_int_equal(r->code, MP_EXIT);
    assert_string_equal(r->out, "out\n");
    assert_true(strlen(r->stages[0].err) < 66000);
    assert_mentions(r->stages[0].err, "bytes left out");
    assert_mentions(r->message, "xend");
    mp_result_free(r);
}

static void too_much_output_is_refused(void **state)
{
    mp_result *r = run_here(ARGV("yes"), &(mp_run_options){.limit = 100000});
    (void)state;
    assert_int_equal(r->code, MP_LIMIT);
    assert_int_equal(r->out_len, 100000);
    assert_string_equal(r->message, "local: yes: more than 100000 bytes of output");
    mp_result_free(r);
}

static void output_of_exactly_the_limit_is_allowed(void **state)
{
    mp_result *r = run_here(SH("head -c 100000 /dev/zero"), &(mp_run_options){.limit = 100000});
    (void)state;
    assert_int_equal(r->code, MP_OK);
    mp_result_free(r);
}

static void a_command_that_takes_too_long_is_ended(void **state)
{
    mp_result *r = run_here(SH("echo begun; sleep 30; echo never"), &(mp_run_options){.timeout = 0.3});
    (void)state;
    assert_int_equal(r->code, MP_TIMEOUT);
    assert_true(r->seconds >= 0.3 && r->seconds < 2);
    assert_string_equal(r->out, "begun\n");
    assert_string_equal(r->message, "local: sh: not done within the time allowed");
    assert_int_equal(r->stages[0].signal, SIGTERM);
    mp_result_free(r);
}

static void one_that_ignores_sigterm_is_killed(void **state)
{
    mp_result *r = run_here(SH("trap '' TERM; while :; do sleep 1; done"), &(mp_run_options){.timeout = 0.2});
    (void)state;
    assert_int_equal(r->code, MP_TIMEOUT);
    assert_int_equal(r->stages[0].signal, SIGKILL);
    assert_true(r->seconds < 5);
    mp_result_free(r);
}

static void a_signal_is_named(void **state)
{
    mp_result *r = run_here(SH("kill -SEGV $$"), NULL);
    (void)state;
    assert_int_equal(r->code, MP_SIGNAL);
    assert_int_equal(r->stages[0].signal, SIGSEGV);
    assert_string_equal(r->message, "local: sh: ended by SIGSEGV");
    mp_result_free(r);
}

static void a_program_that_is_not_there_is_a_spawn_failure(void **state)
{
    mp_result *r = run_here(ARGV("no-such-program-here"), NULL);
    (void)state;
    assert_int_equal(r->code, MP_SPAWN);
    assert_string_equal(r->message, "local: no-such-program-here: not found in PATH");
    mp_result_free(r);
}

static void no_command_at_all_is_invalid(void **state)
{
    mp_result *r = run_here((const char *const[]){NULL}, NULL);
    (void)state;
    assert_int_equal(r->code, MP_INVALID);
    mp_result_free(r);
}

static void a_dry_host_refuses_what_writes_and_runs_what_reads(void **state)
{
    mp_host *host = here(true);
    char name[] = "/tmp/run_testXXXXXX";
    int fd = mkstemp(name);
    mp_result *r;
    (void)state;
    (void)close(fd);
    assert_int_equal(mp_run(&r, host, ARGV("rm", name), NULL), MP_DRY);
    assert_string_equal(r->message, "local: rm: not started on a dry host, as it may write");
    assert_int_equal(access(name, F_OK), 0);
    mp_result_free(r);
    assert_int_equal(mp_run(&r, host, ARGV("echo", "x"), NULL), MP_OK);
    mp_result_free(r);
    mp_host_close(host);
    assert_int_equal(unlink(name), 0);
}

static void a_listing_goes_into_the_catalog(void **state)
{
    mp_catalog *c;
    mp_result *r;
    (void)state;
    assert_int_equal(mp_catalog_new(&c, "u"), MP_OK);
    r = run_here(SH("printf 'tank\\t1\\ntank@a\\t2\\n'"), &(mp_run_options){.catalog = c});
    assert_int_equal(r->code, MP_OK);
    assert_null(r->out);
    assert_int_equal(mp_catalog_rows(c), 2);
    mp_result_free(r);
    mp_catalog_free(c);
}

static void a_broken_listing_is_a_parse_failure(void **state)
{
    static const char *const scripts[] = {"echo hello; sleep 30", "printf 'tank\\t1\\ntank@a\\t'"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        mp_catalog *c;
        mp_result *r;
        assert_int_equal(mp_catalog_new(&c, "u"), MP_OK);
        r = run_here(SH(scripts[i]), &(mp_run_options){.catalog = c});
        assert_int_equal(r->code, MP_PARSE);
        assert_mentions(r->message, i == 0 ? "local: sh: row 1 of the listing has too few columns: hello" : "row 2");
        assert_true(r->seconds < 5);
        mp_result_free(r);
        mp_catalog_free(c);
    }
}

static void a_failing_listing_is_that_failure_not_a_broken_listing(void **state)
{
    mp_catalog *c;
    mp_result *r;
    (void)state;
    assert_int_equal(mp_catalog_new(&c, "u"), MP_OK);
    r = run_here(SH("printf 'tank\\t'; echo pool is gone >&2; exit 1"), &(mp_run_options){.catalog = c});
    assert_int_equal(r->code, MP_EXIT);
    assert_mentions(r->message, "pool is gone");
    mp_result_free(r);
    mp_catalog_free(c);
}

static void *set_soon(void *arg)
{
    (void)poll(NULL, 0, 200);
    wake_set(arg);
    return NULL;
}

static void a_cancel_from_another_thread_ends_it_soon(void **state)
{
    mp_host *host = here(false);
    wake cancel;
    pthread_t thread;
    mp_result *r;
    (void)state;
    assert_int_equal(wake_open(&cancel), MP_OK);
    assert_int_equal(pthread_create(&thread, NULL, set_soon, &cancel), 0);
    assert_int_equal(run_command(&r, host, ARGV("sleep", "30"), NULL, &cancel, NULL), MP_CANCELLED);
    assert_true(r->seconds < 2);
    assert_string_equal(r->message, "local: sleep: cancelled");
    mp_result_free(r);
    assert_int_equal(run_command(&r, host, ARGV("true"), NULL, &cancel, NULL), MP_CANCELLED);
    mp_result_free(r);
    assert_int_equal(pthread_join(thread, NULL), 0);
    wake_close(&cancel);
    mp_host_close(host);
}

static void a_status_that_somebody_else_took_is_no_success(void **state)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    mp_result *r;
    (void)state;
    assert_int_equal(sigaction(SIGCHLD, &ignore, &before), 0);
    r = run_here(ARGV("true"), NULL);
    assert_int_equal(sigaction(SIGCHLD, &before, NULL), 0);
    assert_int_equal(r->code, MP_SYSTEM);
    assert_mentions(r->message, "exit status was taken");
    mp_result_free(r);
}

static void a_short_command_takes_a_few_milliseconds(void **state)
{
    mp_host *host = here(false);
    double start;
    (void)state;
    start = clock_monotonic();
    for (int i = 0; i < 100; i++) {
        mp_result *r;
        assert_int_equal(mp_run(&r, host, ARGV("true"), NULL), MP_OK);
        mp_result_free(r);
    }
    print_message("# mp_run of true: %.2f ms\n", (clock_monotonic() - start) * 10);
    assert_true(clock_monotonic() - start < 10);
    mp_host_close(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(output_and_error_stream_are_captured),
        TEST(no_output_is_an_empty_string),
        TEST(a_failure_is_one_line_with_the_last_thing_said),
        TEST(arguments_arrive_as_they_are),
        TEST(input_is_fed_and_then_ends),
        TEST(input_that_is_not_wanted_is_no_failure),
        TEST(without_input_there_is_an_end_of_file),
        TEST(an_error_stream_of_20_megabytes_does_not_deadlock),
        TEST(too_much_output_is_refused),
        TEST(output_of_exactly_the_limit_is_allowed),
        TEST(a_command_that_takes_too_long_is_ended),
        TEST(one_that_ignores_sigterm_is_killed),
        TEST(a_signal_is_named),
        TEST(a_program_that_is_not_there_is_a_spawn_failure),
        TEST(no_command_at_all_is_invalid),
        TEST(a_dry_host_refuses_what_writes_and_runs_what_reads),
        TEST(a_listing_goes_into_the_catalog),
        TEST(a_broken_listing_is_a_parse_failure),
        TEST(a_failing_listing_is_that_failure_not_a_broken_listing),
        TEST(a_cancel_from_another_thread_ends_it_soon),
        TEST(a_status_that_somebody_else_took_is_no_success),
        TEST(a_short_command_takes_a_few_milliseconds),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
