/*
 * shell.h - floor 1: a POSIX sh that stays open and runs one command after the other, each at the price of a round trip. It is
 * carried by any proc that runs `sh`: over libssh, over the ssh program, or a local one in the tests.
 */
#ifndef SHELL_H
#define SHELL_H

#include "proc.h"

typedef struct shell shell;

/*
 * Greets an sh that reads commands from its standard input, and waits for its answer up to `timeout` seconds. On success the
 * carrier is the shell's; on failure it stays the caller's. What it printed before the greeting (a banner of the login shell) is thrown
 * away. MP_EXIT, MP_DISCONNECT, MP_TIMEOUT, MP_CANCELLED: whatever answered, it was no sh.
 */
int shell_open(shell **out, proc *carrier, double timeout, const wake *cancel, fault *f);

/* Told once a command's proc is destroyed: the shell is free again, `good` if it can run another command. */
typedef void shell_done(void *arg, shell *sh, bool good);

/* Runs a command with an empty standard input. On success the shell is the proc's until `done` gets it back. MP_SYSTEM. */
int shell_start(proc **out, shell *sh, const char *const argv[], shell_done *done, void *arg, fault *f);

/* Process id on the far side of the command that is running in the shell, 0 if it is not known (yet). */
long shell_command_pid(const proc *p);

/* False once the carrier has ended. Does not wait. */
bool shell_is_good(shell *sh);

/* Ends the sh and its carrier. NULL is allowed. */
void shell_close(shell *sh);

#endif
