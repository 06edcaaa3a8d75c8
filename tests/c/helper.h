/*
 * helper.h - what the C tests share: a host, commands in one line, and a check after every test that nothing is left
 * behind.
 */
#ifndef HELPER_H
#define HELPER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base.h"

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SH(script) ARGV("sh", "-c", script)

__attribute__((unused)) static size_t open_descriptors(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 4096; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static size_t descriptors_before;

__attribute__((unused)) static int note_what_is_open(void **state)
{
    (void)state;
    descriptors_before = open_descriptors();
    return 0;
}

/* Fails a test that leaves a descriptor or a child process behind. */
__attribute__((unused)) static int nothing_is_left(void **state)
{
    size_t now = open_descriptors();
    (void)state;
    if (now != descriptors_before) {
        print_error("%zu descriptors before, %zu now\n", descriptors_before, now);
        return -1;
    }
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) {
        print_error("a child process is left\n");
        return -1;
    }
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, note_what_is_open, nothing_is_left)

__attribute__((unused)) static mp_host *here(bool dry)
{
    mp_host *host;
    mp_host_options options = {.dry = dry};
    assert_int_equal(mp_host_open(&host, NULL, &options), MP_OK);
    return host;
}

/* Runs a command on this machine. The result is the caller's. */
__attribute__((unused)) static mp_result *run_here(const char *const argv[], const mp_run_options *options)
{
    mp_host *host = here(false);
    mp_result *r = NULL;
    int rc = mp_run(&r, host, argv, options);
    mp_host_close(host);
    assert_non_null(r);
    assert_int_equal(rc, r->code);
    return r;
}

#define assert_mentions(text, part)                                                                                    \
    do {                                                                                                               \
        const char *t_ = (text);                                                                                       \
        if (t_ == NULL || strstr(t_, (part)) == NULL)                                                                  \
            fail_msg("'%s' does not mention '%s'", t_ == NULL ? "(null)" : t_, (part));                                \
    } while (0)

#endif
