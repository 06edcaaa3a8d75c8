/*
 * local.c - programs of this machine: posix_spawn, three pipes, and a descriptor that tells of the end.
 *
 * The status is looked at without reaping: as long as the zombie is there, its process group can be signalled without
 * hitting a stranger who got the same number. destroy reaps.
 */
#include "local.h"
#include "linux.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define STREAM_PIPE ((size_t)1024 * 1024)
#define GRACE 0.5     /* seconds of silence after the end, if somebody else still holds its output open */
#define POLL_MS 20    /* how often to ask for the end where no descriptor tells */
#define REAP_WAIT 3.0 /* seconds for a killed program to go; one stuck in the kernel is left to init */

extern char **environ;

typedef struct local {
    proc base;
    pid_t pid;
    int pidfd;
    int fds[3]; /* our ends of its standard streams, -1 once closed */
    bool ended, killed;
    bool lost; /* somebody else reaped it: its number may be a stranger's by now */
    proc_end end;
    double heard; /* when it ended, or when something was last read after that */
} local;

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* ---- what the child gets ------------------------------------------------------------------------------- */

static bool path_has(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    for (const char *p = path; *p != '\0'; p += strcspn(p, ":"), p += *p == ':')
        if (strncmp(p, dir, n) == 0 && (p[n] == '\0' || p[n] == ':'))
            return true;
    return false;
}

/* Appends "PATH=…" with the sbin directories, which cron and many sshds leave out, behind what is there. */
static int extended_path(buf *b)
{
    static const char *const more[] = {"/usr/local/sbin", "/usr/sbin", "/sbin"};
    const char *path = getenv("PATH");
    int rc;

    path = path != NULL && *path != '\0' ? path : "/usr/local/bin:/usr/bin:/bin";
    rc = buf_fmt(b, "PATH=%s", path);
    for (size_t i = 0; i < sizeof more / sizeof more[0] && rc == MP_OK; i++)
        if (!path_has(path, more[i]))
            rc = buf_fmt(b, ":%s", more[i]);
    return rc;
}

/* Our environment with that PATH and LC_ALL=C; the strings are not copied. free(); NULL without memory. */
static char **child_environment(char *path)
{
    static char locale[] = "LC_ALL=C";
    size_t n = 0;
    char **env;

    while (environ != NULL && environ[n] != NULL)
        n++;
    env = malloc((n + 3) * sizeof *env);
    if (env == NULL)
        return NULL;
    n = 0;
    for (char **e = environ; e != NULL && *e != NULL; e++)
        if (strncmp(*e, "PATH=", 5) != 0 && strncmp(*e, "LC_ALL=", 7) != 0)
            env[n++] = *e;
    env[n++] = path;
    env[n++] = locale;
    env[n] = NULL;
    return env;
}

static bool executable(const char *file)
{
    struct stat st;
    return stat(file, &st) == 0 && S_ISREG(st.st_mode) && faccessat(AT_FDCWD, file, X_OK, AT_EACCESS) == 0;
}

/* Finds a program in `path` (without "PATH="). Relative directories are passed over: the current one is nobody's
 * choice. */
static int look_up(buf *found, const char *program, const char *path, fault *f)
{
    if (strchr(program, '/') != NULL)
        return buf_str(found, program);
    while (*path != '\0') {
        size_t n = strcspn(path, ":");
        found->len = 0;
        if (path[0] == '/') {
            if (buf_fmt(found, "%.*s/%s", (int)n, path, program) != MP_OK)
                return fault_set(f, MP_SYSTEM, "out of memory");
            if (executable(found->data))
                return MP_OK;
        }
        path += n;
        path += *path == ':';
    }
    return fault_set(f, MP_SPAWN, "%s: not found in PATH", program);
}

/* ---- starting ------------------------------------------------------------------------------------------ */

/*
 * Default signals and nothing blocked, whatever our threads do with theirs; a process group of its own, and a session
 * where that can be had: who asks the terminal for a password would stop without a word there, and now is refused.
 */
