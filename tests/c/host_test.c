/*
 * host_test.c - hosts: this machine, and far sides behind an ssh program that is a script of ours and runs everything
 * here, so that nothing but sh is needed. tests/ssh/host_test.c does the same over a real sshd.
 */
#include "helper.h"

#include <pthread.h>

#include "host.h"

static char dir[] = "/tmp/host_testXXXXXX";
static char program[64], record[64];

/* What the stand-in for ssh does with the command, which is its last argument; it records every start. */
static mp_host *far_host(const char *script, const mp_host_options *more)
{
    mp_host_options options = more != NULL ? *more : (mp_host_options){0};
    mp_host *host;
    FILE *f = fopen(program, "w");
    assert_non_null(f);
    assert_true(fprintf(f, "#!/bin/sh\necho \"$*\" >>%s\nfor command; do :; done\n%s\n", record, script) > 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(program, 0700), 0);
    (void)unlink(record);
    options.ssh_program = program;
    assert_int_equal(mp_host_open(&host, "root@nas", &options), MP_OK);
    return host;
}

#define PLAIN_SSH "exec sh -c \"$command\""

/* Connections that were made to the host. */
static size_t connections(void)
{
    size_t n = 0;
    int c;
    FILE *f = fopen(record, "r");
    if (f == NULL)
        return 0;
    while ((c = fgetc(f)) != EOF)
        n += c == '\n';
    (void)fclose(f);
    return n;
}

/* True if no process has that word as an argument any more, waiting for it up to two seconds. */
static bool gone(const char *word)
{
    char command[128];
    (void)snprintf(command, sizeof command, "! grep -qs '%s' $(ls -d /proc/[0-9]*/cmdline | grep -v \"/$$/\")", word);
    for (int i = 0; i < 40; i++) {
        mp_result *r = run_here(SH(command), NULL);
        bool done = r->code == MP_OK;
        mp_result_free(r);
        if (done)
            return true;
        (void)poll(NULL, 0, 50);
    }
    return false;
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

/* ---- destinations -------------------------------------------------------------------------------------- */

static void no_destination_is_this_machine(void **state)
{
    static const char *const names[] = {NULL, "local"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        mp_host *host;
        assert_int_equal(mp_host_open(&host, names[i], NULL), MP_OK);
        assert_string_equal(mp_host_name(host), "local");
        assert_false(mp_host_is_dry(host));
        expect_run(host, ARGV("echo", "x"), MP_OK, "x\n", NULL);
        mp_host_close(host);
    }
}

static void destinations_that_no_host_can_have_are_refused(void **state)
{
    static const char *const bad[] = {"",      "-oProxyCommand=x", "a b",    "a\tb",    "a\n",    "@nas",
                                      "root@", "root@-x",          "-x@nas", "na\x01s", "nas\x7f"};
    static const char *const good[] = {"nas", "root@nas", "a@b@nas", "::1", "nas.example.org", "root@[::1]"};
    mp_host *host = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(mp_host_open(&host, bad[i], NULL), MP_INVALID);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(mp_host_open(&host, good[i], NULL), MP_OK);
        assert_string_equal(mp_host_name(host), good[i]);
        mp_host_close(host);
    }
}

static void a_host_lives_until_its_last_reference(void **state)
{
    mp_host *host;
    (void)state;
    assert_int_equal(mp_host_open(&host, "root@nas", &(mp_host_options){.dry = true}), MP_OK);
    assert_ptr_equal(host_ref(host), host);
    mp_host_close(host);
    assert_string_equal(mp_host_name(host), "root@nas");
    assert_true(mp_host_is_dry(host));
    mp_host_close(host);
    mp_host_close(NULL);
}

static void a_dry_host_is_not_even_connected_to_for_what_writes(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, &(mp_host_options){.dry = true});
    (void)state;
    expect_run(host, ARGV("zfs", "destroy", "tank@a"), MP_DRY, NULL,
               "root@nas: zfs destroy: not started on a dry host, as it may write");
    assert_int_equal(connections(), 0);
    expect_run(host, ARGV("echo", "x"), MP_OK, "x\n", NULL);
    mp_host_close(host);
}

