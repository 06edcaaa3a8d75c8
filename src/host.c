/*
 * host.c - this machine, or one behind SSH: who may be asked for what, and how what runs far away is ended.
 *
 * Short commands run in a shell that stays open, streams on a connection of their own. Where no shell can be had (a
 * forced command, say), every command is given to the far side as its plain words.
 */
#include "host.h"
#include "local.h"
#include "sshpool.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct mp_host {
    atomic_int refs;
    char *name, *config, *program;
    mp_host_options options;
    sshpool *pool; /* NULL: this machine */
};

/* ---- opening and closing ------------------------------------------------------------------------------- */

/* "[user@]host": neither part may be empty, pass for an option of ssh, or have spaces or control characters. */
static bool is_destination(const char *s)
{
    const char *at = strrchr(s, '@');

    for (const char *c = s; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return false;
    return s[0] != '\0' && s[0] != '-' && s[0] != '@' && (at == NULL || (at[1] != '\0' && at[1] != '-'));
}

static char *copy_or_null(const char *s, bool *failed)
{
    char *copy = s != NULL ? strdup(s) : NULL;
    *failed = *failed || (s != NULL && copy == NULL);
    return copy;
}

static void host_free(mp_host *h)
{
    sshpool_free(h->pool);
    free(h->name);
    free(h->config);
    free(h->program);
    free(h);
}

int mp_host_open(mp_host **out, const char *destination, const mp_host_options *options)
{
    bool local = destination == NULL || strcmp(destination, "local") == 0, failed = false;
    mp_host *h;

    if (!local && !is_destination(destination))
        return MP_INVALID;
    h = calloc(1, sizeof *h);
    if (h == NULL)
        return MP_SYSTEM;
    atomic_init(&h->refs, 1);
    if (options != NULL)
        h->options = *options;
    h->name = copy_or_null(local ? "local" : destination, &failed);
    h->options.ssh_config = h->config = copy_or_null(h->options.ssh_config, &failed);
    h->options.ssh_program = h->program = copy_or_null(h->options.ssh_program, &failed);
    if (failed || (!local && sshpool_new(&h->pool, h->name, &h->options) != MP_OK)) {
        host_free(h);
        return MP_SYSTEM;
    }
    *out = h;
    return MP_OK;
}

mp_host *host_ref(mp_host *h)
{
    (void)atomic_fetch_add(&h->refs, 1);
    return h;
}

void mp_host_close(mp_host *h)
{
    if (h != NULL && atomic_fetch_sub(&h->refs, 1) == 1)
        host_free(h);
}

const char *mp_host_name(const mp_host *h)
{
    return h->name;
}

bool mp_host_is_dry(const mp_host *h)
{
    return h->options.dry;
}

/* ---- ending what runs far away ------------------------------------------------------------------------- */

/* What a running program has of its host. */
typedef struct work {
    mp_host *host;
    bool stream; /* it counts as one */
    sshlost self;
} work;

static bool kill_there(void *arg, long target, int number, double seconds)
{
    work *w = arg;
    buf script = {0};
    bool sent = buf_fmt(&script, "kill -s %s -- %ld", number == SIGKILL ? "KILL" : "TERM", target) == MP_OK &&
                sshpool_run(w->host->pool, script.data, seconds);
    buf_free(&script);
    return sent;
}

static void work_gone(void *arg, long pid)
{
    work *w = arg;
    mp_host *h = w->host;

    if (w->stream)
        sshpool_leave(h->pool);
    w->self.pid = pid;
    if (pid > 0)
        sshpool_lost(h->pool, &w->self);
    free(w->self.args);
    free(w);
    mp_host_close(h);
}

static work *work_new(mp_host *h, const char *const argv[], bool stream)
{
    work *w = calloc(1, sizeof *w);
    buf args = {0};
    int rc = MP_OK;

    if (w == NULL)
        return NULL;
    for (size_t i = 0; argv[i] != NULL && rc == MP_OK; i++)
        rc = buf_fmt(&args, "%s%s", i > 0 ? " " : "", argv[i]);
    w->self.args = buf_take(&args);
    if (rc != MP_OK || w->self.args == NULL) {
        free(w->self.args);
        free(w);
        return NULL;
    }
    far_nonce(w->self.nonce);
    w->host = host_ref(h);
    w->stream = stream;
    return w;
}

/* ---- starting ------------------------------------------------------------------------------------------ */

/* Gives a program a channel of its own. */
static int start_channel(proc **out, mp_host *h, const char *const argv[], work *w, bool plain, const wake *cancel,
                         double deadline, buf *warnings, fault *f)
{
    const far_hooks hooks = {.kill = kill_there, .gone = work_gone, .arg = w};
    buf script = {0}, command = {0};
    proc *p = NULL;
    int rc = plain ? argv_quote(&command, argv) : far_script(&script, argv, w->self.nonce);

    if (rc == MP_OK && !plain)
        rc = argv_login_shell(&command, script.data);
    rc = rc == MP_OK ? sshpool_channel(&p, h->pool, command.data, cancel, deadline, warnings, f)
                     : fault_set(f, MP_SYSTEM, "out of memory");
    if (rc == MP_OK) {
        rc = far_wrap(out, p, plain ? NULL : w->self.nonce, argv[0], &hooks, cancel, f);
        if (rc != MP_OK)
            p->ops->destroy(p);
    }
    buf_free(&script);
    buf_free(&command);
    return rc;
}

static int start_command(proc **out, mp_host *h, const char *const argv[], work *w, const wake *cancel, double deadline,
                         buf *warnings, fault *f)
{
    const far_hooks hooks = {.kill = kill_there, .gone = work_gone, .arg = w};
    shell *sh;
    proc *p;
    int rc = sshpool_take(&sh, h->pool, cancel, deadline, warnings, f);

    if (rc != MP_OK || sh == NULL)
        return rc == MP_OK ? start_channel(out, h, argv, w, true, cancel, deadline, warnings, f) : rc;
    rc = fault_if_late(f, deadline);
    if (rc == MP_OK)
        rc = shell_start(&p, sh, argv, sshpool_give, h->pool, f);
    if (rc != MP_OK) {
        sshpool_give(h->pool, sh, true);
        return rc;
    }
    rc = far_wrap(out, p, NULL, argv[0], &hooks, cancel, f);
    if (rc != MP_OK)
        p->ops->destroy(p);
    return rc;
}

int host_start(proc **out, mp_host *h, const char *const argv[], enum host_use use, const wake *cancel, double deadline,
               buf *warnings, fault *f)
{
    bool stream = use == HOST_STREAM, plain = false;
    work *w;
    int rc;

    assert(argv[0] != NULL);
    if (h->pool == NULL)
        return stream ? local_start_stream(out, argv, f) : local_start(out, argv, f);
    if (argv[0][0] == '-')
        return fault_set(f, MP_INVALID, "%s: no program has such a name", argv[0]);
    sshpool_settle(h->pool);
    rc = stream ? sshpool_admit(h->pool, cancel, f) : MP_OK;
    if (rc != MP_OK)
        return rc;
    w = work_new(h, argv, stream);
    if (w == NULL) {
        if (stream)
            sshpool_leave(h->pool);
        return fault_set(f, MP_SYSTEM, "out of memory");
    }
    if (!stream) {
        rc = start_command(out, h, argv, w, cancel, deadline, warnings, f);
    } else {
        rc = sshpool_plain(&plain, h->pool, cancel, warnings, f); /* without the command, which is run once */
        if (rc == MP_OK)
            rc = start_channel(out, h, argv, w, plain, cancel, deadline, warnings, f);
    }
    if (rc != MP_OK)
        work_gone(w, 0);
    return rc;
}
