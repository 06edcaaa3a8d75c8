/*
 * shell_test.c - an sh that stays open, here a local one: every sh that is installed.
 */
#include "helper.h"

#include "local.h"
#include "shell.h"
#include "sshfar.h"

/* What came of one command. */
typedef struct outcome {
    buf out, err;
    proc_end end;
    long pid;
    bool good;
    int killed; /* the signal to send once it has said something, 0: none */
} outcome;

static const char *const *shells(void)
{
    static const char *found[8];
    static const char *const known[] = {"/bin/sh", "/bin/dash", "/bin/bash", "/bin/busybox", "/bin/mksh", "/bin/ksh"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (access(known[i], X_OK) == 0)
            found[n++] = known[i];
    return found;
}

static shell *open_shell(const char *path)
{
    proc *carrier;
    shell *sh;
    fault f = {0};
    const char *applet = strstr(path, "busybox") != NULL ? "sh" : NULL;
    assert_int_equal(local_start(&carrier, (const char *const[]){path, applet, NULL}, &f), MP_OK);
    if (shell_open(&sh, carrier, 10, NULL, &f) != MP_OK)
        fail_msg("%s: %s", path, f.text);
    return sh;
}

static void note_done(void *arg, shell *sh, bool good)
{
    (void)sh;
    ((outcome *)arg)->good = good;
}

static bool take(proc *p, int stream, buf *b)
{
    static char chunk[100000];
    ssize_t n;
    while ((n = p->ops->read(p, stream, chunk, sizeof chunk)) > 0)
        assert_int_equal(buf_add(b, chunk, (size_t)n), MP_OK);
    return n == PROC_EOF;
}

/* Runs one command to its end. The outcome's buffers are the caller's. */
static outcome run(shell *sh, const char *const argv[], int killed)
{
    outcome o = {.killed = killed};
    double until = clock_monotonic() + 20;
    bool out_done = false, err_done = false, ended = false;
    fault f = {0};
    proc *p;
    assert_int_equal(shell_start(&p, sh, argv, note_done, &o, &f), MP_OK);
    while (!ended || !out_done || !err_done) {
        out_done = out_done || take(p, PROC_OUT, &o.out);
        err_done = err_done || take(p, PROC_ERR, &o.err);
        ended = ended || p->ops->ended(p, &o.end);
        o.pid = shell_command_pid(p);
        if (o.killed != 0 && o.out.len > 0) {
            p->ops->kill(p, o.killed);
            o.killed = 0;
        }
        if (ended && out_done && err_done)
            break;
        if (proc_turn(p, (out_done ? 0 : 2U) | (err_done ? 0 : 4U), until, NULL, &f) != MP_OK)
            fail_msg("%s: %s", argv[0], f.text);
    }
    p->ops->destroy(p);
    return o;
}

static void forget(outcome *o)
{
    buf_free(&o->out);
    buf_free(&o->err);
}

/* Runs a command in every sh and compares all that came of it. */
static void expect(const char *const argv[], const char *out, size_t out_len, const char *err, int code, int status)
{
    for (const char *const *path = shells(); *path != NULL; path++) {
        shell *sh = open_shell(*path);
        outcome o = run(sh, argv, 0);
        if (o.out.len != out_len || (out_len > 0 && memcmp(o.out.data, out, out_len) != 0))
            fail_msg("%s: output '%s'", *path, o.out.data != NULL ? o.out.data : "");
        if (err != NULL)
            assert_string_equal(o.err.data != NULL ? o.err.data : "", err);
        assert_int_equal(o.end.code, code);
        assert_int_equal(o.end.status, status);
        assert_true(o.good);
        forget(&o);
        shell_close(sh);
    }
}

#define EXPECT(argv, out, err, code, status) expect(argv, out, sizeof(out) - 1, err, code, status)

static void output_and_error_stream_are_exact(void **state)
{
    (void)state;
    EXPECT(SH("echo a; echo b >&2"), "a\n", "b\n", MP_OK, 0);
    EXPECT(SH("printf a; printf b >&2"), "a", "b", MP_OK, 0);
    EXPECT(SH("printf '\\n\\na\\n\\n'; printf '\\n' >&2"), "\n\na\n\n", "\n", MP_OK, 0);
    EXPECT(SH("printf 'a\\0b\\377'"), "a\0b\377", "", MP_OK, 0);
    EXPECT(ARGV("true"), "", "", MP_OK, 0);
}

static void a_status_is_exact(void **state)
{
    (void)state;
    EXPECT(ARGV("false"), "", "", MP_EXIT, 1);
    EXPECT(SH("exit 3"), "", "", MP_EXIT, 3);
    EXPECT(SH("echo x >&2; exit 126"), "", "x\n", MP_EXIT, 126);
    EXPECT(SH("exit 127"), "", "", MP_EXIT, 127);
    EXPECT(SH("exit 255"), "", "", MP_EXIT, 255);
}

static void a_command_of_the_command_that_is_not_there_is_its_own_failure(void **state)
{
    (void)state;
    EXPECT(SH("no-such-program-there"), "", NULL, MP_EXIT, 127);
    EXPECT(SH("/etc/passwd"), "", NULL, MP_EXIT, 126);
    EXPECT(SH("echo 'x: sh: not found: y' >&2; exit 127"), "", "x: sh: not found: y\n", MP_EXIT, 127);
}

static void a_program_that_cannot_be_started_is_told_in_one_line(void **state)
{
    static const struct {
        const char *program, *message;
    } cases[] = {
        {"no-such-program-there", "no-such-program-there: not found on the far side"},
        {"/nope/zfs", "/nope/zfs: not found on the far side"},
        {"/etc/passwd", "/etc/passwd can't be executed on the far side: "},
    };
    (void)state;
    for (const char *const *path = shells(); *path != NULL; path++) {
        shell *sh = open_shell(*path);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            outcome o = run(sh, ARGV(cases[i].program, "list"), 0);
            assert_int_equal(o.end.code, MP_SPAWN);
            assert_int_equal(strncmp(o.end.message, cases[i].message, strlen(cases[i].message)), 0);
            assert_null(strchr(o.end.message, '\n'));
            assert_int_equal(o.err.len, 0);
            assert_true(o.good);
            forget(&o);
        }
        shell_close(sh);
    }
}

