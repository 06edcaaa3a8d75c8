/*
 * sshfar.c - a program on the far side: known by its process id, which sshd makes its process group, so that it can be
 * ended with its children over another connection when its own one is full, stuck or ignored by it.
 */
#include "sshfar.h"
#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK_WAIT 60.0  /* seconds for a far sh to tell its process id */
#define KILL_BUDGET 5.0 /* seconds that all signals to one program may take */
#define CHUNK ((size_t)16 * 1024)

typedef struct far_proc {
    proc base;
    proc *p;
    far_hooks hooks;
    long pid; /* of a stream */
    buf err;  /* what was read of its standard error and not given on */
    bool err_eof, passed;
    bool stream, ended;
    proc_end end;
    double budget;
    int killed;
    char program[];
} far_proc;

void far_nonce(char nonce[NONCE_SIZE])
{
    unsigned char bytes[16] = {0};
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;

    if (fd >= 0)
        (void)close(fd);
    if (n != (ssize_t)sizeof bytes) { /* not secret then, but still not found in anybody's output by accident */
        double now[2] = {clock_wall(), clock_monotonic()};
        long pid = (long)getpid();
        memcpy(bytes, now, sizeof now);
        for (size_t i = 0; i < sizeof pid; i++)
            bytes[i] ^= (unsigned char)(pid >> (8 * i));
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(nonce + 2 * i, 3, "%02x", bytes[i]);
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

void far_status(proc_end *end, int status)
{
    /* Only those that have the same number everywhere. */
    static const char *const names[32] = {
        [1] = "HUP", [2] = "INT",  [3] = "QUIT",  [4] = "ILL",   [5] = "TRAP",  [6] = "ABRT",
        [8] = "FPE", [9] = "KILL", [11] = "SEGV", [13] = "PIPE", [14] = "ALRM", [15] = "TERM"};
    int number = status > 256 ? status - 256 : status - 128; /* ksh93 adds 256 */

    *end = (proc_end){.code = status == 0 ? MP_OK : MP_EXIT, .status = status};
    if (number < 1 || number > 31)
        return;
    end->code = MP_SIGNAL;
    end->status = -1;
    if (names[number] != NULL)
        (void)snprintf(end->message, sizeof end->message, "ended by SIG%s", names[number]);
    else
        (void)snprintf(end->message, sizeof end->message, "ended by signal %d", number);
}

int far_lost(fault *f, const proc_end *end, const char *said)
{
    const char *why = end->message[0] != '\0' ? end->message : mp_code_name(end->code);
    size_t n = strlen(said), start;

    while (n > 0 && strchr("\r\n", said[n - 1]) != NULL)
        n--;
    for (start = n; start > 0 && strchr("\r\n", said[start - 1]) == NULL;)
        start--;
    if (n == start || strstr(why, said) != NULL || (end->code != MP_DISCONNECT && end->code != MP_EXIT))
        return fault_set(f, end->code, "%s", why);
    return fault_set(f, end->code, "%s: %.*s", why, (int)(n - start), said + start);
}

bool far_spawn_failed(proc_end *end, const char *program, const char *said, size_t n)
{
    size_t len = strlen(program);

    if (end->status < 126 || end->status > 127)
        return false;
    while (n > 0 && strchr("\r\n", said[n - 1]) != NULL)
        n--;
    for (const char *s = said; s + len + 2 < said + n; s++) {
        const char *why = s + len + 2;
        size_t left = (size_t)(said + n - why);
        if (memcmp(s, program, len) != 0 || memcmp(s + len, ": ", 2) != 0 || (s > said && s[-1] != ' '))
            continue;
        /* A program that could be started may end like this too, but it does not speak of itself in the third person.
         */
        if (end->status == 127 ? memchr(why, ':', left) != NULL || memchr(why, '\n', left) != NULL : s == said)
            continue;
        *end = (proc_end){.code = MP_SPAWN, .status = end->status};
        if (end->status == 127)
            (void)snprintf(end->message, sizeof end->message, "%s: not found on the far side", program);
        else
            (void)snprintf(end->message, sizeof end->message, "%s can't be executed on the far side: %.*s", program,
                           (int)strcspn(why, "\r\n"), why);
        return true;
    }
    return false;
}

/* ---- driving without a pump ---------------------------------------------------------------------------- */

int proc_turn(proc *p, unsigned want, double until, const wake *cancel, fault *f)
{
    struct pollfd fds[1 + PROC_MAX_FDS] = {{.fd = cancel != NULL ? cancel->fds[0] : -1, .events = POLLIN}};
    double left = until - clock_monotonic();
    int timeout = poll_ms(left);
    int n = p->ops->prepare(p, want, fds + 1, &timeout);

    if (poll(fds, (nfds_t)n + 1, timeout) < 0) {
        if (errno != EINTR)
            return fault_errno(f, "poll");
        for (int i = 0; i <= n; i++)
            fds[i].revents = 0;
    }
    p->ops->step(p, fds + 1, n);
    if (fds[0].revents != 0)
        return fault_set(f, MP_CANCELLED, "cancelled");
    return left <= 0 ? fault_set(f, MP_TIMEOUT, "no answer in time") : MP_OK;
}

int proc_finish(proc *p, double until, const wake *cancel, fault *f)
{
    bool eof[3] = {false};
    proc_end end;
    int rc = MP_OK;

    p->ops->close_in(p);
    while (rc == MP_OK) {
        unsigned want = 0;
        for (int i = PROC_OUT; i <= PROC_ERR; i++) {
            char chunk[CHUNK];
            ssize_t n = eof[i] ? PROC_EOF : p->ops->read(p, i, chunk, sizeof chunk);
            eof[i] = n < 0;
            want |= n < 0 ? 0 : 1U << i;
        }
        if (p->ops->ended(p, &end))
            return end.code == MP_OK ? MP_OK : fault_set(f, end.code, "%s", end.message);
        rc = proc_turn(p, want, until, cancel, f);
    }
    return rc;
}

/* ---- a stream ------------------------------------------------------------------------------------------ */

int far_script(buf *b, const char *const argv[], const char *nonce)
{
    int rc =
        buf_fmt(b,
                "PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin; LC_ALL=C; MOONPOOL_ID=%s; "
                "export PATH LC_ALL MOONPOOL_ID; echo %s pid $$ >&2; exec ",
                nonce, nonce);
    return rc == MP_OK ? argv_quote(b, argv) : rc;
}

/* Takes the mark with the process id, and all before it, from what was said. False: it is not complete. */
static bool take_mark(far_proc *p, const char *nonce)
{
    char *s = p->err.len > 0 ? p->err.data : NULL; /* no mark stands behind a NUL: that is no login shell */

    while (s != NULL && (s = strstr(s, nonce)) != NULL) { /* a shell that traces its commands says it before that */
        char *end = strchr(s, '\n');
        s += NONCE_SIZE - 1;
        if (end != NULL && sscanf(s, " pid %ld\n", &p->pid) == 1) {
            buf_drop(&p->err, (size_t)(end + 1 - p->err.data));
            return true;
        }
    }
    return false;
}

/* Reads more of its standard error, as far as there is any. */
static void fill(far_proc *p)
{
    char chunk[CHUNK];
    ssize_t n = PROC_AGAIN;

    while (!p->err_eof && p->err.len < CHUNK && (n = p->p->ops->read(p->p, PROC_ERR, chunk, sizeof chunk)) > 0)
        if (buf_add(&p->err, chunk, (size_t)n) != MP_OK)
            n = PROC_EOF;
    p->err_eof = p->err_eof || n < 0;
}

/* Waits for the mark. A program that ended without one is the caller's to see, a connection that ended is not. */
static int await_mark(far_proc *p, const char *nonce, const wake *cancel, fault *f)
{
    double until = clock_monotonic() + MARK_WAIT;
    int rc = MP_OK;

    for (;;) {
        fill(p);
        if (take_mark(p, nonce))
            return MP_OK;
        if (p->p->ops->ended(p->p, &p->end) && p->err_eof)
            break;
        rc = proc_turn(p->p, p->err_eof ? 0 : 1U << PROC_ERR, until, cancel, f);
        if (rc != MP_OK)
            return rc;
    }
    if (p->end.code == MP_OK || p->end.code == MP_EXIT || p->end.code == MP_SIGNAL)
        return MP_OK;
    return far_lost(f, &p->end, p->err.len > 0 ? p->err.data : "");
}

/* ---- a proc like any other ----------------------------------------------------------------------------- */

/* Looks whether it has ended, and whether it was ever started. */
static bool check_end(far_proc *p)
{
    if (p->ended || !p->p->ops->ended(p->p, &p->end))
        return p->ended;
    p->ended = true;
    if (p->stream && !p->passed)
        fill(p);
    if (p->stream && !p->passed && p->err.len > 0 && p->err.len <= FAR_HOLD &&
        (p->end.code == MP_HOSTKEY || p->end.code == MP_AUTH || p->end.code == MP_CONNECT || p->end.code == MP_CONFIG ||
         far_spawn_failed(&p->end, p->program, p->err.data, p->err.len)))
        p->err.len = 0; /* the message says it */
    p->passed = true;
    return true;
}

static int far_prepare(proc *base, unsigned want, struct pollfd fds[PROC_MAX_FDS], int *timeout_ms)
{
    far_proc *p = (far_proc *)base;
    unsigned err = want & (1U << PROC_ERR);

    if (p->stream && err != 0) {
        if (p->passed && (p->err.len > 0 || p->err_eof))
            *timeout_ms = 0;
        if (p->err_eof)
            want &= ~err;
    }
    return p->p->ops->prepare(p->p, want, fds, timeout_ms);
}

static void far_step(proc *base, const struct pollfd *fds, int n)
{
    far_proc *p = (far_proc *)base;
    p->p->ops->step(p->p, fds, n);
}

static ssize_t far_read(proc *base, int stream, void *bytes, size_t size)
{
    far_proc *p = (far_proc *)base;
    size_t n;

    if (stream != PROC_ERR || !p->stream)
        return p->p->ops->read(p->p, stream, bytes, size);
    fill(p);
    p->passed = p->passed || p->killed != 0 || p->err.len > FAR_HOLD;
    if (!p->passed && !check_end(p))
        return PROC_AGAIN;
    n = p->err.len < size ? p->err.len : size;
    if (n == 0)
        return p->err_eof ? PROC_EOF : PROC_AGAIN;
    memcpy(bytes, p->err.data, n);
    buf_drop(&p->err, n);
    return (ssize_t)n;
}

static ssize_t far_write(proc *base, const void *bytes, size_t n)
{
    far_proc *p = (far_proc *)base;
    return p->p->ops->write(p->p, bytes, n);
}

static void far_close_in(proc *base)
{
    far_proc *p = (far_proc *)base;
    p->p->ops->close_in(p->p);
}

static void far_close_out(proc *base)
{
    far_proc *p = (far_proc *)base;
    p->p->ops->close_out(p->p);
}

static bool far_ended(proc *base, proc_end *end)
{
    far_proc *p = (far_proc *)base;

    if (check_end(p))
        *end = p->end;
    return p->ended;
}

/* Over another connection. False: it can't be done, or not in what is left of the time. */
static bool kill_there(far_proc *p, int number)
{
    double start = clock_monotonic();
    long target = p->stream ? -p->pid : shell_group(p->p) != 0 ? -shell_group(p->p) : shell_command_pid(p->p);
    bool sent = target != 0 && p->budget > 0 && p->hooks.kill(p->hooks.arg, target, number, p->budget);

    p->budget -= clock_monotonic() - start;
    return sent;
}

static void far_kill(proc *base, int number)
{
    far_proc *p = (far_proc *)base;

    if (check_end(p))
        return;
    p->killed = number;
    /* Where it could be told, it ends by itself, and what it still says comes; SIGKILL is for those that don't. */
    if (!kill_there(p, number) || number == SIGKILL)
        p->p->ops->kill(p->p, number);
}

static int far_fd(proc *base, int stream)
{
    far_proc *p = (far_proc *)base;
    return stream == PROC_ERR && p->stream ? -1 : p->p->ops->fd(p->p, stream);
}

static void far_destroy(proc *base)
{
    far_proc *p = (far_proc *)base;
    bool lost = check_end(p) ? p->end.code == MP_DISCONNECT : !kill_there(p, SIGKILL);

    p->p->ops->destroy(p->p);
    p->hooks.gone(p->hooks.arg, lost ? p->pid : 0);
    buf_free(&p->err);
    free(p);
}

static const proc_ops far_ops = {
    .prepare = far_prepare,
    .step = far_step,
    .read = far_read,
    .write = far_write,
    .close_in = far_close_in,
    .close_out = far_close_out,
    .ended = far_ended,
    .kill = far_kill,
    .fd = far_fd,
    .destroy = far_destroy,
};

int far_wrap(proc **out, proc *base, const char *nonce, const char *program, const far_hooks *hooks, const wake *cancel,
             fault *f)
{
    size_t n = strlen(program) + 1;
    far_proc *p = calloc(1, sizeof *p + n);
    int rc;

    if (p == NULL)
        return fault_set(f, MP_SYSTEM, "out of memory");
    *p = (far_proc){
        .base = {&far_ops}, .p = base, .hooks = *hooks, .stream = shell_group(base) < 0, .budget = KILL_BUDGET};
    memcpy(p->program, program, n);
    rc = nonce != NULL ? await_mark(p, nonce, cancel, f) : MP_OK;
    if (rc != MP_OK) {
        buf_free(&p->err);
        free(p);
        return rc;
    }
    *out = &p->base;
    return MP_OK;
}
