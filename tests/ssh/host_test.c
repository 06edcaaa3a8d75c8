/*
 * host_test.c - commands and streams on a host behind a real sshd, over both transports: libssh and the ssh program.
 */
#include "server.h"

#include <pthread.h>

#include "host.h"

/* The transport of a test: NULL for libssh. */
static const char *transport(void **state)
{
    return *state;
}

static mp_host *far_host(const server *s, void **state, const mp_host_options *more)
{
    mp_host_options options = more != NULL ? *more : (mp_host_options){0};
    char config[128];
    mp_host *host;
    (void)snprintf(config, sizeof config, "%s/config", s->dir);
    options.ssh_config = config;
    options.ssh_program = transport(state);
    assert_int_equal(mp_host_open(&host, "far", &options), MP_OK);
    return host;
}

static void expect_run(mp_host *host, const char *const argv[], int code, const char *out, const char *message)
{
    mp_result *r;
    (void)mp_run(&r, host, argv, &(mp_run_options){.timeout = 20});
    if (r->code != code)
        fail_msg("%s instead of %s: %s", mp_code_name(r->code), mp_code_name(code), r->message);
    if (out != NULL)
        assert_string_equal(r->out, out);
    if (message != NULL)
        assert_string_equal(r->message, message);
    mp_result_free(r);
}

/* What one command prints, as a number. */
static long number_from(mp_host *host, const char *const argv[])
{
    mp_result *r;
    long n;
    (void)mp_run(&r, host, argv, NULL);
    if (r->code != MP_OK)
        fail_msg("%s", r->message);
    n = strtol(r->out, NULL, 10);
    mp_result_free(r);
    return n;
}

/* ---- commands ------------------------------------------------------------------------------------------ */

static void commands_are_exact_and_share_a_shell(void **state)
{
    server s;
    mp_host *host;
    long sh;
    double start;
    server_start(&s, NULL);
    host = far_host(&s, state, NULL);
    sh = number_from(host, SH("echo $PPID"));
    start = clock_monotonic();
    for (int i = 0; i < 100; i++)
        expect_run(host, ARGV("true"), MP_OK, "", NULL);
    print_message("# %.2f ms a command\n", (clock_monotonic() - start) * 10);
    expect_run(host, ARGV("printf", "%s|", "a b", "", "it's", "$HOME", "\n\t!\\", "*"), MP_OK,
               "a b||it's|$HOME|\n\t!\\|*|", NULL);
    expect_run(host, SH("echo oops >&2; exit 3"), MP_EXIT, "", "far: sh: exit 3: oops");
    expect_run(host, ARGV("no-such"), MP_SPAWN, "", "far: no-such: no-such: not found on the far side");
    expect_run(host, SH("kill -SEGV $$"), MP_SIGNAL, "", "far: sh: ended by SIGSEGV");
    assert_int_equal(number_from(host, SH("echo $PPID")), sh);
    mp_host_close(host);
    server_stop(&s);
}

static void five_megabytes_arrive_both_ways(void **state)
{
    size_t n = 5000001;
    char *input = malloc(n);
    server s;
    mp_host *host;
    mp_result *r;
    server_start(&s, NULL);
    host = far_host(&s, state, NULL);
    for (size_t i = 0; i < n; i++)
        input[i] = (char)(i * 31 % 257);
    (void)mp_run(&r, host, SH("cat; echo done >&2"), &(mp_run_options){.input = input, .input_len = n});
    assert_int_equal(r->code, MP_OK);
    assert_int_equal(r->out_len, n);
    assert_memory_equal(r->out, input, n);
    assert_string_equal(r->stages[0].err, "done\n");
    mp_result_free(r);
    (void)mp_run(&r, host, SH("head -c 5000001 /dev/zero"), NULL);
    assert_int_equal(r->out_len, n);
    mp_result_free(r);
    mp_host_close(host);
    server_stop(&s);
    free(input);
}

struct worker {
    pthread_t thread;
    mp_host *host;
    int failures;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < 5; i++) {
        mp_result *r;
        char text[32];
        (void)snprintf(text, sizeof text, "%p %d", arg, i);
        if (mp_run(&r, w->host, ARGV("printf", "%s", text), NULL) != MP_OK || strcmp(r->out, text) != 0)
            w->failures++;
        mp_result_free(r);
    }
    return NULL;
}

static void many_threads_work_where_a_connection_has_one_channel(void **state)
{
    struct worker workers[8];
    server s;
    mp_host *host;
    server_start(&s, "MaxSessions 1");
    host = far_host(&s, state, NULL);
    for (size_t i = 0; i < 8; i++) {
        workers[i] = (struct worker){.host = host};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].failures, 0);
    }
    for (int i = 0; i < 3; i++) {
        mp_stage stages[] = {{host, ARGV("echo", "x")}, {host, ARGV("cat")}};
        mp_result *r;
        (void)mp_pipe(&r, stages, 2, NULL);
        if (r->code != MP_OK)
            fail_msg("%s", r->message);
        assert_int_equal(r->bytes, 2);
        mp_result_free(r);
    }
    mp_host_close(host);
    server_stop(&s);
}

