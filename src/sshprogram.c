/*
 * sshprogram.c - a far program behind a local ssh. Exit status 255 is ssh's own; what it meant is told only by what it
 * printed, so the last of its error stream is kept as it passes.
 */
#include "sshprogram.h"
#include "local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP ((size_t)4096) /* bytes of its last words; a changed host key makes a page of them */
#define MAX_WORDS 64

typedef struct sshprogram {
    proc base;
    proc *p;
    buf said; /* the last of its error stream */
    buf rest; /* what was read ahead of it, to know why it ended */
    bool ended;
    proc_end end;
} sshprogram;

/* ---- what ssh said ------------------------------------------------------------------------------------- */

/* A line of `text` with `part` in it, without what ends it; *n is its length. NULL: there is none. */
static const char *line_with(const char *text, const char *part, size_t *n)
{
    const char *s = strstr(text, part);

    if (s == NULL)
        return NULL;
    while (s > text && s[-1] != '\n' && s[-1] != '\r')
        s--;
    *n = strcspn(s, "\r\n");
    return s;
}

/* The last line with something in it. */
static const char *last_line(const char *text, size_t *n)
{
    size_t end = strlen(text), start;

    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r'))
        end--;
    for (start = end; start > 0 && text[start - 1] != '\n' && text[start - 1] != '\r';)
        start--;
    *n = end - start;
    return text + start;
}

/* Status 255: finds out why. `text` is what was said last. */
static void explain(proc_end *end, const char *text)
{
    static const struct {
        const char *part;
        int code;
    } signs[] = {
        {"Host key verification failed", MP_HOSTKEY},
        {"host key for", MP_HOSTKEY}, /* "… revoked host key" in some form */
        {"Permission denied (", MP_AUTH},
        {"Too many authentication failures", MP_AUTH},
        {"onfiguration option", MP_CONFIG},
        {"Could not resolve hostname", MP_CONNECT},
        {"connect to host", MP_CONNECT},
        {"kex_exchange_identification", MP_CONNECT},
        {"Unable to negotiate", MP_CONNECT},
        {"during banner exchange", MP_CONNECT},
    };
    static const char *const details[] = {"host key is known for", "Offending", "revoked"};
    size_t n, extra = 0;
    const char *last = last_line(text, &n), *detail = NULL;

    *end = (proc_end){.code = MP_DISCONNECT, .status = -1};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0] && end->code == MP_DISCONNECT; i++)
        if (strstr(text, signs[i].part) != NULL)
            end->code = signs[i].code;
    for (size_t i = 0; i < sizeof details / sizeof details[0] && end->code == MP_HOSTKEY && detail == NULL; i++)
        detail = line_with(text, details[i], &extra);
    if (end->code == MP_DISCONNECT) /* what it said is in the error stream, which is shown as well */
        (void)snprintf(end->message, sizeof end->message, "the connection was lost");
    else if (end->code == MP_HOSTKEY && detail == NULL)
        (void)snprintf(end->message, sizeof end->message,
                       "%.*s Its key is not known: run ssh once by hand, and compare it", (int)n, last);
    else if (detail != NULL && detail != last)
        (void)snprintf(end->message, sizeof end->message, "%.*s %.*s", (int)n, last, (int)extra, detail);
    else
        (void)snprintf(end->message, sizeof end->message, "%.*s", (int)n, last);
}

/* ---- the proc ------------------------------------------------------------------------------------------ */

static ssize_t read_err(sshprogram *s, void *bytes, size_t size)
{
    ssize_t n = s->p->ops->read(s->p, PROC_ERR, bytes, size);

    if (n > 0 && buf_add(&s->said, bytes, (size_t)n) == MP_OK && s->said.len > KEEP)
        buf_drop(&s->said, s->said.len - KEEP);
    return n;
}

static bool check_end(sshprogram *s)
{
    char chunk[KEEP];
    ssize_t n;

    if (s->ended || !s->p->ops->ended(s->p, &s->end))
        return s->ended;
    s->ended = true;
    if (s->end.code == MP_EXIT && s->end.status == 255) {
        while ((n = read_err(s, chunk, sizeof chunk)) > 0)
            (void)buf_add(&s->rest, chunk, (size_t)n);
        explain(&s->end, s->said.len > 0 ? s->said.data : "");
    }
    s->end.signal = 0; /* it was ssh that got it */
    return true;
}

static int ssh_prepare(proc *p, unsigned want, struct pollfd fds[PROC_MAX_FDS], int *timeout_ms)
{
    sshprogram *s = (sshprogram *)p;

    if ((want & (1U << PROC_ERR)) != 0 && s->rest.len > 0)
        *timeout_ms = 0;
    return s->p->ops->prepare(s->p, want, fds, timeout_ms);
}