/* ---- commands ------------------------------------------------------------------------------------------ */

static void commands_go_through_one_connection(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, NULL);
    (void)state;
    for (int i = 0; i < 20; i++) {
        expect_run(host, ARGV("printf", "%s", "it's $HOME"), MP_OK, "it's $HOME", NULL);
        expect_run(host, SH("echo oops >&2; exit 3"), MP_EXIT, "", "root@nas: sh: exit 3: oops");
    }
    expect_run(host, ARGV("no-such-program"), MP_SPAWN, "",
               "root@nas: no-such-program: no-such-program: not found on the far side");
    assert_int_equal(connections(), 1);
    mp_host_close(host);
}

static void programs_that_could_be_options_are_refused(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, NULL);
    (void)state;
    expect_run(host, ARGV("-x"), MP_INVALID, NULL, NULL);
    assert_int_equal(connections(), 0);
    mp_host_close(host);
}

static void ssh_gets_its_options_and_the_destination_behind_them(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, &(mp_host_options){.ssh_config = "/dev/null", .connect_timeout = 7});
    char line[512] = "";
    FILE *f;
    (void)state;
    expect_run(host, ARGV("true"), MP_OK, "", NULL);
    f = fopen(record, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    (void)fclose(f);
    assert_string_equal(line,
                        "-o BatchMode=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=3 -o ConnectTimeout=7 -T "
                        "-F /dev/null -- root@nas exec /bin/sh\n");
    mp_host_close(host);
}

struct worker {
    pthread_t thread;
    mp_host *host;
    int failures;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < 10; i++) {
        mp_result *r;
        char text[32];
        (void)snprintf(text, sizeof text, "%p %d", arg, i);
        if (mp_run(&r, w->host, ARGV("printf", "%s", text), NULL) != MP_OK || strcmp(r->out, text) != 0)
            w->failures++;
        mp_result_free(r);
    }
    return NULL;
}

static void many_threads_share_four_shells(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, NULL);
    struct worker workers[12];
    (void)state;
    for (size_t i = 0; i < 12; i++) {
        workers[i] = (struct worker){.host = host};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].failures, 0);
    }
    assert_in_range(connections(), 1, 4);
    mp_host_close(host);
}

static void a_command_that_takes_too_long_is_ended_there(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, NULL);
    mp_result *r;
    (void)state;
    (void)mp_run(&r, host, SH("echo begun; sleep 4711; echo never"), &(mp_run_options){.timeout = 0.3});
    assert_int_equal(r->code, MP_TIMEOUT);
    assert_true(r->seconds < 5);
    mp_result_free(r);
    assert_true(gone("4711"));
    expect_run(host, ARGV("echo", "x"), MP_OK, "x\n", NULL);
    mp_host_close(host);
}

static void a_cancelled_job_is_ended_there(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, NULL);
    mp_job *job;
    (void)state;
    assert_int_equal(mp_job_run(&job, NULL, host, ARGV("sleep", "4712"), NULL), MP_OK);
    (void)poll(NULL, 0, 300);
    mp_job_cancel(job);
    assert_int_equal(mp_job_wait(job)->code, MP_CANCELLED);
    mp_job_free(job);
    assert_true(gone("4712"));
    mp_host_close(host);
}

static void a_command_that_ignores_sigterm_is_killed_there(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, NULL);
    mp_result *r;
    (void)state;
    (void)mp_run(&r, host, SH("trap '' TERM; while :; do sleep 0.4713; done"), &(mp_run_options){.timeout = 0.3});
    assert_int_equal(r->code, MP_TIMEOUT);
    mp_result_free(r);
    assert_true(gone("0.4713"));
    mp_host_close(host);
}

/* ---- streams ------------------------------------------------------------------------------------------- */