static void every_login_shell_will_do(void **state)
{
    static const char *const shells[] = {"/bin/bash", "/bin/tcsh", "/usr/bin/fish"};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        char force[128];
        server s;
        mp_host *host;
        mp_result *r;
        if (access(shells[i], X_OK) != 0)
            continue;
        (void)snprintf(force, sizeof force, "ForceCommand exec %s -c \"$SSH_ORIGINAL_COMMAND\"", shells[i]);
        server_start(&s, force);
        host = far_host(&s, state, NULL);
        expect_run(host, ARGV("printf", "%s|", "a!b", "it's\n", "\\'$x"), MP_OK, "a!b|it's\n|\\'$x|", NULL);
        (void)mp_run(&r, host, ARGV("printf", "%s|", "a!b", "it's\n", "\\'$x"),
                     &(mp_run_options){.input = "", .input_len = 0});
        if (r->code != MP_OK)
            fail_msg("%s: %s", shells[i], r->message);
        assert_string_equal(r->out, "a!b|it's\n|\\'$x|");
        mp_result_free(r);
        mp_host_close(host);
        server_stop(&s);
    }
}

static void a_forced_command_gets_plain_words(void **state)
{
    server s;
    mp_host *host;
    mp_result *r;
    server_start(&s, "ForceCommand case $SSH_ORIGINAL_COMMAND in exec*) echo only backups >&2; exit 1;; *) exec sh -c "
                     "\"$SSH_ORIGINAL_COMMAND\"; esac");
    host = far_host(&s, state, NULL);
    expect_run(host, ARGV("printf", "%s|", "a b", "it's"), MP_OK, "a b|it's|", NULL);
    (void)mp_run(&r, host, ARGV("cat"), &(mp_run_options){.input = "x", .input_len = 1});
    assert_int_equal(r->code, MP_OK);
    assert_string_equal(r->out, "x");
    mp_result_free(r);
    mp_host_close(host);
    server_stop(&s);
}

static void a_dry_host_refuses_what_writes(void **state)
{
    server s;
    mp_host *host;
    server_start(&s, NULL);
    host = far_host(&s, state, &(mp_host_options){.dry = true});
    expect_run(host, ARGV("touch", "/tmp/x"), MP_DRY, NULL, "far: touch: not started on a dry host, as it may write");
    expect_run(host, ARGV("echo", "x"), MP_OK, "x\n", NULL);
    mp_host_close(host);
    server_stop(&s);
}

/* ---- ending what runs there ---------------------------------------------------------------------------- */

static void what_takes_too_long_is_ended_there(void **state)
{
    server s;
    mp_host *host;
    mp_result *r;
    mp_job *job;
    server_start(&s, NULL);
    host = far_host(&s, state, NULL);
    (void)mp_run(&r, host, ARGV("sleep", "4801"), &(mp_run_options){.timeout = 0.7});
    assert_int_equal(r->code, MP_TIMEOUT);
    assert_true(r->seconds < 3);
    mp_result_free(r);
    (void)mp_run(&r, host, ARGV("sleep", "4802"), &(mp_run_options){.timeout = 0.7, .input = "x", .input_len = 1});
    assert_int_equal(r->code, MP_TIMEOUT);
    assert_true(r->seconds < 3);
    mp_result_free(r);
    assert_int_equal(mp_job_run(&job, NULL, host, SH("sleep 4803; echo never"), NULL), MP_OK);
    appear("sleep 4803");
    mp_job_cancel(job);
    assert_int_equal(mp_job_wait(job)->code, MP_CANCELLED);
    mp_job_free(job);
    assert_true(gone("sleep 4801"));
    assert_true(gone("sleep 4802"));
    assert_true(gone("sleep 4803"));
    expect_run(host, ARGV("echo", "x"), MP_OK, "x\n", NULL);
    mp_host_close(host);
    server_stop(&s);
}

static void nothing_is_started_after_its_time(void **state)
{
    server s;
    mp_host *host;
    mp_result *r;
    mp_job *jobs[4];
    char path[96];
    server_start(&s, NULL);
    host = far_host(&s, state, NULL);
    (void)snprintf(path, sizeof path, "%s/touched", s.dir);
    for (int i = 0; i < 4; i++) { /* as many as there are shells */
        char number[16], all[24];
        (void)snprintf(number, sizeof number, "481%d", i);
        (void)snprintf(all, sizeof all, "sleep %s", number);
        assert_int_equal(mp_job_run(&jobs[i], NULL, host, ARGV("sleep", number), NULL), MP_OK);
        appear(all);
    }
    (void)mp_run(&r, host, ARGV("touch", path), &(mp_run_options){.timeout = 0.5});
    assert_int_equal(r->code, MP_TIMEOUT);
    mp_result_free(r);
    for (int i = 0; i < 4; i++) {
        mp_job_cancel(jobs[i]);
        mp_job_free(jobs[i]);
    }
    expect_run(host, ARGV("echo", "x"), MP_OK, "x\n", NULL);
    assert_int_equal(access(path, F_OK), -1);
    mp_host_close(host);
    server_stop(&s);
}

