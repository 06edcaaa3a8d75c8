/*
 * main.c - floor 6: the program. Signals and the exit status; everything else is the library.
 */
#include "moonpool.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static mp_state *state;

/* The first signal asks the run to let go of what it holds; the second one ends the process as if it were not caught.
 */
static void on_signal(int number)
{
    struct sigaction by_default;

    if (!mp_state_interrupt(state))
        return;
    (void)memset(&by_default, 0, sizeof by_default);
    by_default.sa_handler = SIG_DFL;
    (void)sigaction(number, &by_default, NULL);
    (void)raise(number); /* delivered when this handler returns */
}

int main(int argc, char *argv[])
{
    static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action;
    int status;

    (void)memset(&action, 0, sizeof action);
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
    if (mp_state_open(&state, argv[0]) != MP_OK) {
        (void)fprintf(stderr, "moonpool: out of memory\n");
        return 255;
    }
    action.sa_handler = on_signal;
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++) {
        struct sigaction before;
        /* What whoever started us ignores (nohup) stays ignored. */
        if (sigaction(caught[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            (void)sigaction(caught[i], &action, NULL);
    }
    status = mp_state_main(state, argc, argv);
    mp_state_close(state);
    return status;
}
