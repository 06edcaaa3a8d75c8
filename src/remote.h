/*
 * remote.h - floor 1: a command on a channel of an SSH session. With session.c the only files that know libssh.
 */
#ifndef REMOTE_H
#define REMOTE_H

#include "proc.h"
#include "session.h"

/* Told once the proc is destroyed: the session is free again, `good` if it can carry another channel. */
typedef void remote_done(void *arg, session *s, bool good);

/*
 * Gives `command` to the login shell of the far side, verbatim. On success the session is the proc's until `done` gets
 * it back; on failure it stays the caller's: MP_DISCONNECT (the session is dead), MP_CONNECT (the server opens no more
 * channels on this connection: try another one), MP_CANCELLED. Keepalives are sent while the proc is driven; a server
 * that is silent for options->dead_after ends it with MP_DISCONNECT. kill() sends the "signal" request of SSH, which
 * many servers ignore: see host.c.
 */
int remote_start(proc **out, session *s, const char *command, const wake *cancel, remote_done *done, void *arg,
                 fault *f);

#endif
