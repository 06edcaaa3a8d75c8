/*
 * sshauth.c - floor 1: host keys and authentication. libssh's own ssh_userauth_publickey_auto() is not used: it offers
 * every key of the agent before the one that was named, hangs when the server has had enough of them, and writes files
 * beside private keys.
 */
#include "sshauth.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define AUTH_TIMEOUT 30.0
#define AGENT_WAIT 5.0 /* seconds for the agent to say what it has */
#define MAX_KEYS 5     /* sshd's MaxAuthTries is 6, and asking what there is counts as one */

/* ---- the host's key ------------------------------------------------------------------------------------ */

/* The server's key: its type and base64 in one malloc'd line, and its fingerprint. NULL without memory. */
static char *server_key(session *s, char **fingerprint)
{
    ssh_key key = NULL;
    unsigned char *hash = NULL;
    size_t size = 0;
    char *base64 = NULL;
    buf line = {0};

    *fingerprint = NULL;
    if (ssh_get_server_publickey(s->ssh, &key) != SSH_OK)
        return NULL;
    if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &size) == 0) {
        *fingerprint = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, size);
        ssh_clean_pubkey_hash(&hash);
    }
    if (ssh_pki_export_pubkey_base64(key, &base64) == SSH_OK)
        (void)buf_fmt(&line, "%s %s", ssh_key_type_to_char(ssh_key_type(key)), base64);
    ssh_string_free_char(base64);
    ssh_key_free(key);
    return line.data != NULL ? buf_take(&line) : NULL;
}

/* Whether a line of a known_hosts file with @revoked has this key. Whatever host it names: a stolen key is no host's.
 */
static bool is_revoked(const sshconf *conf, const char *key)
{
    const char *base64 = strchr(key, ' ');
    bool found = false;

    for (size_t i = 0; base64 != NULL && conf->known_hosts != NULL && conf->known_hosts[i] != NULL && !found; i++) {
        FILE *file = fopen(conf->known_hosts[i], "re");
        char *line = NULL;
        size_t size = 0;
        while (file != NULL && !found && getline(&line, &size, file) >= 0)
            found = strncmp(line, "@revoked", 8) == 0 && strstr(line, base64 + 1) != NULL;
        free(line);
        if (file != NULL)
            (void)fclose(file);
    }
    return found;
}

/* "host" or "[host]:port", as known_hosts has it. */
static void spell_host(session *s, char *text, size_t size)
{
    char *host = NULL;
    unsigned port = 22;

    (void)ssh_options_get_port(s->ssh, &port);
    (void)ssh_options_get(s->ssh, SSH_OPTIONS_HOST, &host);
    (void)snprintf(text, size, port == 22 ? "%s" : "[%s]:%u", host != NULL ? host : "?", port);
    ssh_string_free_char(host);
}

static int unknown_key(session *s, const sshconf *conf, const char *key, const char *fingerprint, buf *warnings,
                       fault *f)
{
    const char *file =
        conf->known_hosts != NULL && conf->known_hosts[0] != NULL ? conf->known_hosts[0] : "~/.ssh/known_hosts";
    char host[300];

    spell_host(s, host, sizeof host);
    if (conf->strict == STRICT_NO) {
        (void)buf_fmt(warnings,
                      "the host key of %s is not known (%s), and StrictHostKeyChecking is no: anybody could be there\n",
                      host, fingerprint);
        return MP_OK;
    }
    if (conf->strict == STRICT_ACCEPT_NEW) {
        if (ssh_session_update_known_hosts(s->ssh) != SSH_OK)
            return fault_set(f, MP_HOSTKEY, "the new host key can't be written to %s: %s", file, ssh_get_error(s->ssh));
        (void)buf_fmt(warnings, "the host key of %s is new, and was added to %s (%s)\n", host, file, fingerprint);
        return MP_OK;
    }
    if (strlen(host) + strlen(key) + strlen(fingerprint) + strlen(file) > 380)
        return fault_set(f, MP_HOSTKEY, "the host key is not known: it is %s; if that is right: ssh-keyscan it into %s",
                         fingerprint, file);
    return fault_set(f, MP_HOSTKEY, "the host key is not known: it is %s; if that is right: echo '%s %s' >>%s",
                     fingerprint, host, key, file);
}

static int changed_key(session *s, const sshconf *conf, const char *fingerprint, const char *how, fault *f)
{
    const char *file =
        conf->known_hosts != NULL && conf->known_hosts[0] != NULL ? conf->known_hosts[0] : "~/.ssh/known_hosts";
    char host[300];

    spell_host(s, host, sizeof host);
    return fault_set(f, MP_HOSTKEY,
                     "the host key %s: it is %s now; somebody may be listening; if it was changed on purpose: "
                     "ssh-keygen -f %s -R '%s'",
                     how, fingerprint, file, host);
}

