/*
 * sshprogram.h - floor 1: the ssh program as transport, for configurations that libssh can't serve.
 */
#ifndef SSHPROGRAM_H
#define SSHPROGRAM_H

#include "proc.h"

/*
 * Gives `command` to the login shell of the far side through options->ssh_program, which may be several words ("ssh -p
 * 2222"). Connecting happens while the proc is driven: an ssh that could not connect ends with MP_CONNECT, MP_HOSTKEY,
 * MP_AUTH or MP_CONFIG, one whose connection was lost with MP_DISCONNECT, and with what it said as the message. kill()
 * ends the ssh program, and not what it started on the far side. MP_SPAWN: no such program; MP_SYSTEM. The proc belongs
 * to the caller. Any thread.
 */
int sshprogram_start(proc **out, const char *destination, const char *command, const mp_host_options *options,
                     fault *f);

#endif
