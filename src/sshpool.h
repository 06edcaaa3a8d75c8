/*
 * sshpool.h - floor 1: the connections of one far side, by libssh or by the ssh program: idle ones, idle shells, and
 * what lost connections have left running there. Any thread.
 */
#ifndef SSHPOOL_H
#define SSHPOOL_H

#include "shell.h"
#include "sshfar.h"

typedef struct sshpool sshpool;

/* `destination` and the strings of `options` must live as long as the pool. Connects nothing. MP_SYSTEM. */
int sshpool_new(sshpool **out, const char *destination, const mp_host_options *options);
/* Nothing of it may be in use. NULL is allowed. */
void sshpool_free(sshpool *pool);

/*
 * Gives `command` to the far side's login shell, over an idle connection or a new one, never twice, and not after
 * `deadline` (of clock_monotonic(), 0: none), which is MP_TIMEOUT. Lines about the
 * host are appended to `warnings`, each once per pool. Fails as session_open(), remote_start() and sshprogram_start()
 * do.
 */
int sshpool_channel(proc **out, sshpool *pool, const char *command, const wake *cancel, double deadline, buf *warnings,
                    fault *f);

/*
 * A shell: the one that was used last, or a new one, or, if there are many, one that somebody gives back. MP_OK with
 * *out NULL: there are no shells on that host, and sshpool_plain() says so from now on. Fails as sshpool_channel()
 * does.
 */
int sshpool_take(shell **out, sshpool *pool, const wake *cancel, double deadline, buf *warnings, fault *f);
/* Gives it back: a shell_done, with the pool as `arg`. */
void sshpool_give(void *pool, shell *sh, bool good);
/* Finds out, if need be by taking a shell, whether the far side runs nothing but plain command lines. */
int sshpool_plain(bool *plain, sshpool *pool, const wake *cancel, buf *warnings, fault *f);

/* Runs a script in an idle shell or, whatever their number, a new one. True if that worked within so many seconds. */
bool sshpool_run(sshpool *pool, const char *script, double seconds);

/* Counts a stream. Waits if there are many, but not for ever. MP_CANCELLED. */
int sshpool_admit(sshpool *pool, const wake *cancel, fault *f);
/* A stream that was counted has ended. */
void sshpool_leave(sshpool *pool);

/* A stream that may still be running although its connection was lost. */
typedef struct sshlost {
    long pid;
    char nonce[NONCE_SIZE]; /* as in far_script() */
    char *args;             /* as ps shows them; malloc'd */
} sshlost;
/* Remembers it; takes lost->args. */
void sshpool_lost(sshpool *pool, sshlost *lost);
/* Ends those that are remembered, if they can be reached now: a stale receive would keep its dataset busy. */
void sshpool_settle(sshpool *pool);

#endif