static int attributes(posix_spawnattr_t *a)
{
    sigset_t none, all;
    int rc;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)sigdelset(&all, SIGKILL); /* some systems refuse the whole set for these two */
    (void)sigdelset(&all, SIGSTOP);
    rc = posix_spawnattr_init(a);
    if (rc != 0)
        return rc;
    (void)posix_spawnattr_setsigmask(a, &none);
    (void)posix_spawnattr_setsigdefault(a, &all);
    (void)posix_spawnattr_setpgroup(a, 0);
    (void)posix_spawnattr_setflags(a, (short)(os_spawn_group() | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
    return 0;
}

/* Returns 0 or an errno value. theirs[i] becomes the child's descriptor i. */
static int spawn(pid_t *pid, const char *file, const char *const argv[], char **env, const int theirs[3])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc != 0)
        return rc;
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = posix_spawn_file_actions_adddup2(&actions, theirs[i], i);
    os_spawn_close_rest(&actions);
    if (rc == 0)
        rc = attributes(&attr);
    if (rc == 0) {
        union {
            const char *const *in;
            char *const *out;
        } args = {argv}; /* the prototype lacks a const: nobody writes there */
        rc = posix_spawn(pid, file, &actions, &attr, args.out, env);
        (void)posix_spawnattr_destroy(&attr);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static int open_pipes(int ours[3], int theirs[3], bool stream, fault *f)
{
    for (int i = 0; i < 3; i++) {
        int fds[2];
        if (fd_pipe(fds) != 0)
            return fault_errno(f, "can't make a pipe");
        if (stream && i != PROC_ERR)
            os_pipe_grow(fds[0], STREAM_PIPE);
        ours[i] = fds[i == PROC_IN];
        theirs[i] = fds[i != PROC_IN];
        if (fd_nonblock(ours[i]) != 0)
            return fault_errno(f, "can't make a pipe");
    }
    return MP_OK;
}

static const proc_ops local_ops;

static int start(proc **out, const char *const argv[], bool stream, fault *f)
{
    int theirs[3] = {-1, -1, -1}, rc, error;
    buf path = {0}, file = {0};
    char **env = NULL;
    local *l = calloc(1, sizeof *l);

    assert(argv[0] != NULL);
    if (l == NULL)
        return fault_set(f, MP_SYSTEM, "out of memory");
    *l = (local){.base = {&local_ops}, .pidfd = -1, .fds = {-1, -1, -1}};
    rc = extended_path(&path);
    if (rc != MP_OK || (env = child_environment(path.data)) == NULL) {
        rc = fault_set(f, MP_SYSTEM, "out of memory");
        goto out;
    }
    rc = look_up(&file, argv[0], path.data + 5, f);
    if (rc == MP_OK)
        rc = open_pipes(l->fds, theirs, stream, f);
    if (rc != MP_OK)
        goto out;
    error = spawn(&l->pid, file.data, argv, env, theirs);
    if (error != 0) {
        errno = error;
        (void)fault_errno(f, "%s", argv[0]);
        rc = MP_SPAWN;
        if (f != NULL)
            f->code = rc;
        goto out;
    }
    l->pidfd = os_pidfd(l->pid);
    *out = &l->base;
out:
    for (int i = 0; i < 3; i++) {
        close_fd(&theirs[i]);
        if (rc != MP_OK)
            close_fd(&l->fds[i]);
    }
    if (rc != MP_OK)
        free(l);
    free(env);
    buf_free(&path);
    buf_free(&file);
    return rc;
}

int local_start(proc **out, const char *const argv[], fault *f)
{
    return start(out, argv, false, f);
}

int local_start_stream(proc **out, const char *const argv[], fault *f)
{
    return start(out, argv, true, f);
}

/* ---- at work ------------------------------------------------------------------------------------------- */

static const char *signal_name(int number)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
        {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},   {SIGABRT, "SIGABRT"},
        {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"}, {SIGSEGV, "SIGSEGV"}, {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"},
        {SIGTERM, "SIGTERM"}, {SIGBUS, "SIGBUS"},   {SIGSYS, "SIGSYS"},   {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == number)
            return names[i].name;
    return NULL;
}

static void note_end(local *l, const siginfo_t *si)
{
    fault f = {0};

    l->end = (proc_end){.code = MP_OK, .status = -1};
    if (si->si_code == CLD_EXITED) {
        l->end.status = si->si_status;
        l->end.code = si->si_status == 0 ? MP_OK : MP_EXIT;
        return;
    }
    l->end.code = MP_SIGNAL;
    l->end.signal = si->si_status;
    if (signal_name(si->si_status) != NULL)
        (void)fault_set(&f, MP_SIGNAL, "ended by %s", signal_name(si->si_status));
    else
        (void)fault_set(&f, MP_SIGNAL, "ended by signal %d", si->si_status);
    (void)memcpy(l->end.message, f.text, sizeof f.text);
}