static void input_and_output_of_a_stream_are_exact(void **state)
{
    size_t n = 3000001;
    char *input = malloc(n);
    mp_host *host = far_host("echo 'noise of a login shell' >&2\n" PLAIN_SSH, NULL);
    mp_result *r;
    (void)state;
    for (size_t i = 0; i < n; i++)
        input[i] = (char)(i * 31 % 257);
    (void)mp_run(&r, host, SH("cat; echo done >&2"), &(mp_run_options){.input = input, .input_len = n});
    assert_int_equal(r->code, MP_OK);
    assert_int_equal(r->out_len, n);
    assert_memory_equal(r->out, input, n);
    assert_string_equal(r->stages[0].err, "done\n");
    mp_result_free(r);
    mp_host_close(host);
    free(input);
}

static void a_stream_has_the_words_for_its_failures(void **state)
{
    static const struct {
        const char *argv[4];
        int code;
        const char *message;
    } cases[] = {
        {{"no-such-program"}, MP_SPAWN, "root@nas: no-such-program: no-such-program: not found on the far side"},
        {{"sh", "-c", "echo oops >&2; exit 3"}, MP_EXIT, "root@nas: sh: exit 3: oops"},
        {{"sh", "-c", "cat; exit 127"}, MP_EXIT, "root@nas: sh: exit 127"},
    };
    mp_host *host = far_host(PLAIN_SSH, NULL);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mp_result *r;
        (void)mp_run(&r, host, cases[i].argv, &(mp_run_options){.input = "x", .input_len = 1});
        assert_int_equal(r->code, cases[i].code);
        assert_string_equal(r->message, cases[i].message);
        mp_result_free(r);
    }
    mp_host_close(host);
}

static void a_stalled_stream_is_ended_there(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, NULL), *near = here(false);
    mp_stage stages[] = {{host, SH("echo x; sleep 4714")}, {near, ARGV("cat")}};
    mp_result *r;
    (void)state;
    (void)mp_pipe(&r, stages, 2, &(mp_pipe_options){.stall_timeout = 0.3});
    assert_int_equal(r->code, MP_STALLED);
    assert_int_equal(r->bytes, 2);
    mp_result_free(r);
    assert_true(gone("4714"));
    mp_host_close(host);
    mp_host_close(near);
}

/* ---- what goes wrong ----------------------------------------------------------------------------------- */

static void a_forced_command_gets_plain_words(void **state)
{
    mp_host *host = far_host("case $command in exec*) echo 'only backups' >&2; exit 1;; esac\n" PLAIN_SSH, NULL);
    mp_result *r;
    (void)state;
    expect_run(host, ARGV("printf", "%s|", "a b", "it's"), MP_OK, "a b|it's|", NULL);
    (void)mp_run(&r, host, ARGV("cat"), &(mp_run_options){.input = "x", .input_len = 1});
    assert_int_equal(r->code, MP_OK);
    assert_string_equal(r->out, "x");
    mp_result_free(r);
    assert_int_equal(connections(), 3);
    mp_host_close(host);
}

static void without_shells_from_the_start_none_is_tried(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, &(mp_host_options){.no_shell = true});
    (void)state;
    expect_run(host, ARGV("echo", "x"), MP_OK, "x\n", NULL);
    expect_run(host, ARGV("echo", "y"), MP_OK, "y\n", NULL);
    assert_int_equal(connections(), 2);
    mp_host_close(host);
}

static void a_shell_that_ended_is_replaced_before_a_command_is_given_to_it(void **state)
{
    mp_host *host = far_host(PLAIN_SSH, NULL);
    mp_result *r;
    (void)state;
    (void)mp_run(&r, host, SH("echo $PPID"), NULL);
    assert_int_equal(kill((pid_t)strtol(r->out, NULL, 10), SIGKILL), 0);
    mp_result_free(r);
    (void)poll(NULL, 0, 100);
    expect_run(host, ARGV("echo", "x"), MP_OK, "x\n", NULL);
    assert_int_equal(connections(), 2);
    mp_host_close(host);
}

