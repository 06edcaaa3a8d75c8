/*
 * server.h - an sshd on loopback for the host tests: any port, keys and configuration of its own, restarted at will. It
 * is a daemon, so that it is no child of the test.
 */
#ifndef SERVER_H
#define SERVER_H

#include "helper.h"

#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>

typedef struct server {
    char dir[32]; /* hostkey, key, known_hosts, config (of the client: host "far"), sshd_config, pid, log */
    int port;
} server;

/* Runs a script here with the server's directory as $0 and current directory. */
__attribute__((unused)) static void in_server(const server *s, const char *script)
{
    char text[1024];
    mp_result *r;
    assert_true(snprintf(text, sizeof text, "cd \"$0\" && { %s\n}", script) < (int)sizeof text);
    r = run_here(ARGV("sh", "-c", text, s->dir), NULL);
    if (r->code != MP_OK)
        fail_msg("%s: %s", r->message, script);
    mp_result_free(r);
}

__attribute__((unused)) static bool server_listens(const server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), rc;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = connect(fd, (const struct sockaddr *)&a, sizeof a);
    (void)close(fd);
    return rc == 0;
}

/* Starts it with more lines of configuration, waits until it listens. */
__attribute__((unused)) static void server_run(const server *s, const char *more)
{
    char text[900];
    (void)snprintf(
        text, sizeof text,
        "cat >sshd_config <<'EOF'\nListenAddress 127.0.0.1:%d\nHostKey %s/hostkey\nAuthorizedKeysFile %s/key.pub\n"
        "PidFile %s/pid\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nMaxStartups 100\n"
        "SetEnv SHLVL=5\n%s\nEOF\n" /* bash as a login shell reads no .bashrc then */
        "mkdir -p /run/sshd; rm -f pid; $(command -v sshd || echo /usr/sbin/sshd) -f \"$0/sshd_config\" -E log",
        s->port, s->dir, s->dir, s->dir, more != NULL ? more : "");
    in_server(s, text);
    for (int i = 0; i < 200 && !server_listens(s); i++)
        (void)poll(NULL, 0, 10);
    in_server(s, "while ! [ -s pid ]; do sleep 0.01; done");
}

/* Ends every connection, as a crash would; what runs there goes on. */
__attribute__((unused)) static void server_cut(const server *s)
{
    in_server(s, "read -r d <pid; for f in /proc/[0-9]*/stat; do\n"
                 "read -r p c s up rest 2>/dev/null <$f && [ \"$up\" = \"$d\" ] && kill -KILL $p; done 2>/dev/null; :");
    (void)poll(NULL, 0, 100); /* for the news to arrive: what is sent before that is lost, as on any network */
}

__attribute__((unused)) static void server_halt(const server *s)
{
    in_server(s, "read -r d <pid; kill $d");
    for (int i = 0; i < 200 && server_listens(s); i++)
        (void)poll(NULL, 0, 10);
}

/* Makes its directory and keys, and runs it. */
__attribute__((unused)) static void server_start(server *s, const char *more)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    char text[512];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *s = (server){.dir = "/tmp/host_testXXXXXX"};
    assert_non_null(mkdtemp(s->dir));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof a), 0); /* a port that is free */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    (void)close(fd);
    s->port = ntohs(a.sin_port);
    (void)snprintf(text, sizeof text,
                   "for k in hostkey key other; do ssh-keygen -q -t ed25519 -N '' -f $k; done\n"
                   "echo \"[127.0.0.1]:%d $(cat hostkey.pub)\" >known_hosts\n"
                   "cat >config <<EOF\nHost far\nHostName 127.0.0.1\nPort %d\nUser root\nIdentityFile $0/key\n"
                   "IdentityAgent none\nUserKnownHostsFile $0/known_hosts\nGlobalKnownHostsFile /dev/null\nEOF",
                   s->port, s->port);
    in_server(s, text);
    server_run(s, more);
}

__attribute__((unused)) static void server_stop(const server *s)
{
    server_cut(s);
    server_halt(s);
    in_server(s, "cd / && rm -rf \"$0\"");
}

/* ---- what runs on the far side, which is this machine -------------------------------------------------- */

/* Reads a file of a process, of which zero bytes become spaces. False: it is no process, or no more. */
static bool read_process(const char *pid, const char *file, char text[512])
{
    char path[300];
    FILE *f;
    size_t n;
    (void)snprintf(path, sizeof path, "/proc/%s/%s", pid, file);
    f = strspn(pid, "0123456789") == strlen(pid) || strcmp(pid, "self") == 0 ? fopen(path, "r") : NULL;
    if (f == NULL)
        return false;
    n = fread(text, 1, 511, f);
    (void)fclose(f);
    text[n] = '\0';
    for (size_t i = 0; i + 1 < n; i++)
        text[i] = (char)(text[i] == '\0' ? ' ' : text[i]);
    return n > 0;
}

/* When it started, in ticks since the machine did: proc_pid_stat(5), field 22. */
static unsigned long long started_at(const char *pid)
{
    char text[512], *field;
    if (!read_process(pid, "stat", text) || (field = strrchr(text, ')')) == NULL)
        return 0;
    for (int i = 2; i < 22 && field != NULL; i++)
        field = strchr(field + 1, ' ');
    return field != NULL ? strtoull(field, NULL, 10) : 0;
}

/* Whether a process with these arguments is there, as ps shows them, that is not from before this test program. */
__attribute__((unused)) static bool there(const char *arguments)
{
    char text[512];
    bool found = false;
    DIR *all = opendir("/proc");
    struct dirent *entry;
    assert_non_null(all);
    while (!found && (entry = readdir(all)) != NULL)
        found = read_process(entry->d_name, "cmdline", text) && strcmp(text, arguments) == 0 &&
                started_at(entry->d_name) >= started_at("self");
    (void)closedir(all);
    return found;
}

/* Waits up to five seconds until it is, or is no more. */
static bool becomes(const char *arguments, bool present)
{
    for (int i = 0; i < 500 && there(arguments) != present; i++)
        (void)poll(NULL, 0, 10);
    return there(arguments) == present;
}

__attribute__((unused)) static bool gone(const char *arguments)
{
    return becomes(arguments, false);
}

__attribute__((unused)) static void appear(const char *arguments)
{
    assert_true(becomes(arguments, true));
}

#endif