/* Looks whether it has ended; does not wait. */
static void check_end(local *l)
{
    siginfo_t si = {0};
    int rc;

    if (l->ended)
        return;
    do
        rc = waitid(P_PID, (id_t)l->pid, &si, WEXITED | WNOHANG | WNOWAIT);
    while (rc != 0 && errno == EINTR);
    if (rc == 0 && si.si_pid == 0)
        return;
    l->ended = true;
    l->heard = clock_monotonic();
    if (rc == 0) {
        note_end(l, &si);
    } else {
        static const char lost[] = "its exit status was taken by another part of this process";
        l->lost = true;
        l->end = (proc_end){.code = MP_SYSTEM, .status = -1};
        (void)memcpy(l->end.message, lost, sizeof lost);
    }
}

static int local_prepare(proc *p, unsigned want, struct pollfd fds[PROC_MAX_FDS], int *timeout_ms)
{
    local *l = (local *)p;
    int n = 0;

    for (int i = 0; i < 3; i++)
        if ((want & (1U << i)) != 0 && l->fds[i] >= 0)
            fds[n++] = (struct pollfd){.fd = l->fds[i], .events = i == PROC_IN ? POLLOUT : POLLIN};
        else if ((want & (1U << i)) != 0)
            *timeout_ms = 0; /* its end has only to be read */
    if (l->ended) {
        if ((want & (1U << PROC_IN)) != 0)
            *timeout_ms = 0;
        if ((want & (1U << PROC_OUT | 1U << PROC_ERR)) != 0)
            poll_sooner(timeout_ms, l->heard + GRACE - clock_monotonic());
    } else if (l->pidfd >= 0) {
        fds[n++] = (struct pollfd){.fd = l->pidfd, .events = POLLIN};
    } else {
        poll_sooner(timeout_ms, POLL_MS * 1e-3);
    }
    return n;
}

static void local_step(proc *p, const struct pollfd *fds, int n)
{
    local *l = (local *)p;
    bool told = l->pidfd < 0;

    for (int i = 0; i < n && !told; i++)
        told = fds[i].fd == l->pidfd && fds[i].revents != 0;
    if (told)
        check_end(l);
}

static ssize_t local_read(proc *p, int stream, void *bytes, size_t size)
{
    local *l = (local *)p;
    ssize_t n;

    if (l->fds[stream] < 0)
        return PROC_EOF;
    n = read(l->fds[stream], bytes, size);
    if (n > 0) {
        if (l->ended)
            l->heard = clock_monotonic();
        return n;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) &&
        !(l->ended && clock_monotonic() - l->heard >= GRACE))
        return PROC_AGAIN;
    close_fd(&l->fds[stream]);
    return PROC_EOF;
}

static ssize_t local_write(proc *p, const void *bytes, size_t size)
{
    local *l = (local *)p;
    ssize_t n;

    if (l->fds[PROC_IN] < 0)
        return PROC_EOF;
    n = l->ended ? -1 : write(l->fds[PROC_IN], bytes, size);
    if (n >= 0)
        return n;
    if (!l->ended && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return PROC_AGAIN;
    close_fd(&l->fds[PROC_IN]);
    return PROC_EOF;
}

static void local_close_in(proc *p)
{
    close_fd(&((local *)p)->fds[PROC_IN]);
}

static void local_close_out(proc *p)
{
    close_fd(&((local *)p)->fds[PROC_OUT]);
}

static bool local_ended(proc *p, proc_end *end)
{
    local *l = (local *)p;
    if (l->ended)
        *end = l->end;
    return l->ended;
}

static void local_kill(proc *p, int number)
{
    local *l = (local *)p;

    l->killed = true;
    if (l->lost)
        return;
    if (kill(-l->pid, number) != 0)
        (void)kill(l->pid, number); /* it left the group that it was started in */
}

static int local_fd(proc *p, int stream)
{
    return ((local *)p)->fds[stream];
}

static void local_destroy(proc *p)
{
    local *l = (local *)p;
    double until = clock_monotonic() + REAP_WAIT;

    check_end(l);
    if (!l->ended || l->killed)
        local_kill(p, SIGKILL); /* after a kill, also those it left behind */
    for (check_end(l); !l->ended && clock_monotonic() < until; check_end(l)) {
        struct pollfd fd = {.fd = l->pidfd, .events = POLLIN};
        (void)poll(&fd, 1, l->pidfd >= 0 ? poll_ms(REAP_WAIT) : 1);
    }
    (void)waitpid(l->pid, NULL, WNOHANG);
    close_fd(&l->pidfd);
    for (int i = 0; i < 3; i++)
        close_fd(&l->fds[i]);
    free(l);
}

static const proc_ops local_ops = {
    .prepare = local_prepare,
    .step = local_step,
    .read = local_read,
    .write = local_write,
    .close_in = local_close_in,
    .close_out = local_close_out,
    .ended = local_ended,
    .kill = local_kill,
    .fd = local_fd,
    .destroy = local_destroy,
};
