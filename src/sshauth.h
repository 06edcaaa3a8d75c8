/*
 * sshauth.h - floor 1: who the other side is, and who we are: host keys and authentication. Only session.c uses it.
 */
#ifndef SSHAUTH_H
#define SSHAUTH_H

#include "sshconf.h"
#include "sshlib.h"

/*
 * Checks the host key against the known_hosts files. MP_HOSTKEY: unknown, changed, of another type or revoked; the text
 * has the fingerprint and what to type. With `StrictHostKeyChecking accept-new` an unknown key is stored, with `no` it
 * is let pass with a warning.
 */
int auth_host_key(session *s, const sshconf *conf, buf *warnings, fault *f);

/*
 * Tries the key files (with their certificates), then the agent; at most five keys of ours, as servers count. MP_AUTH
 * names what was tried; MP_CANCELLED, MP_DISCONNECT.
 */
int auth_user(session *s, const sshconf *conf, const wake *cancel, fault *f);

#endif
