/*
 * sshconf.h - floor 1: what libssh does not tell, or does not understand, of the ssh configuration that applies to a
 * host.
 */
#ifndef SSHCONF_H
#define SSHCONF_H

#include "base.h"

enum sshconf_strict { STRICT_YES, STRICT_NO, STRICT_ACCEPT_NEW };

typedef struct sshconf {
    bool identities_only;
    bool names_ciphers;
    char *agent; /* the IdentityAgent, which libssh then asks instead of SSH_AUTH_SOCK's; expanded; NULL: not said */
    enum sshconf_strict strict;
    int family;             /* AF_UNSPEC, AF_INET, AF_INET6 */
    double connect_timeout; /* seconds, 0: not said */
    char **identities;      /* files of IdentityFile, expanded; ends with NULL */
    char *flat;             /* what applies to the host, without Host and Include, for libssh; malloc'd */
    char **known_hosts; /* files of UserKnownHostsFile and GlobalKnownHostsFile, or the default ones; ends with NULL */
} sshconf;

/*
 * Reads `file`, or with NULL ~/.ssh/config and /etc/ssh/ssh_config, and what they include. `host` is the name as it was
 * given; `user` stood before it, or is NULL. Match by host, originalhost, user, localuser and all is followed; with
 * anything else (exec) it is left to libssh, which finds it in `flat`. For each keyword in the host's sections that has
 * no effect here, a line is appended to `warnings`. Files that are not there are no fault.
 * MP_SYSTEM: no memory.
 */
int sshconf_read(sshconf *conf, const char *file, const char *user, const char *host, buf *warnings);
void sshconf_free(sshconf *conf);

#endif
