/*
 * local_test.c - programs of this machine: how they are started and how their end is told.
 */
#include "helper.h"
#include "local.h"

/* Drives a proc by hand until it has ended and its output is read. */
static proc_end drive(proc *p, buf *out)
{
    proc_end end = {0};
    bool out_open = true;
    char bytes[4096];
    while (out_open || !p->ops->ended(p, &end)) {
        struct pollfd fds[PROC_MAX_FDS];
        int timeout = -1, n = p->ops->prepare(p, out_open ? 1U << PROC_OUT : 0, fds, &timeout);
        ssize_t got;
        (void)poll(fds, (nfds_t)n, timeout);
        p->ops->step(p, fds, n);
        got = out_open ? p->ops->read(p, PROC_OUT, bytes, sizeof bytes) : PROC_AGAIN;
        if (got > 0)
            assert_int_equal(buf_add(out, bytes, (size_t)got), MP_OK);
        out_open = out_open && got != PROC_EOF;
    }
    return end;
}

static char *output_of(const char *const argv[])
{
    proc *p;
    buf out = {0};
    assert_int_equal(local_start(&p, argv, NULL), MP_OK);
    p->ops->close_in(p);
    (void)drive(p, &out);
    p->ops->destroy(p);
    return buf_take(&out);
}

static void a_child_has_the_c_locale_and_the_sbin_directories(void **state)
{
    char *text, saved[4096];
    (void)state;
    (void)snprintf(saved, sizeof saved, "%s", getenv("PATH"));
    assert_int_equal(setenv("PATH", "/usr/bin:/bin", 1), 0);
    assert_int_equal(setenv("LC_ALL", "de_DE.UTF-8", 1), 0);
    text = output_of(SH("echo $LC_ALL $PATH"));
    assert_int_equal(setenv("PATH", saved, 1), 0);
    assert_int_equal(unsetenv("LC_ALL"), 0);
    assert_string_equal(text, "C /usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin\n");
    free(text);
}

static void a_program_in_sbin_is_found_with_crons_path(void **state)
{
    char dir[] = "/tmp/local_testXXXXXX", saved[4096];
    proc *p = NULL;
    fault f = {0};
    (void)state;
    (void)snprintf(saved, sizeof saved, "%s", getenv("PATH"));
    assert_non_null(mkdtemp(dir));
    assert_int_equal(setenv("PATH", dir, 1), 0); /* an empty directory: ldconfig is only in /sbin or /usr/sbin */
    assert_int_equal(local_start(&p, ARGV("ldconfig", "--version"), &f), MP_OK);
    assert_int_equal(setenv("PATH", saved, 1), 0);
    p->ops->destroy(p);
    assert_int_equal(rmdir(dir), 0);
}

static void a_child_inherits_only_its_standard_streams(void **state)
{
    int leak = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char *text = output_of(SH("ls /proc/self/fd | sort -n | tr '\\n' ' '"));
    (void)state;
    assert_string_equal(text, "0 1 2 3 "); /* 3 is the directory that ls reads */
    free(text);
    (void)close(leak);
}