int auth_host_key(session *s, const sshconf *conf, buf *warnings, fault *f)
{
    char *fingerprint, *key = server_key(s, &fingerprint);
    const char *shown = fingerprint != NULL ? fingerprint : "?";
    int rc;

    if (key == NULL) {
        rc = fault_set(f, MP_HOSTKEY, "the server has no host key");
    } else if (is_revoked(conf, key)) {
        rc = fault_set(f, MP_HOSTKEY, "the host key %s is marked @revoked in known_hosts", shown);
    } else {
        switch (ssh_session_is_known_server(s->ssh)) {
        case SSH_KNOWN_HOSTS_OK:
            rc = MP_OK;
            break;
        case SSH_KNOWN_HOSTS_CHANGED:
            rc = changed_key(s, conf, shown, "has CHANGED", f);
            break;
        case SSH_KNOWN_HOSTS_OTHER:
            rc = changed_key(s, conf, shown, "is of another type than the known one", f);
            break;
        case SSH_KNOWN_HOSTS_UNKNOWN:
        case SSH_KNOWN_HOSTS_NOT_FOUND:
            rc = unknown_key(s, conf, key, shown, warnings, f);
            break;
        default:
            rc = fault_set(f, MP_HOSTKEY, "the host key can't be checked: %s", ssh_get_error(s->ssh));
        }
    }
    ssh_string_free_char(fingerprint);
    free(key);
    return rc;
}

/* ---- our keys ------------------------------------------------------------------------------------------ */

typedef struct attempt {
    session *s;
    const wake *cancel;
    double until;
    buf tried; /* what was offered, for the message */
    int keys;
    bool locked; /* a key file has a passphrase: the agent may have it */
} attempt;

/* Whether the answer is final: then *rc says what became of it. */
static bool settled(attempt *a, int answer, int *rc)
{
    int waited;

    if (answer == SSH_AUTH_SUCCESS) {
        *rc = MP_OK;
        return true;
    }
    if (answer != SSH_AUTH_AGAIN) {
        *rc = ssh_is_connected(a->s->ssh) ? MP_AUTH : MP_DISCONNECT;
        return true;
    }
    waited = session_wait(a->s, a->until, a->cancel);
    *rc = waited;
    return waited != MP_OK;
}

static void note_tried(attempt *a, const char *what)
{
    (void)buf_fmt(&a->tried, "%s%s", a->tried.len > 0 ? ", " : "", what);
}

static int offer(attempt *a, ssh_key key)
{
    int rc;

    a->keys++;
    while (!settled(a, ssh_userauth_publickey(a->s->ssh, NULL, key), &rc))
        continue;
    return rc;
}

/* The key with its certificate, if there is one beside it. MP_AUTH: there is none, or it was not accepted. */
static int try_certificate(attempt *a, const char *path, ssh_key key)
{
    ssh_key certificate = NULL;
    buf file = {0};
    int rc = MP_AUTH;

    if (buf_fmt(&file, "%s-cert.pub", path) == MP_OK && access(file.data, R_OK) == 0 &&
        ssh_pki_import_cert_file(file.data, &certificate) == SSH_OK) {
        ssh_key both = ssh_key_dup(key);
        if (both != NULL && ssh_pki_copy_cert_to_privkey(certificate, both) == SSH_OK) {
            note_tried(a, file.data);
            rc = offer(a, both);
        }
        ssh_key_free(both);
        ssh_key_free(certificate);
    }
    buf_free(&file);
    return rc;
}

static int try_file(attempt *a, const char *path)
{
    ssh_key key = NULL;
    int rc;

    if (access(path, F_OK) != 0)
        return MP_AUTH;
    if (ssh_pki_import_privkey_file(path, NULL, NULL, NULL, &key) != SSH_OK) {
        buf note = {0};
        a->locked = true;
        if (buf_fmt(&note, "%s (%s)", path,
                    access(path, R_OK) != 0 ? strerror(errno) : "not readable without a passphrase") == MP_OK)
            note_tried(a, note.data);
        buf_free(&note);
        return MP_AUTH;
    }
    rc = try_certificate(a, path, key);
    if (rc == MP_AUTH) {
        note_tried(a, path);
        rc = offer(a, key);
    }
    ssh_key_free(key);
    return rc;
}

