/*
 * pipe_test.c - programs connected: bytes, back-pressure, limits, and who is to blame.
 */
#include "helper.h"
#include "pipe.h"

#include <pthread.h>

#define MAX_STAGES 4

/* Runs shell scripts as one pipe. */
static mp_result *pipe_here(const mp_pipe_options *options, const wake *cancel, const char *const scripts[])
{
    mp_host *host = here(false);
    const char *argv[MAX_STAGES][4];
    mp_stage stages[MAX_STAGES];
    mp_result *r = NULL;
    size_t n = 0;
    for (; scripts[n] != NULL; n++) {
        const char *const words[4] = {"sh", "-c", scripts[n], NULL};
        memcpy(argv[n], words, sizeof words);
        stages[n] = (mp_stage){host, argv[n]};
    }
    (void)pipe_stages(&r, stages, n, options, cancel, NULL);
    mp_host_close(host);
    assert_non_null(r);
    assert_int_equal(r->n_stages, n);
    return r;
}

#define PIPE(options, ...) pipe_here((options), NULL, ARGV(__VA_ARGS__))

static void succeeds(mp_result *r, uint64_t bytes)
{
    if (r->code != MP_OK)
        fail_msg("%s", r->message);
    assert_int_equal(r->bytes, bytes);
    mp_result_free(r);
}

static void blames(mp_result *r, int code, size_t stage, const char *words)
{
    assert_int_equal(r->code, code);
    assert_int_equal(r->failed_stage, stage);
    assert_mentions(r->message, words);
    mp_result_free(r);
}

static void three_stages_pass_every_byte(void **state)
{
    (void)state;
    succeeds(PIPE(NULL, "seq 1 3000000", "cat", "test \"$(md5sum)\" = \"$(seq 1 3000000 | md5sum)\""), 22888896);
}

static void a_buffer_smaller_than_the_stream_passes_every_byte(void **state)
{
    (void)state;
    succeeds(PIPE((&(mp_pipe_options){.buffer = 10000}), "seq 1 1000000", "sleep 0.3; cat",
                  "sleep 0.2; test \"$(md5sum)\" = \"$(seq 1 1000000 | md5sum)\""),
             6888896);
}

static void a_slow_reader_is_buffered_for(void **state)
{
    /* The writer ends at once, though its reader only begins a second later: 8 MiB are more than two pipes. */
    char name[] = "/tmp/pipe_testXXXXXX", writer[128], reader[128];
    int fd = mkstemp(name);
    (void)state;
    (void)close(fd);
    (void)snprintf(writer, sizeof writer, "head -c 8388608 /dev/zero; echo written > %s", name);
    (void)snprintf(reader, sizeof reader, "sleep 1; grep -q written %s && cat > /dev/null", name);
    succeeds(PIPE(NULL, writer, reader), 8388608);
    assert_int_equal(unlink(name), 0);
}

static void one_stage_alone_is_a_pipe_too(void **state)
{
    (void)state;
    succeeds(PIPE(NULL, "seq 1 1000"), 3893);
}

static void a_reader_that_fails_is_the_cause_not_its_writers_broken_pipe(void **state)
{
    (void)state;
    blames(PIPE(NULL, "yes", "head -c 100000 >/dev/null; echo out of space >&2; exit 1"), MP_EXIT, 1,
           "local: sh: exit 1: out of space");
    blames(PIPE(NULL, "yes", "cat", "head -c 100000 >/dev/null; echo out of space >&2; exit 1"), MP_EXIT, 2,
           "out of space");
}

static void a_writer_that_fails_is_the_cause_not_its_readers_complaint(void **state)
{
    (void)state;
    blames(PIPE(NULL, "echo partial; echo no such snapshot >&2; exit 2",
                "cat >/dev/null; echo incomplete stream >&2; exit 1"),
           MP_EXIT, 0, "exit 2: no such snapshot");
}

static void a_stage_in_the_middle_that_fails_is_the_cause(void **state)
{
    (void)state;
    blames(PIPE(NULL, "yes", "head -c 100000; echo corrupt >&2; exit 3", "cat >/dev/null; echo incomplete >&2; exit 1"),
           MP_EXIT, 1, "exit 3: corrupt");
}

static void a_reader_that_fails_before_anything_is_written_is_the_cause(void **state)
{
    mp_result *r = PIPE(NULL, "sleep 0.3; yes", "echo busy >&2; exit 1");
    (void)state;
    assert_true(r->seconds < 3);
    blames(r, MP_EXIT, 1, "busy");
}

