/*
 * host.h - floor 2: what the rest of the core asks a host beside moonpool.h.
 */
#ifndef HOST_H
#define HOST_H

#include "proc.h"

enum host_use {
    HOST_COMMAND, /* short, without input: over SSH it runs in a shell that stays open */
    HOST_STREAM   /* moves bytes: over SSH it has a connection of its own */
};

/*
 * Starts a program there, connecting first if no idle connection can be had. Blocks while connecting; `cancel` (or
 * NULL) ends that early, and nothing is started after `deadline` (of clock_monotonic(), 0: none), which is MP_TIMEOUT.
 * Lines about the host (ignored configuration) are appended to `warnings`, once per host.
 * Whether it may write was checked by the caller. The codes of local_start() and session_open(); *f is always filled on
 * failure, without the host's name. kill() of the proc ends the program on the far side too. Any thread.
 */
int host_start(proc **out, mp_host *host, const char *const argv[], enum host_use use, const wake *cancel,
               double deadline, buf *warnings, fault *f);

/* One more reference: mp_host_close() gives it back. Returns the host. */
mp_host *host_ref(mp_host *host);

#endif
