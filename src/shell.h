/*
 * shell.h - floor 1: a POSIX sh that stays open and runs one command after the other, each at the price of a round
 * trip. It is carried by any proc that runs `sh`: over libssh, over the ssh program, or a local one in the tests.
 */
#ifndef SHELL_H
#define SHELL_H

#include "proc.h"

typedef struct shell shell;

/*
 * Greets an sh that reads commands from its standard input, and waits for its answer up to `timeout` seconds. On
 * success the carrier is the shell's; on failure it stays the caller's. What it printed before the greeting (a banner
 * of the login shell) is thrown away. MP_EXIT, MP_DISCONNECT, MP_TIMEOUT, MP_CANCELLED: whatever answered, it was no
 * sh. A carrier that ended with a code of its own (MP_AUTH, MP_CONNECT, …) passes that on.
 */
int shell_open(shell **out, proc *carrier, double timeout, const wake *cancel, fault *f);

/* Told once a command's proc is destroyed: the shell is free again, `good` if it can run another command. */
typedef void shell_done(void *arg, shell *sh, bool good);

/*
 * Runs a command with an empty standard input. On success the shell is the proc's until `done` gets it back.
 * MP_SYSTEM.
 */
int shell_start(proc **out, shell *sh, const char *const argv[], shell_done *done, void *arg, fault *f);

/* Process id on the far side of the command that is running in the shell, 0 if it is not known (yet). */
long shell_command_pid(const proc *p);

/*
 * The process group of the sh and everything it runs, 0 if it has none of its own, -1 if `p` is no command of a
 * shell. The sh outlives SIGTERM, its commands don't.
 */
long shell_group(const proc *p);

/* False once the carrier has ended, or if something was printed that belongs to no command. Does not wait. */
bool shell_is_good(shell *sh);

/* The same for a shell that lay idle for long: asks it, and waits up to `timeout` seconds for its answer. */
bool shell_answers(shell *sh, double timeout, const wake *cancel);

/* Ends the sh and its carrier. NULL is allowed. */
void shell_close(shell *sh);

#endif