static void a_signal_is_named(void **state)
{
    (void)state;
    for (const char *const *path = shells(); *path != NULL; path++) {
        shell *sh = open_shell(*path);
        outcome o = run(sh, SH("kill -SEGV $$"), 0);
        assert_int_equal(o.end.code, MP_SIGNAL);
        assert_string_equal(o.end.message, "ended by SIGSEGV");
        assert_int_equal(o.end.status, -1);
        assert_int_equal(o.err.len, 0);
        assert_true(o.good);
        forget(&o);
        shell_close(sh);
    }
}

static void arguments_arrive_as_they_are(void **state)
{
    static char all[257];
    (void)state;
    for (int c = 1; c < 256; c++)
        all[c - 1] = (char)c;
    expect(ARGV("printf", "%s", all), all, 255, "", MP_OK, 0);
    EXPECT(ARGV("printf", "%s|", "a b", "", "it's", "$HOME", "*", "\n\t!", "-n", "~", "#", "\\", "`id`"),
           "a b||it's|$HOME|*|\n\t!|-n|~|#|\\|`id`|", "", MP_OK, 0);
}

static void words_of_the_shell_are_programs(void **state)
{
    const char *const words[] = {"if", "exit", "A=b", "{", "cd"};
    shell *sh = open_shell("/bin/sh");
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        outcome o = run(sh, ARGV(words[i], "3"), 0);
        assert_int_equal(o.end.code, MP_SPAWN);
        assert_true(o.good);
        forget(&o);
    }
    shell_close(sh);
}

static void a_command_longer_than_any_pipe_is_sent(void **state)
{
    size_t n = 100000;
    char *arg = malloc(n + 1);
    shell *sh = open_shell("/bin/sh");
    outcome o;
    (void)state;
    memset(arg, 'x', n);
    arg[n] = '\0';
    o = run(sh, ARGV("printf", "%s%s%s", arg, arg, arg), 0);
    assert_int_equal(o.end.code, MP_OK);
    assert_int_equal(o.out.len, 3 * n);
    forget(&o);
    shell_close(sh);
    free(arg);
}

