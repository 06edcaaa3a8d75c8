/*
 * host.c - this machine, or one behind SSH with its connections.
 *
 * A host keeps what lies idle: shells, each on a connection of its own, and connections without one. Short commands go
 * to the shell that was used last, streams get a connection each, and nothing shares one, so MaxSessions 1 is enough.
 * What runs belongs to its proc and comes back through a callback. One mutex guards the idle ones and the counts; it is
 * never held while something connects, waits or ends.
 *
 * Where no shell can be had (a forced command, say), every command is given to the far side as its plain words.
 */
#include "host.h"
#include "local.h"
#include "remote.h"
#include "shell.h"
#include "sshfar.h"
#include "sshprogram.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SHELLS 4   /* short commands at one time; further ones wait */
#define MAX_SESSIONS 8 /* idle connections kept */
#define MAX_STREAMS 16 /* at one time */
#define MAX_LOST 16    /* streams whose end nobody saw */
#define STREAM_WAIT                                                                                                    \
    10. /* seconds that a further stream waits: without end, pipes that hold one each could wait for ever */
#define SHELL_WAIT 10. /* seconds for a shell to answer the first time */
#define IDLE_WAIT 5.   /* the same for one that was idle for longer than IDLE_LONG */
#define IDLE_LONG 15.
#define SETTLE_WAIT 10. /* seconds to end a lost stream */

static const char shell_command[] = "exec /bin/sh";

/* A stream that may still be running although its connection was lost. */
typedef struct lost {
    long pid;
    char nonce[NONCE_SIZE];
    char *args; /* as ps shows them */
} lost;

