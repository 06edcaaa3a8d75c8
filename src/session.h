/*
 * session.h - floor 1: one SSH connection over libssh, from name look-up to authentication. A session is used by one
 * thread at a time and carries one channel at a time (remote.h), so that MaxSessions 1 is enough.
 */
#ifndef SESSION_H
#define SESSION_H

#include "base.h"

typedef struct session session;

/*
 * Connects: ~/.ssh/config and /etc/ssh/ssh_config (or options->ssh_config alone), every address in turn, the host key,
 * the agent and key files. Blocks up to connect_timeout per address and 30 s for authentication; `cancel` (or NULL)
 * ends it early. Lines about configuration that is ignored are appended to `warnings`, each ending in a newline.
 * MP_CONNECT, MP_HOSTKEY (the text says which line to remove or add, and where), MP_AUTH (names the keys tried),
 * MP_CONFIG, MP_CANCELLED, MP_SYSTEM. The text doesn't start with the host's name.
 */
int session_open(session **out, const char *destination, const mp_host_options *options, const wake *cancel,
                 buf *warnings, fault *f);

/*
 * For a session that lay idle: handles what arrived meanwhile and says whether it is still connected. Does not wait,
 * unless it has been silent for longer than 15 s: then for one answer of the server, at most 5 s.
 */
bool session_is_good(session *s);

/* Asks the server for a sign of life, without waiting for it. */
void session_ask(session *s);

/* Ends the connection without waiting for the other side. NULL is allowed. */
void session_close(session *s);

#endif