static void five_megabytes_of_anything_arrive(void **state)
{
    static const char script[] = "i=0; while [ $i -lt 80 ]; do head -c 65536 /bin/sh; i=$((i + 1)); done";
    char expected[65536];
    int fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
    (void)state;
    assert_int_equal(read(fd, expected, sizeof expected), sizeof expected);
    (void)close(fd);
    for (const char *const *path = shells(); *path != NULL; path++) {
        shell *sh = open_shell(*path);
        outcome o = run(sh, SH(script), 0);
        assert_int_equal(o.out.len, 80 * sizeof expected);
        for (size_t i = 0; i < 80; i++)
            assert_memory_equal(o.out.data + i * sizeof expected, expected, sizeof expected);
        forget(&o);
        shell_close(sh);
    }
}

static void what_looks_like_a_mark_is_data(void **state)
{
    static const char text[] = "\0360123456789abcdef0123456789abcdef end 0\n\036\03600 end\n\036 end 0\n\036\n\036";
    (void)state;
    expect(ARGV("printf", "%s", text), text, sizeof text - 1, "", MP_OK, 0);
}

/* The mark with the process id is written while the command is at work already. */
static void errors_are_exact_however_early_they_come(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++)
        EXPECT(SH("echo x >&2"), "", "x\n", MP_OK, 0);
}

static void two_hundred_commands_use_one_shell(void **state)
{
    shell *sh = open_shell("/bin/sh");
    double start = clock_monotonic();
    (void)state;
    for (int i = 0; i < 200; i++) {
        char text[16];
        outcome o;
        (void)snprintf(text, sizeof text, "%d", i);
        o = run(sh, ARGV("printf", text), 0);
        assert_string_equal(o.out.data, text);
        assert_true(o.good);
        forget(&o);
    }
    print_message("# %.2f ms a command\n", (clock_monotonic() - start) * 5);
    shell_close(sh);
}

static void the_process_id_is_known(void **state)
{
    (void)state;
    for (const char *const *path = shells(); *path != NULL; path++) {
        shell *sh = open_shell(*path);
        outcome o = run(sh, SH("echo $$"), 0);
        assert_int_equal(o.pid, strtol(o.out.data, NULL, 10));
        forget(&o);
        shell_close(sh);
    }
}

static void standard_input_is_empty(void **state)
{
    (void)state;
    EXPECT(ARGV("cat"), "", "", MP_OK, 0);
}

static void sigterm_ends_a_command_with_its_children(void **state)
{
    (void)state;
    for (const char *const *path = shells(); *path != NULL; path++) {
        shell *sh = open_shell(*path);
        double start = clock_monotonic();
        /* a child that stayed would hold the output open, and the end be late */
        outcome o = run(sh, SH("echo begun; sleep 0.1; sleep 15; echo never"), SIGTERM);
        assert_true(clock_monotonic() - start < 5);
        assert_false(o.good);
        forget(&o);
        shell_close(sh);
    }
}

static void sigkill_ends_one_that_ignores_sigterm(void **state)
{
    shell *sh = open_shell("/bin/sh");
    outcome o = run(sh, SH("trap '' TERM; echo begun; while :; do sleep 1; done"), SIGKILL);
    (void)state;
    assert_int_equal(o.end.code, MP_SIGNAL);
    assert_string_equal(o.end.message, "ended by SIGKILL");
    assert_false(o.good);
    forget(&o);
    shell_close(sh);
}

static void a_carrier_that_ends_under_a_command_is_a_lost_connection(void **state)
{
    shell *sh = open_shell("/bin/sh");
    outcome o = run(sh, SH("echo begun; kill -KILL $PPID; sleep 0.1"), 0);
    (void)state;
    assert_int_equal(o.end.code, MP_DISCONNECT);
    assert_string_equal(o.end.message, "the shell on the far side ended (ended by SIGKILL)");
    assert_string_equal(o.out.data, "begun\n");
    assert_false(o.good);
    forget(&o);
    assert_false(shell_is_good(sh));
    shell_close(sh);
}

static void an_idle_shell_that_went_away_is_noticed(void **state)
{
    shell *sh = open_shell("/bin/sh");
    outcome o = run(sh, SH("(sleep 0.1; kill -KILL $1) >/dev/null 2>&1 & echo $PPID"), 0);
    (void)state;
    assert_true(o.good);
    assert_true(shell_answers(sh, 5, NULL));
    (void)kill((pid_t)strtol(o.out.data, NULL, 10), SIGKILL);
    while (shell_is_good(sh))
        (void)poll(NULL, 0, 1);
    assert_false(shell_answers(sh, 5, NULL));
    forget(&o);
    shell_close(sh);
}