static void a_stream_that_is_stuck_is_ended_there(void **state)
{
    server s;
    mp_host *host;
    mp_stage stages[2];
    mp_result *r;
    server_start(&s, NULL);
    host = far_host(&s, state, NULL);
    stages[0] = (mp_stage){host, ARGV("cat", "/dev/zero")};
    stages[1] = (mp_stage){host, ARGV("sleep", "4804")};
    (void)mp_pipe(&r, stages, 2, &(mp_pipe_options){.stall_timeout = 0.5, .buffer = 1 << 20});
    assert_int_equal(r->code, MP_STALLED);
    mp_result_free(r);
    assert_true(gone("sleep 4804"));
    assert_true(gone("cat /dev/zero"));
    mp_host_close(host);
    server_stop(&s);
}

static void one_that_ignores_sigterm_is_killed_there(void **state)
{
    server s;
    mp_host *host;
    mp_result *r;
    server_start(&s, NULL);
    host = far_host(&s, state, NULL);
    (void)mp_run(&r, host, SH("trap '' TERM; while :; do sleep 0.4805; done"), &(mp_run_options){.timeout = 0.5});
    assert_int_equal(r->code, MP_TIMEOUT);
    assert_true(r->seconds < 5);
    mp_result_free(r);
    assert_true(gone("sleep 0.4805"));
    mp_host_close(host);
    server_stop(&s);
}

/* ---- connections that end ------------------------------------------------------------------------------ */

static void a_restarted_server_is_connected_to_again(void **state)
{
    server s;
    mp_host *host;
    mp_result *r;
    server_start(&s, NULL);
    host = far_host(&s, state, NULL);
    expect_run(host, ARGV("echo", "x"), MP_OK, "x\n", NULL);
    (void)mp_run(&r, host, ARGV("cat"), &(mp_run_options){.input = "x", .input_len = 1});
    assert_int_equal(r->code, MP_OK);
    mp_result_free(r);
    server_cut(&s);
    server_halt(&s);
    server_run(&s, NULL);
    expect_run(host, ARGV("echo", "y"), MP_OK, "y\n", NULL);
    (void)mp_run(&r, host, ARGV("cat"), &(mp_run_options){.input = "y", .input_len = 1});
    if (r->code != MP_OK)
        fail_msg("%s", r->message);
    mp_result_free(r);
    mp_host_close(host);
    server_stop(&s);
}

static void what_a_lost_stream_left_behind_is_ended_on_reconnection(void **state)
{
    server s;
    mp_host *host;
    mp_job *job;
    mp_stage stages[2];
    mp_host *near = here(false);
    server_start(&s, NULL);
    host = far_host(&s, state, NULL);
    stages[0] = (mp_stage){host, ARGV("sleep", "4806")};
    stages[1] = (mp_stage){near, ARGV("cat")};
    assert_int_equal(mp_job_pipe(&job, NULL, stages, 2, NULL), MP_OK);
    appear("sleep 4806");
    server_cut(&s);
    assert_int_equal(mp_job_wait(job)->code, MP_DISCONNECT);
    assert_null(strchr(mp_job_wait(job)->message, '\n'));
    assert_int_equal(strncmp(mp_job_wait(job)->message, "far: sleep: ", 12), 0);
    mp_job_free(job);
    appear("sleep 4806");
    expect_run(host, ARGV("echo", "x"), MP_OK, "x\n", NULL);
    assert_true(gone("sleep 4806"));
    mp_host_close(host);
    mp_host_close(near);
    server_stop(&s);
}

