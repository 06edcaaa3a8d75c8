/*
 * sshfar.h - floor 1: what programs on a far side have in common, over whichever transport: a process id that is known,
 * words for their end, and a way to end them that does not depend on their own connection.
 */
#ifndef SSHFAR_H
#define SSHFAR_H

#include "proc.h"

/* 32 hexadecimal digits that nobody guesses, and a NUL. */
#define NONCE_SIZE 33
void far_nonce(char nonce[NONCE_SIZE]);

/* Bytes of a program's standard error that are held back until it is known whether it could be started at all. */
#define FAR_HOLD ((size_t)512)

/* What a sh makes of the end of a program: MP_OK, MP_EXIT, or for 129 to 159 MP_SIGNAL with "ended by SIGTERM". */
void far_status(proc_end *end, int status);

/*
 * If a program that a sh was told to exec could not be started (end->status is 126 or 127, and the sh said so: the `n`
 * bytes at `said`), turns *end into MP_SPAWN with a message, and returns true.
 */
bool far_spawn_failed(proc_end *end, const char *program, const char *said, size_t n);

/* Fills `f` from an end that came before the work began: its code, its message, and the last line of what was said. */
int far_lost(fault *f, const proc_end *end, const char *said);

/*
 * One turn of a loop of somebody who is no pump: prepare, poll, step. `want` as in proc_ops, `until` on
 * clock_monotonic(). MP_TIMEOUT (after the turn), MP_CANCELLED, MP_SYSTEM.
 */
int proc_turn(proc *p, unsigned want, double until, const wake *cancel, fault *f);

/*
 * Reads and drops all that a program says until it ends. Its code with its message, MP_TIMEOUT, MP_CANCELLED or
 * MP_SYSTEM. The proc stays the caller's.
 */
int proc_finish(proc *p, double until, const wake *cancel, fault *f);

/* Appends a script for sh: the sbin directories, the C locale, a mark with its process id, MOONPOOL_ID=nonce, exec. */
int far_script(buf *b, const char *const argv[], const char *nonce);

/* What a far program asks of its host. Called by the thread that uses the proc. */
typedef struct far_hooks {
    /* Sends a signal to a process (or its group, if negative) over another connection, within so many seconds. True:
     * sent. */
    bool (*kill)(void *arg, long target, int signal, double seconds);
    /* It is destroyed. `lost`: the group of a program of which nobody saw the end, as its connection was lost, or 0. */
    void (*gone)(void *arg, long lost);
    void *arg;
} far_hooks;

/*
 * Wraps a program on the far side, a shell's command or one with a channel of its own: kill() goes over another
 * connection as well. With `nonce` it was started by far_script(): waits up to 60 seconds for the mark with its process
 * id, and takes it out of its standard error, with whatever the login shell said before. `program`: its argv[0]. On
 * success `base` is the proc's, on failure it stays the caller's, and `gone` is not called: MP_CANCELLED, MP_TIMEOUT,
 * MP_SYSTEM, or the code with which the connection ended.
 */
int far_wrap(proc **out, proc *base, const char *nonce, const char *program, const far_hooks *hooks, const wake *cancel,
             fault *f);

#endif
