/*
 * session.c - floor 1: SSH connections over libssh: addresses, host key, authentication, signs of life. docs/ssh.md has
 * the facts about libssh that this is built around.
 */
#include "session.h"
#include "sshauth.h"
#include "sshconf.h"
#include "sshlib.h"

#include <libssh/server.h> /* ssh_send_keepalive() */

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_TIMEOUT 10.0 /* seconds per address */
#define HANDSHAKE_TIMEOUT 30.0
#define DEAD_AFTER 45.0
#define IDLE_PROBE 15.0 /* seconds of silence after which an idle session is asked before it is used */
#define PROBE_WAIT 5.0

/* AES in Galois mode is the fastest of what both ends have; libssh would take ChaCha20 first, which is slower on most
 * machines. */
static const char ciphers[] =
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";

/* ---- the library as a whole ---------------------------------------------------------------------------- */

static void say_nothing(int priority, const char *function, const char *text, void *data)
{
    (void)priority, (void)function, (void)text, (void)data;
}

/* libssh writes to standard error as soon as a configuration says LogLevel; it has a callback per thread. */
static void quiet(void)
{
    (void)ssh_set_log_callback(say_nothing);
}

/* ---- addresses ----------------------------------------------------------------------------------------- */

static void set_int(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

/* Without TCP_NODELAY a command costs 40 ms more, and a window as much again. */
static void tune(int fd, double dead_after)
{
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_USER_TIMEOUT
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, poll_ms(dead_after));
#else
    (void)dead_after;
#endif
}

static int new_socket(int family)
{
#ifdef SOCK_CLOEXEC /* from birth: another thread may be starting a program */
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
#else
    int fd = socket(family, SOCK_STREAM, 0);
#endif

    if (fd >= 0 && (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fd_nonblock(fd) != 0)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

/* 0, MP_TIMEOUT, MP_CANCELLED, or an errno value (positive). */
static int connect_one(int *out, const struct addrinfo *a, double timeout, const wake *cancel)
{
    int fd = new_socket(a->ai_family), error = 0;
    socklen_t size = sizeof error;
    double until = clock_monotonic() + timeout;

    if (fd < 0)
        return errno;
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS) {
        error = errno;
        (void)close(fd);
        return error;
    }
    for (;;) {
        struct pollfd fds[2] = {{.fd = fd, .events = POLLOUT},
                                {.fd = cancel != NULL ? cancel->fds[0] : -1, .events = POLLIN}};
        double left = until - clock_monotonic();
        int n = poll(fds, 2, poll_ms(left));
        if (n < 0 && errno == EINTR)
            continue;
        if (n > 0 && fds[1].revents != 0)
            error = MP_CANCELLED;
        else if (n == 0)
            error = MP_TIMEOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
            error = errno;
        break;
    }
    if (error == 0)
        *out = fd;
    else
        (void)close(fd);
    return error;
}

/* Appends to what is told of the addresses, if there is room. */
static void tell(char *text, size_t size, const char *address, const char *why)
{
    size_t n = strlen(text);
    (void)snprintf(text + n, size - n, "%s%s: %s", n > 0 ? "; " : "", address, why);
}

/* Tries every address of the name in turn. */
static int connect_any(int *fd, const char *host, unsigned port, int family, double timeout, const wake *cancel,
                       fault *f)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *list;
    char service[16], late[64], told[400] = "";
    int rc, error = 0;

    (void)snprintf(service, sizeof service, "%u", port);
    (void)snprintf(late, sizeof late, "no answer within %g s", timeout);
    rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0)
        return fault_set(f, MP_CONNECT, "can't find the address of %s: %s", host, gai_strerror(rc));
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        char numbers[64] = "?", address[96];
        error = connect_one(fd, a, timeout, cancel);
        if (error == 0 || error == MP_CANCELLED)
            break;
        (void)getnameinfo(a->ai_addr, a->ai_addrlen, numbers, sizeof numbers, NULL, 0, NI_NUMERICHOST);
        (void)snprintf(address, sizeof address, "%s port %u", numbers, port);
        tell(told, sizeof told, address, error == MP_TIMEOUT ? late : strerror(error));
    }
    freeaddrinfo(list);
    if (error == MP_CANCELLED)
        return fault_set(f, MP_CANCELLED, "cancelled");
    return error == 0 ? MP_OK : fault_set(f, MP_CONNECT, "can't connect to %s", told);
}

/* ---- signs of life ------------------------------------------------------------------------------------- */

static void note_life(session *s)
{
    if (s->counter.in_bytes == s->counted)
        return;
    s->counted = s->counter.in_bytes;
    s->heard = clock_monotonic();
}

/* Twice: the first one may do nothing but take the answer to an earlier one that was not waited for. */
void session_ask(session *s)
{
    (void)ssh_send_keepalive(s->ssh);
    (void)ssh_send_keepalive(s->ssh);
    s->asked = clock_monotonic();
}