struct mp_host {
    atomic_int refs;
    bool local;
    char *name, *config, *program;
    mp_host_options options;
    pthread_mutex_t lock;
    pthread_cond_t freed; /* a shell or a stream ended */
    bool no_shell, has_shell;
    struct {
        shell *sh;
        double since;
    } shells[MAX_SHELLS];
    session *sessions[MAX_SESSIONS];
    size_t idle_shells, idle_sessions;
    size_t n_shells, n_streams; /* idle and busy ones */
    lost lost[MAX_LOST];
    size_t n_lost;
    buf said; /* lines that were told once */
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
    for (size_t i = 0; i < h->idle_shells; i++)
        shell_close(h->shells[i].sh); /* their connections become idle, and end below */
    for (size_t i = 0; i < h->idle_sessions; i++)
        session_close(h->sessions[i]);
    for (size_t i = 0; i < h->n_lost; i++)
        free(h->lost[i].args);
    (void)pthread_cond_destroy(&h->freed);
    (void)pthread_mutex_destroy(&h->lock);
    buf_free(&h->said);
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
    if (pthread_mutex_init(&h->lock, NULL) != 0) {
        free(h);
        return MP_SYSTEM;
    }
    if (pthread_cond_init(&h->freed, NULL) != 0) {
        (void)pthread_mutex_destroy(&h->lock);
        free(h);
        return MP_SYSTEM;
    }
    atomic_init(&h->refs, 1);
    h->local = local;
    if (options != NULL)
        h->options = *options;
    h->name = copy_or_null(local ? "local" : destination, &failed);
    h->options.ssh_config = h->config = copy_or_null(h->options.ssh_config, &failed);
    h->options.ssh_program = h->program = copy_or_null(h->options.ssh_program, &failed);
    h->no_shell = h->options.no_shell;
    if (failed) {
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

static void hold(mp_host *h)
{
    (void)pthread_mutex_lock(&h->lock);
}

static void let_go(mp_host *h)
{
    (void)pthread_mutex_unlock(&h->lock);
}

/* Waits, with the lock held, for something to be freed, but no longer than it may take to notice a cancel. */
static int wait_a_little(mp_host *h, const wake *cancel, fault *f)
{
    double until = clock_wall() + 0.05;
    struct timespec t = {.tv_sec = (time_t)until, .tv_nsec = (long)((until - (double)(time_t)until) * 1e9)};

    (void)pthread_cond_timedwait(&h->freed, &h->lock, &t);
    return cancel != NULL && wake_is_set(cancel) ? fault_set(f, MP_CANCELLED, "cancelled") : MP_OK;
}

/* ---- connections --------------------------------------------------------------------------------------- */

/* Passes on the lines that this host has not told yet. */
static void tell(mp_host *h, char *lines, buf *warnings)
{
    char *rest = NULL;

    if (warnings == NULL || lines == NULL)
        return;
    hold(h);
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        if (h->said.len > 0 && strstr(h->said.data, line) != NULL)
            continue;
        (void)buf_fmt(&h->said, "%s\n", line);
        (void)buf_fmt(warnings, "%s\n", line);
    }
    let_go(h);
}

/* A channel has ended: its connection is idle again. */
static void session_back(void *arg, session *s, bool good)
{
    mp_host *h = arg;

    hold(h);
    good = good && h->idle_sessions < MAX_SESSIONS;
    if (good)
        h->sessions[h->idle_sessions++] = s;
    let_go(h);
    if (!good)
        session_close(s);
}

static session *idle_session(mp_host *h)
{
    session *s;

    hold(h);
    s = h->idle_sessions > 0 ? h->sessions[--h->idle_sessions] : NULL;
    let_go(h);
    return s;
}

/*
 * Gives `command` to the far side's login shell, over an idle connection or a new one. Another connection is tried only
 * if the command can't have reached the far side, or does nothing by itself.
 */
static int open_channel(proc **out, mp_host *h, const char *command, const mp_host_options *options, const wake *cancel,
                        buf *warnings, fault *f)
{
    buf found = {0};
    session *s;
    int rc;

    if (options->ssh_program != NULL)
        return sshprogram_start(out, h->name, command, options, f);
    while ((s = idle_session(h)) != NULL) {
        rc = session_is_good(s) ? remote_start(out, s, command, cancel, session_back, h, f) : MP_CONNECT;
        if (rc == MP_OK)
            return rc;
        session_close(s);
        if (rc != MP_CONNECT && !(rc == MP_DISCONNECT && command == shell_command))
            return rc;
    }
    rc = session_open(&s, h->name, options, cancel, &found, f);
    tell(h, found.data, warnings);
    buf_free(&found);
    if (rc != MP_OK)
        return rc;
    rc = remote_start(out, s, command, cancel, session_back, h, f);
    if (rc != MP_OK)
        session_close(s);
    return rc;
}

/* ---- shells -------------------------------------------------------------------------------------------- */

/* A shell is free again, or spoiled. */
static void shell_back(void *arg, shell *sh, bool good)
{
    mp_host *h = arg;

    hold(h);
    good = good && h->idle_shells < MAX_SHELLS;
    if (good) {
        h->shells[h->idle_shells].sh = sh;
        h->shells[h->idle_shells++].since = clock_monotonic();
    } else {
        h->n_shells--;
    }
    (void)pthread_cond_signal(&h->freed);
    let_go(h);
    if (!good)
        shell_close(sh);
}

/* The idle shell that was used last, if it still answers; the lock is held, and let go of meanwhile. NULL: there is
 * none. */
static shell *idle_shell(mp_host *h, const wake *cancel)
{
    while (h->idle_shells > 0) {
        shell *sh = h->shells[--h->idle_shells].sh;
        double idle = clock_monotonic() - h->shells[h->idle_shells].since;
        bool good;

        let_go(h);
        good = idle < IDLE_LONG ? shell_is_good(sh) : shell_answers(sh, IDLE_WAIT, cancel);
        if (!good)
            shell_close(sh);
        hold(h);
        if (good)
            return sh;
        h->n_shells--;
    }
    return NULL;
}

/* One more shell, which the caller has counted. MP_OK with *out NULL: there are no shells on that host. */
static int new_shell(shell **out, mp_host *h, double seconds, const mp_host_options *options, const wake *cancel,
                     buf *warnings, fault *f)
{
    proc *carrier;
    int rc = open_channel(&carrier, h, shell_command, options, cancel, warnings, f);

    *out = NULL;
    if (rc == MP_OK) {
        rc = shell_open(out, carrier, seconds, cancel, f);
        if (rc != MP_OK)
            carrier->ops->destroy(carrier);
    }
    hold(h);
    if (rc == MP_OK)
        h->has_shell = true;
    else
        h->n_shells--;
    if (seconds >= SHELL_WAIT && !h->has_shell && (rc == MP_EXIT || rc == MP_TIMEOUT)) {
        h->no_shell = true;
        rc = MP_OK;
    }
    (void)pthread_cond_signal(&h->freed);
    let_go(h);
    return rc;
}

/* An idle shell, or a new one, or one that somebody gives back. MP_OK with *out NULL: there are no shells on that host.
 */
static int take_shell(shell **out, mp_host *h, const wake *cancel, buf *warnings, fault *f)
{
    int rc = MP_OK;

    *out = NULL;
    hold(h);
    while (rc == MP_OK && !h->no_shell) {
        *out = idle_shell(h, cancel);
        if (*out != NULL)
            break;
        if (h->n_shells < MAX_SHELLS) {
            h->n_shells++;
            let_go(h);
            return new_shell(out, h, SHELL_WAIT, &h->options, cancel, warnings, f);
        }
        rc = wait_a_little(h, cancel, f);
    }
    let_go(h);
    return rc;
}

/* Runs a script in an idle shell or, whatever their number, a new one. True if that worked within so many seconds. */
static bool run_there(mp_host *h, const char *script, double seconds)
{
    double until = clock_monotonic() + seconds;
    mp_host_options options = h->options;
    shell *sh = NULL;
    proc *p;
    int rc;

    hold(h);
    if (!h->no_shell)
        sh = idle_shell(h, NULL);
    if (sh == NULL && !h->no_shell)
        h->n_shells++;
    rc = h->no_shell ? MP_INVALID : MP_OK;
    let_go(h);
    if (options.connect_timeout <= 0 || options.connect_timeout > seconds)
        options.connect_timeout = seconds;
    if (rc == MP_OK && sh == NULL)
        rc = new_shell(&sh, h, seconds, &options, NULL, NULL, NULL);
    if (rc != MP_OK || sh == NULL)
        return false;
    if (shell_start(&p, sh, (const char *const[]){"sh", "-c", script, NULL}, shell_back, h, NULL) != MP_OK) {
        shell_back(h, sh, true);
        return false;
    }
    rc = proc_finish(p, until, NULL, NULL);
    p->ops->destroy(p);
    return rc == MP_OK;
}

/* ---- ending what runs far away ------------------------------------------------------------------------- */

/* What a running program has of its host. */
typedef struct work {
    mp_host *host;
    bool stream; /* it counts as one */
    lost self;
} work;

static bool kill_there(void *arg, long target, int number, double seconds)
{
    work *w = arg;
    buf script = {0};
    bool sent = buf_fmt(&script, "kill -s %s -- %ld", number == SIGKILL ? "KILL" : "TERM", target) == MP_OK &&
                run_there(w->host, script.data, seconds);
    buf_free(&script);
    return sent;
}

static void work_gone(void *arg, long pid)
{
    work *w = arg;
    mp_host *h = w->host;

    hold(h);
    if (pid > 0 && h->n_lost < MAX_LOST) {
        h->lost[h->n_lost] = w->self;
        h->lost[h->n_lost++].pid = pid;
        w->self.args = NULL;
    }
    if (w->stream) {
        h->n_streams--;
        (void)pthread_cond_signal(&h->freed);
    }
    let_go(h);
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

/*
 * A script that ends a lost stream, if its number is still that program's: told by the variable it was started with or,
 * where environments can't be seen, by its arguments.
 */
static int settle_script(buf *b, const lost *l)
{
    int rc = buf_fmt(
        b,
        "p=%ld; if [ -r /proc/$p/environ ]; then tr '\\0' '\\n' </proc/$p/environ | grep -qx MOONPOOL_ID=%s || exit 0\n"
        "else [ \"$(ps -o args= -p $p)\" = ",
        l->pid, l->nonce);
    if (rc == MP_OK)
        rc = argv_quote(b, (const char *const[]){l->args, NULL});
    return rc == MP_OK ? buf_str(b, " ] || exit 0; fi\n"
                                    "kill -s TERM -- -$p; for i in 1 2 3 4 5 6 7 8 9 10; do\n"
                                    "kill -s 0 $p 2>/dev/null || exit 0; sleep 0.2; done; kill -s KILL -- -$p; :")
                       : rc;
}

/* Ends what lost connections have left on the far side: a stale receive would keep its dataset busy. */
static void settle(mp_host *h)
{
    for (size_t rounds = MAX_LOST; rounds > 0; rounds--) {
        buf script = {0};
        lost l = {0};
        bool done;

        hold(h);
        if (h->n_lost > 0)
            l = h->lost[--h->n_lost];
        let_go(h);
        if (l.pid == 0)
            return;
        done = settle_script(&script, &l) == MP_OK && run_there(h, script.data, SETTLE_WAIT);
        buf_free(&script);
        hold(h);
        if (!done && h->n_lost < MAX_LOST) {
            h->lost[h->n_lost++] = l;
            l.args = NULL;
        }
        let_go(h);
        free(l.args);
        if (!done)
            return;
    }
}

/* ---- starting ------------------------------------------------------------------------------------------ */

/* Gives a program a channel of its own. */
static int start_channel(proc **out, mp_host *h, const char *const argv[], work *w, bool plain, const wake *cancel,
                         buf *warnings, fault *f)
{
    const far_hooks hooks = {.kill = kill_there, .gone = work_gone, .arg = w};
    buf script = {0}, command = {0};
    proc *p = NULL;
    int rc = plain ? argv_quote(&command, argv) : far_script(&script, argv, w->self.nonce);

    if (rc == MP_OK && !plain)
        rc = argv_login_shell(&command, script.data);
    rc = rc == MP_OK ? open_channel(&p, h, command.data, &h->options, cancel, warnings, f)
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

static int start_command(proc **out, mp_host *h, const char *const argv[], work *w, const wake *cancel, buf *warnings,
                         fault *f)
{
    const far_hooks hooks = {.kill = kill_there, .gone = work_gone, .arg = w};
    shell *sh;
    proc *p;
    int rc = take_shell(&sh, h, cancel, warnings, f);

    if (rc != MP_OK || sh == NULL)
        return rc == MP_OK ? start_channel(out, h, argv, w, true, cancel, warnings, f) : rc;
    rc = shell_start(&p, sh, argv, shell_back, h, f);
    if (rc != MP_OK) {
        shell_back(h, sh, true);
        return rc;
    }
    rc = far_wrap(out, p, NULL, argv[0], &hooks, cancel, f);
    if (rc != MP_OK)
        p->ops->destroy(p);
    return rc;
}

/* Counts a stream. Waits if there are many, but not for ever. */
static int admit_stream(mp_host *h, const wake *cancel, fault *f)
{
    double until = clock_monotonic() + STREAM_WAIT;
    int rc = MP_OK;

    hold(h);
    while (rc == MP_OK && h->n_streams >= MAX_STREAMS && clock_monotonic() < until)
        rc = wait_a_little(h, cancel, f);
    if (rc == MP_OK)
        h->n_streams++;
    let_go(h);
    return rc;
}

static int start_stream(proc **out, mp_host *h, const char *const argv[], work *w, const wake *cancel, buf *warnings,
                        fault *f)
{
    shell *sh = NULL;
    bool known, plain;
    int rc;

    hold(h);
    known = h->no_shell || h->has_shell;
    let_go(h);
    if (!known) { /* whether there is an sh is tried without the command, which is run once */
        rc = take_shell(&sh, h, cancel, warnings, f);
        if (rc != MP_OK)
            return rc;
        if (sh != NULL)
            shell_back(h, sh, true);
    }
    hold(h);
    plain = h->no_shell;
    let_go(h);
    return start_channel(out, h, argv, w, plain, cancel, warnings, f);
}

int host_start(proc **out, mp_host *h, const char *const argv[], enum host_use use, const wake *cancel, buf *warnings,
               fault *f)
{
    bool stream = use == HOST_STREAM;
    work *w;
    int rc;

    assert(argv[0] != NULL);
    if (h->local)
        return stream ? local_start_stream(out, argv, f) : local_start(out, argv, f);
    if (argv[0][0] == '-')
        return fault_set(f, MP_INVALID, "%s: no program has such a name", argv[0]);
    settle(h);
    rc = stream ? admit_stream(h, cancel, f) : MP_OK;
    if (rc != MP_OK)
        return rc;
    w = work_new(h, argv, stream);
    if (w == NULL) {
        rc = fault_set(f, MP_SYSTEM, "out of memory");
        if (stream) {
            hold(h);
            h->n_streams--;
            let_go(h);
        }
        return rc;
    }
    rc = stream ? start_stream(out, h, argv, w, cancel, warnings, f)
                : start_command(out, h, argv, w, cancel, warnings, f);
    if (rc != MP_OK)
        work_gone(w, 0);
    return rc;
}