static void output_between_commands_spoils_a_shell(void **state)
{
    shell *sh = open_shell("/bin/sh");
    outcome o = run(sh, SH("(sleep 0.1; echo late) &"), 0);
    (void)state;
    forget(&o);
    (void)poll(NULL, 0, 300);
    assert_false(shell_is_good(sh));
    shell_close(sh);
}

static void what_a_login_shell_says_first_is_thrown_away(void **state)
{
    proc *carrier;
    shell *sh;
    outcome o;
    (void)state;
    assert_int_equal(local_start(&carrier, SH("echo Welcome; echo oops >&2; exec sh"), NULL), MP_OK);
    assert_int_equal(shell_open(&sh, carrier, 10, NULL, NULL), MP_OK);
    o = run(sh, ARGV("echo", "x"), 0);
    assert_string_equal(o.out.data, "x\n");
    assert_int_equal(o.err.len, 0);
    forget(&o);
    shell_close(sh);
}

/* Fails to open a shell over a program that is none. */
static void refuse(const char *const argv[], double timeout, const wake *cancel, int code, const char *text)
{
    proc *carrier;
    shell *sh = NULL;
    fault f = {0};
    assert_int_equal(local_start(&carrier, argv, &f), MP_OK);
    assert_int_equal(shell_open(&sh, carrier, timeout, cancel, &f), code);
    assert_int_equal(f.code, code);
    assert_string_equal(f.text, text);
    carrier->ops->destroy(carrier);
}

static void what_is_no_shell_is_told_from_one(void **state)
{
    wake cancel;
    (void)state;
    refuse(SH("echo hello; echo only backups here >&2; exit 1"), 10, NULL, MP_EXIT,
           "no shell there (exit 1): only backups here");
    refuse(ARGV("cat"), 0.2, NULL, MP_TIMEOUT, "no shell answered within 0.2 seconds");
    assert_int_equal(wake_open(&cancel), MP_OK);
    wake_set(&cancel);
    refuse(ARGV("cat"), 10, &cancel, MP_CANCELLED, "cancelled");
    wake_close(&cancel);
}

static void a_flood_waits_for_its_reader(void **state)
{
    shell *sh = open_shell("/bin/sh");
    outcome o = {0};
    struct pollfd fds[PROC_MAX_FDS];
    int timeout = -1, n;
    proc *p;
    (void)state;
    assert_int_equal(shell_start(&p, sh, SH("head -c 1000000 /dev/zero; echo x >&2"), note_done, &o, NULL), MP_OK);
    (void)poll(NULL, 0, 200);
    n = p->ops->prepare(p, 0, fds, &timeout);
    assert_int_equal(poll(fds, (nfds_t)n, 100), 0); /* nobody wants it: nothing to wake up for */
    p->ops->close_out(p);
    assert_int_equal(proc_finish(p, clock_monotonic() + 10, NULL, NULL), MP_OK);
    p->ops->destroy(p);
    assert_true(o.good);
    shell_close(sh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(output_and_error_stream_are_exact),
        TEST(a_status_is_exact),
        TEST(a_command_of_the_command_that_is_not_there_is_its_own_failure),
        TEST(a_program_that_cannot_be_started_is_told_in_one_line),
        TEST(a_signal_is_named),
        TEST(arguments_arrive_as_they_are),
        TEST(words_of_the_shell_are_programs),
        TEST(a_command_longer_than_any_pipe_is_sent),
        TEST(five_megabytes_of_anything_arrive),
        TEST(what_looks_like_a_mark_is_data),
        TEST(errors_are_exact_however_early_they_come),
        TEST(two_hundred_commands_use_one_shell),
        TEST(the_process_id_is_known),
        TEST(standard_input_is_empty),
        TEST(sigterm_ends_a_command_with_its_children),
        TEST(sigkill_ends_one_that_ignores_sigterm),
        TEST(a_carrier_that_ends_under_a_command_is_a_lost_connection),
        TEST(an_idle_shell_that_went_away_is_noticed),
        TEST(output_between_commands_spoils_a_shell),
        TEST(what_a_login_shell_says_first_is_thrown_away),
        TEST(what_is_no_shell_is_told_from_one),
        TEST(a_flood_waits_for_its_reader),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