/* Only who was asked and did not answer is dead: we may have been stopped ourselves. */
bool session_pulse(session *s)
{
    double now = clock_monotonic(), interval = s->dead_after / 3;

    note_life(s);
    if (s->asked > s->heard && now - s->asked >= s->dead_after - interval)
        return false;
    if (s->asked > 0 && s->heard > s->asked) {
        (void)ssh_send_keepalive(s->ssh); /* takes the answer of the last one */
        s->asked = 0;
    }
    if (s->asked <= 0 && now - s->heard >= interval)
        session_ask(s);
    return true;
}

double session_pulse_in(const session *s)
{
    double interval = s->dead_after / 3;
    return (s->asked > 0 ? s->asked + s->dead_after - interval : s->heard + interval) - clock_monotonic();
}

int session_wait(session *s, double until, const wake *cancel)
{
    int fd = ssh_get_fd(s->ssh), flags = ssh_get_poll_flags(s->ssh);
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
                            {.fd = cancel != NULL ? cancel->fds[0] : -1, .events = POLLIN}};
    double left = until - clock_monotonic();

    if (fd < 0)
        return MP_DISCONNECT; /* libssh itself would wait for ever here */
    if (left <= 0)
        return MP_TIMEOUT;
    if ((flags & SSH_WRITE_PENDING) != 0)
        fds[0].events |= POLLOUT;
    if (poll(fds, 2, poll_ms(left)) > 0 && fds[1].revents != 0)
        return MP_CANCELLED;
    return MP_OK;
}

int session_take(session *s)
{
    return ssh_channel_poll(s->pump, 0);
}

bool session_is_good(session *s)
{
    double until = clock_monotonic() + PROBE_WAIT, silent;
    uint64_t before;

    note_life(s);
    silent = clock_monotonic() - s->heard;
    before = s->counter.in_bytes;
    if (silent > IDLE_PROBE)
        session_ask(s);
    do {
        if (session_take(s) == SSH_ERROR || !ssh_is_connected(s->ssh))
            return false;
        note_life(s);
    } while (silent > IDLE_PROBE && s->counter.in_bytes == before && session_wait(s, until, NULL) == MP_OK);
    if (silent <= IDLE_PROBE)
        return true;
    (void)ssh_send_keepalive(s->ssh); /* takes the answer */
    return s->counter.in_bytes != before;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* Hands what applies to this host over to libssh, which reads nothing but files. */
static int parse_flat(session *s, const sshconf *conf)
{
    const char *tmp = getenv("TMPDIR");
    buf dir = {0}, path = {0};
    size_t n = strlen(conf->flat);
    int rc = -1, fd = -1;

    if (buf_fmt(&dir, "%s/moonpool-XXXXXX", tmp != NULL && tmp[0] == '/' ? tmp : "/tmp") != MP_OK ||
        mkdtemp(dir.data) == NULL)
        goto out;
    if (buf_fmt(&path, "%s/config", dir.data) == MP_OK)
        fd = open(path.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (write(fd, conf->flat, n) == (ssize_t)n)
            rc = ssh_options_parse_config(s->ssh, path.data);
        (void)unlink(path.data);
        (void)close(fd);
    }
    (void)rmdir(dir.data);
out:
    buf_free(&dir);
    buf_free(&path);
    return rc;
}

/* What the configuration and the options say, into the libssh session and `conf`. */
static int configure(session *s, sshconf *conf, const mp_host_options *o, buf *warnings, fault *f)
{
    const char *at = strrchr(s->name, '@');
    const char *host = at != NULL ? at + 1 : s->name;
    char *user = at != NULL ? strndup(s->name, (size_t)(at - s->name)) : NULL;
    int no = 0, strict = 1;
    long timeout = (long)HANDSHAKE_TIMEOUT;

    if ((at != NULL && user == NULL) || sshconf_read(conf, o->ssh_config, user, host, warnings) != MP_OK) {
        free(user);
        return fault_set(f, MP_SYSTEM, "out of memory");
    }
    /* Unchecked, a name that libssh refuses would leave the user of this machine. */
    if (ssh_options_set(s->ssh, SSH_OPTIONS_HOST, host) != SSH_OK ||
        (user != NULL && ssh_options_set(s->ssh, SSH_OPTIONS_USER, user) != SSH_OK)) {
        free(user);
        return fault_set(f, MP_CONFIG, "libssh does not take %s as a destination", s->name);
    }
    free(user);
    if (parse_flat(s, conf) != 0)
        return fault_set(f, MP_CONFIG, "libssh can't read the ssh configuration (%s): --ssh-program ssh would",
                         o->ssh_config != NULL ? o->ssh_config : "~/.ssh/config or /etc/ssh/ssh_config");
    /* After the configuration, which would override them; it must not be read again when connecting. */
    (void)ssh_options_set(s->ssh, SSH_OPTIONS_PROCESS_CONFIG, &no);
    (void)ssh_options_set(s->ssh, SSH_OPTIONS_STRICTHOSTKEYCHECK, &strict);
    (void)ssh_options_set(s->ssh, SSH_OPTIONS_TIMEOUT, &timeout);
    if (!conf->names_ciphers) {
        (void)ssh_options_set(s->ssh, SSH_OPTIONS_CIPHERS_C_S, ciphers);
        (void)ssh_options_set(s->ssh, SSH_OPTIONS_CIPHERS_S_C, ciphers);
    }
    return MP_OK;
}

/* Through a ProxyCommand (libssh makes the socket), or by a connection of our own. */
static int attach(session *s, const sshconf *conf, const mp_host_options *o, const wake *cancel, fault *f)
{
    char *host = NULL, *proxy = NULL;
    double timeout = o->connect_timeout > 0      ? o->connect_timeout
                     : conf->connect_timeout > 0 ? conf->connect_timeout
                                                 : CONNECT_TIMEOUT;
    unsigned port = 22;
    int fd = -1, rc = MP_OK;

    if (ssh_options_get(s->ssh, SSH_OPTIONS_PROXYCOMMAND, &proxy) == SSH_OK && proxy != NULL) {
        ssh_string_free_char(proxy);
        return MP_OK;
    }
    (void)ssh_options_get_port(s->ssh, &port);
    if (ssh_options_get(s->ssh, SSH_OPTIONS_HOST, &host) != SSH_OK)
        return fault_set(f, MP_CONFIG, "no host");
    rc = connect_any(&fd, host, port, conf->family, timeout, cancel, f);
    ssh_string_free_char(host);
    if (rc != MP_OK)
        return rc;
    tune(fd, s->dead_after);
    (void)ssh_options_set(s->ssh, SSH_OPTIONS_FD, &fd);
    return MP_OK;
}

/* Exchanges keys. */
static int shake_hands(session *s, const wake *cancel, fault *f)
{
    double until = clock_monotonic() + HANDSHAKE_TIMEOUT;
    int rc, waited = MP_OK;
    char why[256];
    sigset_t none, before;

    ssh_set_blocking(s->ssh, 0);
    /* A proxy, which libssh starts here and ends by SIGTERM, would have our thread's signals blocked. */
    (void)sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, &before);
    rc = ssh_connect(s->ssh);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (; rc == SSH_AGAIN && waited == MP_OK; rc = ssh_connect(s->ssh)) {
        (void)fcntl(ssh_get_fd(s->ssh), F_SETFD, FD_CLOEXEC); /* of a proxy, which libssh makes */
        waited = session_wait(s, until, cancel);
    }
    (void)snprintf(why, sizeof why, "%s", ssh_get_error(s->ssh));
    /* A descriptor that was given to it libssh would not close. NULL makes it its own. */
    (void)ssh_options_set(s->ssh, SSH_OPTIONS_FD, NULL);
    if (rc == SSH_OK) {
        int fd = ssh_get_fd(s->ssh);
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        (void)fd_nonblock(fd);
        return MP_OK;
    }
    if (waited == MP_CANCELLED)
        return fault_set(f, MP_CANCELLED, "cancelled");
    if (waited == MP_TIMEOUT)
        return fault_set(f, MP_CONNECT, "no SSH server answered within %g s", HANDSHAKE_TIMEOUT);
    return fault_set(f, MP_CONNECT, "%s", why[0] != '\0' ? why : "the connection was closed");
}