static void a_silent_writer_whose_reader_failed_is_ended(void **state)
{
    mp_result *r = PIPE(NULL, "sleep 60", "echo busy >&2; exit 1");
    (void)state;
    assert_true(r->seconds < 5);
    blames(r, MP_EXIT, 1, "busy");
}

static void a_stage_that_heeds_no_signal_does_not_hold_up_its_own_writer(void **state)
{
    mp_result *r = PIPE(NULL, "exec yes", "trap '' TERM PIPE; while :; do sleep 1; done", "echo busy >&2; exit 1");
    (void)state;
    assert_int_equal(r->stages[1].signal, SIGKILL);
    assert_int_equal(r->stages[0].signal, SIGPIPE);
    blames(r, MP_EXIT, 2, "busy");
}

static void a_writer_that_ends_well_after_its_reader_failed_is_fine(void **state)
{
    mp_result *r = PIPE(NULL, "echo x; exit 0", "cat > /dev/null; sleep 0.2; exit 4");
    (void)state;
    assert_int_equal(r->stages[0].code, MP_OK);
    blames(r, MP_EXIT, 1, "exit 4");
}

static void a_reader_that_stops_early_and_is_content_leaves_the_writer_failed(void **state)
{
    mp_result *r = PIPE(NULL, "exec yes", "head -c 10 > /dev/null");
    (void)state;
    assert_int_equal(r->stages[1].code, MP_OK);
    assert_int_equal(r->stages[0].signal, SIGPIPE);
    blames(r, MP_SIGNAL, 0, "ended by SIGPIPE, after its reader had stopped reading");
}

static void a_reader_may_end_before_a_writer_that_has_nothing_more_to_say(void **state)
{
    (void)state;
    succeeds(PIPE(NULL, "echo all; sleep 0.5; exit 0", "head -n 1 > /dev/null"), 4);
}

static void a_writer_that_is_killed_is_a_failure(void **state)
{
    (void)state;
    blames(PIPE(NULL, "head -c 1000000 /dev/zero; kill -KILL $$", "cat > /dev/null"), MP_SIGNAL, 0, "ended by SIGKILL");
}

static void every_stage_that_floods_its_error_stream_goes_on(void **state)
{
    static const char flood[] = "head -c 20000000 /dev/zero >&2; cat";
    (void)state;
    succeeds(PIPE(NULL, "head -c 20000000 /dev/zero >&2; seq 1 100000", flood, flood), 588895);
}

static void a_program_that_is_not_there_starts_nothing_that_lasts(void **state)
{
    mp_host *host = here(false);
    const mp_stage stages[] = {{host, ARGV("no-such-sender")}, {host, ARGV("cat")}};
    mp_result *r;
    (void)state;
    assert_int_equal(mp_pipe(&r, stages, 2, NULL), MP_SPAWN);
    assert_int_equal(r->failed_stage, 0);
    assert_string_equal(r->message, "local: no-such-sender: not found in PATH");
    mp_result_free(r);
    mp_host_close(host);
}

static void a_pipe_with_one_writing_stage_on_a_dry_host_starts_nothing(void **state)
{
    mp_host *host = here(false), *dry = here(true);
    char name[] = "/tmp/pipe_testXXXXXX";
    int fd = mkstemp(name);
    const mp_stage stages[] = {{host, ARGV("rm", name)}, {dry, ARGV("zfs", "receive", "tank/x")}};
    mp_result *r;
    (void)state;
    (void)close(fd);
    assert_int_equal(mp_pipe(&r, stages, 2, NULL), MP_DRY);
    assert_int_equal(r->failed_stage, 1);
    assert_string_equal(r->message, "local: zfs receive: not started on a dry host, as it may write");
    assert_int_equal(access(name, F_OK), 0);
    mp_result_free(r);
    mp_host_close(host);
    mp_host_close(dry);
    assert_int_equal(unlink(name), 0);
}

static void a_stalled_pipe_is_ended_and_the_one_that_does_not_read_is_named(void **state)
{
    (void)state;
    blames(PIPE((&(mp_pipe_options){.stall_timeout = 0.4, .buffer = 65536}), "yes", "sleep 60"), MP_STALLED, 1,
           "nothing moved for 0.4 seconds");
    blames(PIPE((&(mp_pipe_options){.stall_timeout = 0.4}), "sleep 60", "cat"), MP_STALLED, 0, "nothing moved");
}

