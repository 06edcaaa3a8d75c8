/*
 * local.h - floor 1: a program on this machine.
 */
#ifndef LOCAL_H
#define LOCAL_H

#include "proc.h"

/*
 * Starts a program with pipes at its standard input, output and error, in a process group of its own, with default
 * signals, the C locale and the sbin directories in its PATH. argv[0] without a slash is looked for in that PATH. Never
 * blocks for long. MP_SPAWN: it is not there or can't be executed; MP_SYSTEM: no descriptors or memory. The proc
 * belongs to the caller: ops->destroy, which kills what still runs. Any thread.
 */
int local_start(proc **out, const char *const argv[], fault *f);

/* The same for a stage that moves a stream: its pipes hold 1 MiB, where the system lets us. */
int local_start_stream(proc **out, const char *const argv[], fault *f);

#endif
