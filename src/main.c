/*
 * main.c - floor 6: the program. Signals and the exit status; everything else is the library.
 */
#include "moonpool.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__GLIBC__) && defined(__x86_64__)
#include <gnu/libc-version.h>
#include <sys/auxv.h>

/*
 * glibc before 2.40 copies some kilobytes at once with `rep movsb`, which on processors of AMD takes several times as
 * long where source and destination lie at unlucky distances (its bugs 30994 and 30995); and libssh copies each packet
 * that it receives three times. It can be told otherwise only before a program begins: so this one begins once more.
 */
static void avoid_slow_copies(char *const argv[])
{
    static const char name[] = "GLIBC_TUNABLES", value[] = "glibc.cpu.x86_rep_movsb_threshold=1000000000";
    const char *given = getenv(name);
    char program[4096];
    ssize_t n;
    int major, minor;

    if (given != NULL) {
        if (strcmp(given, value) == 0)
            (void)unsetenv(name); /* the second time: the programs that we start need not know */
        return;
    }
    /* A set-uid program's second start would not be told either, and one that was started through the loader is not at
     * /proc/self/exe. */
    if (getauxval(AT_SECURE) != 0 || getauxval(AT_BASE) == 0)
        return;
    if (!__builtin_cpu_is("amd") || sscanf(gnu_get_libc_version(), "%d.%d", &major, &minor) != 2 || major != 2 ||
        minor >= 40)
        return;
    n = readlink("/proc/self/exe", program, sizeof program - 1); /* by its name, which ps shows */
    if (n <= 0 || setenv(name, value, 1) != 0)
        return;
    program[n] = '\0';
    (void)execv(program, argv);
    (void)unsetenv(name);
}
#else
static void avoid_slow_copies(char *const argv[])
{
    (void)argv;
}
#endif

static mp_state *state;

static void handle(int number, void (*handler)(int))
{
    struct sigaction action;

    (void)memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    (void)sigaction(number, &action, NULL);
}

/*
 * The first signal asks the run to let go of what it holds; the second one ends the process as if it were not caught.
 * Not so SIGHUP: the end of a terminal sends it twice, by the shell and by the kernel.
 */
static void on_signal(int number)
{
    if (!mp_state_interrupt(state) || number == SIGHUP)
        return;
    handle(number, SIG_DFL);
    (void)raise(number); /* delivered when this handler returns */
}

int main(int argc, char *argv[])
{
    static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
    bool ours[sizeof caught / sizeof caught[0]];
    int status;

    if (argc > 2) /* what has fewer words moves no streams, or waits for a person */
        avoid_slow_copies(argv);
    handle(SIGPIPE, SIG_IGN);
    handle(SIGCHLD, SIG_DFL); /* ignored, as whoever started us may have it, nobody learns how a program ended */
    if (mp_state_open(&state, argv[0]) != MP_OK) {
        (void)fprintf(stderr, "moonpool: out of memory\n");
        return 255;
    }
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++) {
        struct sigaction before;
        /* What whoever started us ignores (nohup) stays ignored. */
        ours[i] = sigaction(caught[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN;
        if (ours[i])
            handle(caught[i], on_signal);
    }
    status = mp_state_main(state, argc, argv);
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++)
        if (ours[i])
            handle(caught[i], SIG_DFL); /* the state that the handler asks is gone now */
    mp_state_close(state);
    return status;
}