/* Where the agent is, or NULL: there is none. */
static const char *agent_socket(const sshconf *conf)
{
    const char *path =
        conf->agent != NULL && strcmp(conf->agent, "SSH_AUTH_SOCK") != 0 ? conf->agent : getenv("SSH_AUTH_SOCK");
    return path == NULL || *path == '\0' || strcasecmp(path, "none") == 0 ? NULL : path;
}

/*
 * Asks the agent what it has, only to see that it answers: libssh would wait for it without end, and one that was
 * forwarded to a session that is gone says nothing. MP_OK, MP_CANCELLED, MP_TIMEOUT, or MP_AUTH: there is none.
 */
static int agent_answers(const char *path, const wake *cancel)
{
    static const char request[] = {0, 0, 0, 1, 11}; /* SSH_AGENTC_REQUEST_IDENTITIES: draft-miller-ssh-agent, 3.5 */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct pollfd fds[2] = {{.fd = socket(AF_UNIX, SOCK_STREAM, 0), .events = POLLIN},
                            {.fd = cancel != NULL ? cancel->fds[0] : -1, .events = POLLIN}};
    int rc = MP_AUTH, n;

    if (strlen(path) < sizeof a.sun_path && fds[0].fd >= 0 && fcntl(fds[0].fd, F_SETFD, FD_CLOEXEC) == 0 &&
        fd_nonblock(fds[0].fd) == 0) {
        (void)strcpy(a.sun_path, path);
        if (connect(fds[0].fd, (struct sockaddr *)&a, sizeof a) == 0 &&
            send(fds[0].fd, request, sizeof request, MSG_NOSIGNAL) == (ssize_t)sizeof request) {
            n = poll(fds, 2, poll_ms(AGENT_WAIT));
            rc = n > 0 && fds[1].revents != 0 ? MP_CANCELLED : n > 0 ? MP_OK : MP_TIMEOUT;
        }
    }
    if (fds[0].fd >= 0)
        (void)close(fds[0].fd);
    return rc;
}

static int try_agent(attempt *a, const sshconf *conf)
{
    const char *path = agent_socket(conf);
    int rc;

    if (path == NULL)
        return MP_AUTH;
    rc = path[0] == '/' ? agent_answers(path, a->cancel) : MP_OK; /* others libssh may yet understand */
    if (rc == MP_CANCELLED)
        return rc;
    note_tried(a, rc == MP_OK        ? "the agent's keys"
                  : rc == MP_TIMEOUT ? "the agent (it does not answer)"
                                     : "the agent (it can't be reached)");
    if (rc != MP_OK)
        return MP_AUTH;
    while (!settled(a, ssh_userauth_agent(a->s->ssh, NULL), &rc))
        continue;
    return rc;
}

static int refusal(attempt *a, int rc, fault *f)
{
    char *user = NULL;

    if (rc == MP_CANCELLED)
        return fault_set(f, MP_CANCELLED, "cancelled");
    if (rc == MP_TIMEOUT)
        return fault_set(f, MP_AUTH, "no answer to our keys within %g s", AUTH_TIMEOUT);
    (void)ssh_options_get(a->s->ssh, SSH_OPTIONS_USER, &user);
    if (rc == MP_DISCONNECT)
        (void)fault_set(f, MP_AUTH,
                        "the server closed the connection while we showed our keys (%s): too many? name the right one "
                        "with IdentityFile, "
                        "and IdentitiesOnly yes",
                        a->tried.len > 0 ? a->tried.data : "none");
    else
        (void)fault_set(f, MP_AUTH, "the server accepts no key of ours for user %s; tried: %s",
                        user != NULL ? user : "?",
                        a->tried.len > 0 ? a->tried.data : "none, as there is no key file and no agent");
    ssh_string_free_char(user);
    return MP_AUTH;
}

int auth_user(session *s, const sshconf *conf, const wake *cancel, fault *f)
{
    attempt a = {.s = s, .cancel = cancel, .until = clock_monotonic() + AUTH_TIMEOUT};
    int rc;

    while (!settled(&a, ssh_userauth_none(s->ssh, NULL), &rc))
        continue;
    for (size_t i = 0; rc == MP_AUTH && conf->identities != NULL && conf->identities[i] != NULL && a.keys < MAX_KEYS;
         i++)
        rc = try_file(&a, conf->identities[i]);
    if (rc == MP_AUTH && (!conf->identities_only || a.locked))
        rc = try_agent(&a, conf);
    if (rc != MP_OK)
        rc = refusal(&a, rc, f);
    buf_free(&a.tried);
    return rc;
}