static void a_command_whose_connection_is_lost_is_not_run_again(void **state)
{
    server s;
    mp_host *host;
    mp_job *job;
    char script[128], path[96];
    FILE *f;
    int first = 0, second;
    server_start(&s, NULL);
    host = far_host(&s, state, NULL);
    (void)snprintf(path, sizeof path, "%s/runs", s.dir);
    (void)snprintf(script, sizeof script, "echo $$ >>%s; exec sleep 4807", path);
    assert_int_equal(mp_job_run(&job, NULL, host, SH(script), NULL), MP_OK);
    appear("sleep 4807");
    server_cut(&s);
    assert_int_equal(mp_job_wait(job)->code, MP_DISCONNECT);
    mp_job_free(job);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d %d", &first, &second), 1);
    (void)fclose(f);
    assert_int_equal(kill(first, SIGKILL), 0);
    mp_host_close(host);
    server_stop(&s);
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void expect_refusal(const server *s, void **state, int code, const char *part)
{
    mp_host *host = far_host(s, state, NULL);
    mp_result *r;
    for (int stream = 0; stream < 2; stream++) {
        (void)mp_run(&r, host, ARGV("true"), &(mp_run_options){.input = stream != 0 ? "x" : NULL, .input_len = 1});
        if (r->code != code)
            fail_msg("%s instead of %s: %s", mp_code_name(r->code), mp_code_name(code), r->message);
        assert_mentions(r->message, part);
        assert_int_equal(strncmp(r->message, "far: ", 5), 0);
        assert_null(strchr(r->message, '\n'));
        mp_result_free(r);
    }
    mp_host_close(host);
}

static void refusals_are_one_line_each(void **state)
{
    server s;
    server_start(&s, NULL);
    in_server(&s, "cp known_hosts good; : >known_hosts");
    expect_refusal(&s, state, MP_HOSTKEY, "not known");
    in_server(&s, "read -r at type key <good; echo \"$at $(cat other.pub)\" >known_hosts");
    expect_refusal(&s, state, MP_HOSTKEY, "known_hosts");
    in_server(&s, "cp good known_hosts; mv key mine; cp other key");
    expect_refusal(&s, state, MP_AUTH, transport(state) != NULL ? "Permission denied" : "key");
    server_halt(&s);
    expect_refusal(&s, state, MP_CONNECT, "refused");
    server_run(&s, NULL);
    server_stop(&s);
}

static void warnings_are_told_once(void **state)
{
    server s;
    mp_host *host;
    mp_result *r;
    server_start(&s, NULL);
    in_server(&s, "echo HostKeyAlias 127.0.0.1 >>config");
    host = far_host(&s, state, NULL);
    (void)mp_run(&r, host, ARGV("true"), NULL);
    assert_mentions(r->warnings, "HostKeyAlias");
    mp_result_free(r);
    server_cut(&s);
    (void)mp_run(&r, host, ARGV("true"), NULL);
    assert_int_equal(r->code, MP_OK);
    assert_null(r->warnings);
    mp_result_free(r);
    mp_host_close(host);
    server_stop(&s);
}

/* The `processes` line of /proc/stat: how many were started since boot. */
static unsigned long processes(void)
{
    char line[256];
    unsigned long n = 0;
    FILE *f = fopen("/proc/stat", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "processes %lu", &n) == 1)
            break;
    (void)fclose(f);
    return n;
}

static void ten_commands_start_few_processes(void **state)
{
    unsigned long least = ~0UL;
    server s;
    server_start(&s, NULL);
    for (int round = 0; round < 20 && least > 20; round++) { /* others start some too: the least is closest */
        unsigned long before = processes(), started;
        mp_host *host = far_host(&s, state, NULL);
        for (int i = 0; i < 10; i++)
            expect_run(host, ARGV("true"), MP_OK, "", NULL);
        started = processes() - before;
        least = started < least ? started : least;
        mp_host_close(host);
    }
    print_message("# connecting and ten commands: %lu processes\n", least);
    assert_true(least <= 20);
    server_stop(&s);
}

#define LIBSSH(f)                                                                                                      \
    {                                                                                                                  \
#f " over libssh", f, note_what_is_open, nothing_is_left, NULL                                                 \
    }
#define SSH(f)                                                                                                         \
    {                                                                                                                  \
#f " over ssh", f, note_what_is_open, nothing_is_left, ssh                                                     \
    }
#define BOTH(f) LIBSSH(f), SSH(f)

int main(void)
{
    static char ssh[] = "ssh";
    const struct CMUnitTest tests[] = {
        BOTH(commands_are_exact_and_share_a_shell),
        BOTH(five_megabytes_arrive_both_ways),
        BOTH(many_threads_work_where_a_connection_has_one_channel),
        LIBSSH(every_login_shell_will_do),
        LIBSSH(a_forced_command_gets_plain_words),
        LIBSSH(a_dry_host_refuses_what_writes),
        BOTH(what_takes_too_long_is_ended_there),
        BOTH(nothing_is_started_after_its_time),
        BOTH(a_stream_that_is_stuck_is_ended_there),
        LIBSSH(one_that_ignores_sigterm_is_killed_there),
        BOTH(a_restarted_server_is_connected_to_again),
        BOTH(what_a_lost_stream_left_behind_is_ended_on_reconnection),
        BOTH(a_command_whose_connection_is_lost_is_not_run_again),
        BOTH(refusals_are_one_line_each),
        BOTH(ten_commands_start_few_processes),
        LIBSSH(warnings_are_told_once),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