static void talk_on_the_error_stream_does_not_hide_a_stall(void **state)
{
    mp_result *r = PIPE((&(mp_pipe_options){.stall_timeout = 0.5}), "while :; do echo 0 >&2; sleep 0.1; done", "cat");
    (void)state;
    assert_true(r->seconds < 3);
    blames(r, MP_STALLED, 0, "nothing moved");
}

static void a_slow_but_steady_pipe_is_no_stall(void **state)
{
    (void)state;
    succeeds(PIPE((&(mp_pipe_options){.stall_timeout = 0.6}), "for i in 1 2 3 4 5 6; do echo; sleep 0.2; done", "cat"),
             6);
}

static void the_rate_is_kept_within_a_fifth(void **state)
{
    mp_result *r = PIPE((&(mp_pipe_options){.rate = 4000000}), "head -c 6000000 /dev/zero", "cat >/dev/null");
    double rate = (double)r->bytes / r->seconds;
    (void)state;
    print_message("# asked for 4 MB/s, got %.2f\n", rate / 1e6);
    assert_true(rate > 3.2e6 && rate < 4.8e6);
    succeeds(r, 6000000);
}

static void *set_soon(void *arg)
{
    (void)poll(NULL, 0, 200);
    wake_set(arg);
    return NULL;
}

static void a_cancel_ends_all_stages(void **state)
{
    wake cancel;
    pthread_t thread;
    mp_result *r;
    (void)state;
    assert_int_equal(wake_open(&cancel), MP_OK);
    assert_int_equal(pthread_create(&thread, NULL, set_soon, &cancel), 0);
    r = pipe_here(NULL, &cancel, ARGV("yes", "cat", "sleep 60"));
    assert_true(r->seconds < 2);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(r->stages[i].code, MP_SIGNAL);
    blames(r, MP_CANCELLED, 0, "cancelled");
    assert_int_equal(pthread_join(thread, NULL), 0);
    wake_close(&cancel);
}

static void a_pipe_whose_reader_keeps_up_uses_no_processor_time_while_idle(void **state)
{
    clock_t before = clock();
    (void)state;
    succeeds(PIPE(NULL, "echo a; sleep 1; echo b", "cat > /dev/null"), 4);
    assert_true((double)(clock() - before) / CLOCKS_PER_SEC < 0.3);
}

static void a_full_pipe_uses_no_processor_time_while_it_waits(void **state)
{
    clock_t before = clock();
    (void)state;
    blames(PIPE((&(mp_pipe_options){.stall_timeout = 1, .buffer = 65536}), "yes", "sleep 60"), MP_STALLED, 1, "");
    assert_true((double)(clock() - before) / CLOCKS_PER_SEC < 0.3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(three_stages_pass_every_byte),
        TEST(a_buffer_smaller_than_the_stream_passes_every_byte),
        TEST(a_slow_reader_is_buffered_for),
        TEST(one_stage_alone_is_a_pipe_too),
        TEST(a_reader_that_fails_is_the_cause_not_its_writers_broken_pipe),
        TEST(a_writer_that_fails_is_the_cause_not_its_readers_complaint),
        TEST(a_stage_in_the_middle_that_fails_is_the_cause),
        TEST(a_reader_that_fails_before_anything_is_written_is_the_cause),
        TEST(a_silent_writer_whose_reader_failed_is_ended),
        TEST(a_stage_that_heeds_no_signal_does_not_hold_up_its_own_writer),
        TEST(a_writer_that_ends_well_after_its_reader_failed_is_fine),
        TEST(a_reader_that_stops_early_and_is_content_leaves_the_writer_failed),
        TEST(a_reader_may_end_before_a_writer_that_has_nothing_more_to_say),
        TEST(a_writer_that_is_killed_is_a_failure),
        TEST(every_stage_that_floods_its_error_stream_goes_on),
        TEST(a_program_that_is_not_there_starts_nothing_that_lasts),
        TEST(a_pipe_with_one_writing_stage_on_a_dry_host_starts_nothing),
        TEST(a_stalled_pipe_is_ended_and_the_one_that_does_not_read_is_named),
        TEST(talk_on_the_error_stream_does_not_hide_a_stall),
        TEST(a_slow_but_steady_pipe_is_no_stall),
        TEST(the_rate_is_kept_within_a_fifth),
        TEST(a_cancel_ends_all_stages),
        TEST(a_pipe_whose_reader_keeps_up_uses_no_processor_time_while_idle),
        TEST(a_full_pipe_uses_no_processor_time_while_it_waits),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