static void what_ssh_says_when_it_cannot_connect_is_one_line(void **state)
{
    static const struct {
        const char *said;
        int code;
        const char *message;
    } cases[] = {
        {"ssh: connect to host nas port 22: Connection refused", MP_CONNECT,
         "root@nas: ssh: connect to host nas port 22: Connection refused"},
        {"ssh: Could not resolve hostname nas: Name or service not known", MP_CONNECT,
         "root@nas: ssh: Could not resolve hostname nas: Name or service not known"},
        {"root@nas: Permission denied (publickey).", MP_AUTH, "root@nas: root@nas: Permission denied (publickey)."},
        {"No ED25519 host key is known for nas and you have requested strict checking.\nHost key verification failed.",
         MP_HOSTKEY,
         "root@nas: Host key verification failed. No ED25519 host key is known for nas and you have requested strict "
         "checking."},
        {"a line\nOffending ED25519 key in /root/.ssh/known_hosts:3\nmore\nHost key verification failed.", MP_HOSTKEY,
         "root@nas: Host key verification failed. Offending ED25519 key in /root/.ssh/known_hosts:3"},
        {"/x: line 1: Bad configuration option: nonsense\n/x: terminating, 1 bad configuration options", MP_CONFIG,
         "root@nas: /x: terminating, 1 bad configuration options"},
        {"Connection to nas closed by remote host.", MP_DISCONNECT,
         "root@nas: the connection was lost: Connection to nas closed by remote host."},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char script[512];
        mp_host *host;
        mp_result *r;
        (void)snprintf(script, sizeof script, "cat <<X >&2\n%s\nX\nexit 255", cases[i].said);
        host = far_host(script, NULL);
        expect_run(host, ARGV("true"), cases[i].code, NULL, cases[i].message);
        (void)mp_run(&r, host, ARGV("cat"), &(mp_run_options){.input = "x", .input_len = 1});
        assert_int_equal(r->code, cases[i].code);
        assert_string_equal(r->message, cases[i].message);
        mp_result_free(r);
        mp_host_close(host);
    }
}

static void an_ssh_program_that_is_not_there_is_a_spawn_failure(void **state)
{
    mp_host *host;
    (void)state;
    assert_int_equal(mp_host_open(&host, "nas", &(mp_host_options){.ssh_program = "/nope/ssh -v"}), MP_OK);
    expect_run(host, ARGV("true"), MP_SPAWN, NULL, "nas: /nope/ssh: No such file or directory");
    mp_host_close(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_destination_is_this_machine),
        TEST(destinations_that_no_host_can_have_are_refused),
        TEST(a_host_lives_until_its_last_reference),
        TEST(a_dry_host_is_not_even_connected_to_for_what_writes),
        TEST(commands_go_through_one_connection),
        TEST(programs_that_could_be_options_are_refused),
        TEST(ssh_gets_its_options_and_the_destination_behind_them),
        TEST(many_threads_share_four_shells),
        TEST(a_command_that_takes_too_long_is_ended_there),
        TEST(a_cancelled_job_is_ended_there),
        TEST(a_command_that_ignores_sigterm_is_killed_there),
        TEST(input_and_output_of_a_stream_are_exact),
        TEST(a_stream_has_the_words_for_its_failures),
        TEST(a_stalled_stream_is_ended_there),
        TEST(a_forced_command_gets_plain_words),
        TEST(without_shells_from_the_start_none_is_tried),
        TEST(a_shell_that_ended_is_replaced_before_a_command_is_given_to_it),
        TEST(what_ssh_says_when_it_cannot_connect_is_one_line),
        TEST(an_ssh_program_that_is_not_there_is_a_spawn_failure),
    };
    int failed;
    (void)signal(SIGPIPE, SIG_IGN);
    if (mkdtemp(dir) == NULL)
        return 1;
    (void)snprintf(program, sizeof program, "%s/ssh", dir);
    (void)snprintf(record, sizeof record, "%s/record", dir);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(program);
    (void)unlink(record);
    (void)rmdir(dir);
    return failed;
}
