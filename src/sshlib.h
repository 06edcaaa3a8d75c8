/*
 * sshlib.h - floor 1: what session.c and remote.c share of a libssh session. Only they include it.
 */
#ifndef SSHLIB_H
#define SSHLIB_H

#include "session.h"

#include <libssh/callbacks.h>
#include <libssh/libssh.h>

struct session {
    ssh_session ssh;
    struct ssh_counter_struct counter; /* in_bytes is the sign of life */
    uint64_t counted;                  /* in_bytes when it was last looked at */
    double heard;                      /* when a byte last came */
    double asked;                      /* when a keepalive was last sent, 0: none is under way */
    double dead_after;                 /* seconds */
    ssh_channel pump; /* never opened: asking it makes libssh take what arrived, which an ended one does not */
    char *window;     /* for remote.c: what opens the window of libssh before 0.11 */
    char *name;       /* the destination */
};

/* Lets libssh take what has arrived, one small read of it, and send what is pending. SSH_ERROR: the connection is lost.
 */
int session_take(session *s);

/* Waits until libssh may have something to do, at most until `until`. MP_OK, MP_TIMEOUT, MP_CANCELLED, MP_DISCONNECT
 * (no descriptor). */
int session_wait(session *s, double until, const wake *cancel);

/* Asks for a sign of life if there was none for a while; false once it has been silent for too long. */
bool session_pulse(session *s);
/* Seconds until session_pulse() should be called again. */
double session_pulse_in(const session *s);

#endif