static void a_child_has_default_signals_and_none_blocked(void **state)
{
    static const char script[] = "grep -E 'Sig(Blk|Ign)' /proc/self/status";
    sigset_t all, before;
    unsigned long long blocked, ignored;
    char *text;
    (void)state;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    text = output_of(SH(script));
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(sscanf(text, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    assert_int_equal(blocked, 0);
    assert_int_equal(ignored & 0x7fffffff, 0); /* 32 and 33 are the C library's own */
    free(text);
}

static void a_child_leads_a_process_group(void **state)
{
    char *text = output_of(SH("ps -o pgid= -p $$ | tr -d ' '; echo $$"));
    char first[32], second[32];
    (void)state;
    assert_int_equal(sscanf(text, "%31s %31s", first, second), 2);
    assert_string_equal(first, second);
    free(text);
}

static void a_program_that_is_not_there_is_named(void **state)
{
    proc *p = NULL;
    fault f = {0};
    (void)state;
    assert_int_equal(local_start(&p, ARGV("no-such-program-here", "x"), &f), MP_SPAWN);
    assert_string_equal(f.text, "no-such-program-here: not found in PATH");
    assert_int_equal(local_start(&p, ARGV("/no/such/file"), &f), MP_SPAWN);
    assert_string_equal(f.text, "/no/such/file: No such file or directory");
    assert_int_equal(local_start(&p, ARGV("/etc/passwd"), &f), MP_SPAWN);
    assert_string_equal(f.text, "/etc/passwd: Permission denied");
    assert_null(p);
}

static void a_directory_in_path_that_is_relative_is_not_searched(void **state)
{
    char dir[] = "/tmp/local_testXXXXXX", saved[4096];
    proc *p = NULL;
    FILE *file;
    (void)state;
    (void)snprintf(saved, sizeof saved, "%s", getenv("PATH"));
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    file = fopen("planted-program", "w");
    assert_non_null(file);
    (void)fputs("#!/bin/sh\n", file);
    (void)fchmod(fileno(file), 0755);
    (void)fclose(file);
    assert_int_equal(setenv("PATH", ".::/usr/bin", 1), 0);
    assert_int_equal(local_start(&p, ARGV("planted-program"), NULL), MP_SPAWN);
    assert_int_equal(setenv("PATH", saved, 1), 0);
    assert_int_equal(unlink("planted-program"), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void the_status_and_the_signal_are_told(void **state)
{
    proc *p;
    buf out = {0};
    proc_end end;
    (void)state;
    assert_int_equal(local_start(&p, SH("exit 7"), NULL), MP_OK);
    end = drive(p, &out);
    p->ops->destroy(p);
    assert_int_equal(end.code, MP_EXIT);
    assert_int_equal(end.status, 7);
    assert_int_equal(local_start(&p, SH("kill -KILL $$"), NULL), MP_OK);
    end = drive(p, &out);
    p->ops->destroy(p);
    assert_int_equal(end.code, MP_SIGNAL);
    assert_int_equal(end.signal, SIGKILL);
    assert_int_equal(end.status, -1);
    assert_string_equal(end.message, "ended by SIGKILL");
    buf_free(&out);
}

static void a_grandchild_that_keeps_the_output_open_does_not_hold_us_up(void **state)
{
    proc *p;
    buf out = {0};
    double start = clock_monotonic();
    (void)state;
    assert_int_equal(local_start(&p, SH("sleep 30 & echo said; exit 3"), NULL), MP_OK);
    assert_int_equal(drive(p, &out).status, 3);
    assert_string_equal(out.data, "said\n");
    assert_true(clock_monotonic() - start < 5);
    p->ops->kill(p, SIGKILL);
    p->ops->destroy(p);
    buf_free(&out);
}

static void destroying_a_running_program_kills_its_whole_group(void **state)
{
    proc *p;
    char number[64] = "";
    double until = clock_monotonic() + 5;
    long grandchild;
    (void)state;
    assert_int_equal(local_start(&p, SH("sleep 30 & echo $!; wait"), NULL), MP_OK);
    while (strchr(number, '\n') == NULL && clock_monotonic() < until)
        if (p->ops->read(p, PROC_OUT, number, sizeof number - 1) == PROC_AGAIN)
            (void)poll(NULL, 0, 5);
    grandchild = strtol(number, NULL, 10);
    assert_true(grandchild > 1);
    p->ops->destroy(p);
    while (kill((pid_t)grandchild, 0) == 0 && clock_monotonic() < until) /* init has to reap it */
        (void)poll(NULL, 0, 5);
    assert_int_equal(kill((pid_t)grandchild, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_child_has_the_c_locale_and_the_sbin_directories),
        TEST(a_program_in_sbin_is_found_with_crons_path),
        TEST(a_child_inherits_only_its_standard_streams),
        TEST(a_child_has_default_signals_and_none_blocked),
        TEST(a_child_leads_a_process_group),
        TEST(a_program_that_is_not_there_is_named),
        TEST(a_directory_in_path_that_is_relative_is_not_searched),
        TEST(the_status_and_the_signal_are_told),
        TEST(a_grandchild_that_keeps_the_output_open_does_not_hold_us_up),
        TEST(destroying_a_running_program_kills_its_whole_group),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    for (int fd = 3; fd < 1024; fd++) /* what the test itself was started with */
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