static void ssh_step(proc *p, const struct pollfd *fds, int n)
{
    sshprogram *s = (sshprogram *)p;
    s->p->ops->step(s->p, fds, n);
}

static ssize_t ssh_read(proc *p, int stream, void *bytes, size_t size)
{
    sshprogram *s = (sshprogram *)p;
    size_t n = s->rest.len < size ? s->rest.len : size;

    if (stream != PROC_ERR)
        return s->p->ops->read(s->p, stream, bytes, size);
    if (n == 0)
        return read_err(s, bytes, size);
    memcpy(bytes, s->rest.data, n);
    buf_drop(&s->rest, n);
    return (ssize_t)n;
}

static ssize_t ssh_write(proc *p, const void *bytes, size_t n)
{
    sshprogram *s = (sshprogram *)p;
    return s->p->ops->write(s->p, bytes, n);
}

static void ssh_close_in(proc *p)
{
    sshprogram *s = (sshprogram *)p;
    s->p->ops->close_in(s->p);
}

static void ssh_close_out(proc *p)
{
    sshprogram *s = (sshprogram *)p;
    s->p->ops->close_out(s->p);
}

static bool ssh_ended(proc *p, proc_end *end)
{
    sshprogram *s = (sshprogram *)p;

    if (check_end(s))
        *end = s->end;
    return s->ended;
}

static void ssh_kill(proc *p, int number)
{
    sshprogram *s = (sshprogram *)p;
    s->p->ops->kill(s->p, number);
}

static int ssh_fd(proc *p, int stream)
{
    sshprogram *s = (sshprogram *)p;
    return stream == PROC_ERR ? -1 : s->p->ops->fd(s->p, stream);
}

static void ssh_destroy(proc *p)
{
    sshprogram *s = (sshprogram *)p;

    s->p->ops->destroy(s->p);
    buf_free(&s->said);
    buf_free(&s->rest);
    free(s);
}

static const proc_ops ssh_ops = {
    .prepare = ssh_prepare,
    .step = ssh_step,
    .read = ssh_read,
    .write = ssh_write,
    .close_in = ssh_close_in,
    .close_out = ssh_close_out,
    .ended = ssh_ended,
    .kill = ssh_kill,
    .fd = ssh_fd,
    .destroy = ssh_destroy,
};

/* ---- starting ------------------------------------------------------------------------------------------ */

/* Splits the program at spaces into words, in place; returns how many, 0 if there are none or too many. */
static size_t split(char *text, const char *words[], size_t most)
{
    char *rest = NULL;
    size_t n = 0;

    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        if (n == most)
            return 0;
        words[n++] = word;
    }
    return n;
}

int sshprogram_start(proc **out, const char *destination, const char *command, const mp_host_options *options, fault *f)
{
    char *program = strdup(options->ssh_program), timeout[40], interval[40];
    double dead = options->dead_after > 0 ? options->dead_after : 45;
    const char *argv[MAX_WORDS];
    sshprogram *s = calloc(1, sizeof *s);
    size_t n = program != NULL ? split(program, argv, MAX_WORDS - 16) : 0;
    int rc;

    if (program == NULL || s == NULL) {
        rc = fault_set(f, MP_SYSTEM, "out of memory");
        goto out;
    }
    if (n == 0) {
        rc = fault_set(f, MP_INVALID, "no ssh program has the name '%s'", options->ssh_program);
        goto out;
    }
    (void)snprintf(timeout, sizeof timeout, "ConnectTimeout=%d",
                   options->connect_timeout > 1   ? (int)options->connect_timeout
                   : options->connect_timeout > 0 ? 1
                                                  : 10);
    (void)snprintf(interval, sizeof interval, "ServerAliveInterval=%d", dead > 3 ? (int)(dead / 3) : 1);
    for (size_t i = 0; i < 4; i++) {
        const char *const values[] = {"BatchMode=yes", interval, "ServerAliveCountMax=3", timeout};
        argv[n++] = "-o";
        argv[n++] = values[i];
    }
    argv[n++] = "-T";
    if (options->ssh_config != NULL) {
        argv[n++] = "-F";
        argv[n++] = options->ssh_config;
    }
    argv[n++] = "--";
    argv[n++] = destination;
    argv[n++] = command;
    argv[n] = NULL;
    s->base.ops = &ssh_ops;
    rc = local_start_stream(&s->p, argv, f);
    if (rc == MP_OK)
        *out = &s->base;
out:
    if (rc != MP_OK)
        free(s);
    free(program);
    return rc;
}