int session_open(session **out, const char *destination, const mp_host_options *options, const wake *cancel,
                 buf *warnings, fault *f)
{
    session *s = calloc(1, sizeof *s);
    sshconf conf = {0};
    int rc;

    quiet();
    if (s == NULL)
        return fault_set(f, MP_SYSTEM, "out of memory");
    s->dead_after = options->dead_after > 0 ? options->dead_after : DEAD_AFTER;
    s->name = strdup(destination);
    s->ssh = ssh_new();
    if (s->name == NULL || s->ssh == NULL) {
        session_close(s);
        return fault_set(f, MP_SYSTEM, "out of memory");
    }
    rc = configure(s, &conf, options, warnings, f);
    if (rc == MP_OK)
        rc = attach(s, &conf, options, cancel, f);
    if (rc == MP_OK)
        rc = shake_hands(s, cancel, f);
    if (rc == MP_OK)
        rc = auth_host_key(s, &conf, warnings, f);
    if (rc == MP_OK)
        rc = auth_user(s, &conf, cancel, f);
    sshconf_free(&conf);
    if (rc != MP_OK) {
        session_close(s);
        return rc;
    }
    s->pump = ssh_channel_new(s->ssh);
    if (s->pump == NULL) {
        session_close(s);
        return fault_set(f, MP_SYSTEM, "out of memory");
    }
    s->heard = clock_monotonic();
    (void)ssh_set_counters(s->ssh, &s->counter, &s->counter); /* bytes of the first, packets of the second */
    *out = s;
    return MP_OK;
}

void session_close(session *s)
{
    if (s == NULL)
        return;
    if (s->ssh != NULL) {
        if (s->pump != NULL)
            ssh_channel_free(s->pump);
        if (ssh_is_connected(s->ssh))
            ssh_disconnect(s->ssh);
        ssh_free(s->ssh);
    }
    free(s->window);
    free(s->name);
    free(s);
}
