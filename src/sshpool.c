/*
 * sshpool.c - what lies idle, and who may have it. Short commands go to the shell that was used last, streams get a
 * connection each, and nothing shares one, so MaxSessions 1 is enough. What runs belongs to its proc and comes back
 * through a callback. One mutex guards the idle ones and the counts; it is never held while something connects, waits
 * or ends.
 */
#include "sshpool.h"
#include "remote.h"
#include "sshprogram.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_SHELLS 4   /* short commands at one time; further ones wait */
#define MAX_SESSIONS 8 /* idle connections kept */
#define MAX_STREAMS 16 /* at one time */
#define MAX_LOST 16    /* streams whose end nobody saw */
#define STREAM_WAIT                                                                                                    \
    10. /* seconds that a further stream waits: without end, pipes that hold one each could wait for ever */
#define SHELL_WAIT 30. /* seconds for a shell to answer the first time */
#define IDLE_WAIT 5.   /* the same for one that was idle for longer than IDLE_LONG */
#define IDLE_LONG 15.
#define SETTLE_WAIT 10. /* seconds to end a lost stream */

static const char shell_command[] = "exec /bin/sh";

struct sshpool {
    const char *name;
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
    sshlost lost[MAX_LOST];
    size_t n_lost;
    buf said; /* lines that were told once */
};

static void hold(sshpool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
}

static void let_go(sshpool *pool)
{
    (void)pthread_mutex_unlock(&pool->lock);
}

/* Waits, with the lock held, for something to be freed, but no longer than it may take to notice a cancel. */
static int wait_a_little(sshpool *pool, const wake *cancel, double deadline, fault *f)
{
    double until = clock_monotonic() + 0.05;
    struct timespec t = {.tv_sec = (time_t)until, .tv_nsec = (long)((until - (double)(time_t)until) * 1e9)};

    (void)pthread_cond_timedwait(&pool->freed, &pool->lock, &t);
    return cancel != NULL && wake_is_set(cancel) ? fault_set(f, MP_CANCELLED, "cancelled") : fault_if_late(f, deadline);
}

/* ---- connections --------------------------------------------------------------------------------------- */

/* Passes on the lines that this host has not told yet. */
static void tell(sshpool *pool, char *lines, buf *warnings)
{
    char *rest = NULL;

    if (warnings == NULL || lines == NULL)
        return;
    hold(pool);
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        if (pool->said.len > 0 && strstr(pool->said.data, line) != NULL)
            continue;
        (void)buf_fmt(&pool->said, "%s\n", line);
        (void)buf_fmt(warnings, "%s\n", line);
    }
    let_go(pool);
}

/* A channel has ended: its connection is idle again. */
static void session_back(void *arg, session *s, bool good)
{
    sshpool *pool = arg;

    hold(pool);
    good = good && pool->idle_sessions < MAX_SESSIONS;
    if (good)
        pool->sessions[pool->idle_sessions++] = s;
    let_go(pool);
    if (!good)
        session_close(s);
}

static session *idle_session(sshpool *pool)
{
    session *s;

    hold(pool);
    s = pool->idle_sessions > 0 ? pool->sessions[--pool->idle_sessions] : NULL;
    let_go(pool);
    return s;
}

/*
 * Gives `command` to the far side's login shell, over an idle connection or a new one. Another connection is tried only
 * if the command can't have reached the far side, or does nothing by itself.
 */
static int open_channel(proc **out, sshpool *pool, const char *command, const mp_host_options *options,
                        const wake *cancel, double deadline, buf *warnings, fault *f)
{
    buf found = {0};
    session *s;
    int rc = fault_if_late(f, deadline);

    if (rc != MP_OK)
        return rc;
    if (options->ssh_program != NULL)
        return sshprogram_start(out, pool->name, command, options, f);
    while ((s = idle_session(pool)) != NULL) {
        rc = session_is_good(s) ? remote_start(out, s, command, cancel, session_back, pool, f) : MP_CONNECT;
        if (rc == MP_OK)
            return rc;
        session_close(s);
        if (rc != MP_CONNECT && !(rc == MP_DISCONNECT && command == shell_command))
            return rc;
    }
    rc = session_open(&s, pool->name, options, cancel, &found, f);
    tell(pool, found.data, warnings);
    buf_free(&found);
    if (rc != MP_OK)
        return rc;
    rc = fault_if_late(f, deadline);
    if (rc == MP_OK)
        rc = remote_start(out, s, command, cancel, session_back, pool, f);
    if (rc != MP_OK)
        session_close(s);
    return rc;
}

int sshpool_channel(proc **out, sshpool *pool, const char *command, const wake *cancel, double deadline, buf *warnings,
                    fault *f)
{
    return open_channel(out, pool, command, &pool->options, cancel, deadline, warnings, f);
}

/* ---- shells -------------------------------------------------------------------------------------------- */

void sshpool_give(void *arg, shell *sh, bool good)
{
    sshpool *pool = arg;

    hold(pool);
    good = good && pool->idle_shells < MAX_SHELLS;
    if (good) {
        pool->shells[pool->idle_shells].sh = sh;
        pool->shells[pool->idle_shells++].since = clock_monotonic();
    } else {
        pool->n_shells--;
    }
    (void)pthread_cond_signal(&pool->freed);
    let_go(pool);
    if (!good)
        shell_close(sh);
}

/* The idle shell that was used last, if it still answers; the lock is held, and let go of meanwhile. NULL: there is
 * none. */
static shell *idle_shell(sshpool *pool, const wake *cancel)
{
    while (pool->idle_shells > 0) {
        shell *sh = pool->shells[--pool->idle_shells].sh;
        double idle = clock_monotonic() - pool->shells[pool->idle_shells].since;
        bool good;

        let_go(pool);
        good = idle < IDLE_LONG ? shell_is_good(sh) : shell_answers(sh, IDLE_WAIT, cancel);
        if (!good)
            shell_close(sh);
        hold(pool);
        if (good)
            return sh;
        pool->n_shells--;
    }
    return NULL;
}

/* One more shell, which the caller has counted. MP_OK with *out NULL: there are no shells on that host. */
static int new_shell(shell **out, sshpool *pool, double seconds, const mp_host_options *options, const wake *cancel,
                     buf *warnings, fault *f)
{
    proc *carrier;
    int rc = open_channel(&carrier, pool, shell_command, options, cancel, 0, warnings, f);

    *out = NULL;
    if (rc == MP_OK) {
        rc = shell_open(out, carrier, seconds, cancel, f);
        if (rc == MP_TIMEOUT)
            (void)fault_set(f, rc, "the login shell gave no answer within %g s", seconds);
        if (rc != MP_OK)
            carrier->ops->destroy(carrier);
    }
    hold(pool);
    if (rc == MP_OK)
        pool->has_shell = true;
    else
        pool->n_shells--;
    if (rc == MP_EXIT && seconds >= SHELL_WAIT && !pool->has_shell) { /* one that is only slow may be there next time */
        pool->no_shell = true;
        rc = MP_OK;
    }
    (void)pthread_cond_signal(&pool->freed);
    let_go(pool);
    return rc;
}

/* An idle shell, or a new one, or one that somebody gives back. MP_OK with *out NULL: there are no shells on that host.
 */
int sshpool_take(shell **out, sshpool *pool, const wake *cancel, double deadline, buf *warnings, fault *f)
{
    int rc = MP_OK;

    *out = NULL;
    hold(pool);
    while (rc == MP_OK && !pool->no_shell) {
        *out = idle_shell(pool, cancel);
        if (*out != NULL)
            break;
        if (pool->n_shells < MAX_SHELLS) {
            pool->n_shells++;
            let_go(pool);
            return new_shell(out, pool, SHELL_WAIT, &pool->options, cancel, warnings, f);
        }
        rc = wait_a_little(pool, cancel, deadline, f);
    }
    let_go(pool);
    return rc;
}

int sshpool_plain(bool *plain, sshpool *pool, const wake *cancel, buf *warnings, fault *f)
{
    shell *sh;
    bool known;
    int rc;

    hold(pool);
    known = pool->no_shell || pool->has_shell;
    *plain = pool->no_shell;
    let_go(pool);
    if (known)
        return MP_OK;
    rc = sshpool_take(&sh, pool, cancel, 0, warnings, f);
    *plain = rc == MP_OK && sh == NULL;
    if (rc == MP_OK && sh != NULL)
        sshpool_give(pool, sh, true);
    return rc;
}

bool sshpool_run(sshpool *pool, const char *script, double seconds)
{
    double until = clock_monotonic() + seconds;
    mp_host_options options = pool->options;
    shell *sh = NULL;
    proc *p;
    int rc;

    hold(pool);
    if (!pool->no_shell)
        sh = idle_shell(pool, NULL);
    if (sh == NULL && !pool->no_shell)
        pool->n_shells++;
    rc = pool->no_shell ? MP_INVALID : MP_OK;
    let_go(pool);
    if (options.connect_timeout <= 0 || options.connect_timeout > seconds)
        options.connect_timeout = seconds;
    if (rc == MP_OK && sh == NULL)
        rc = new_shell(&sh, pool, seconds, &options, NULL, NULL, NULL);
    if (rc != MP_OK || sh == NULL)
        return false;
    if (shell_start(&p, sh, (const char *const[]){"sh", "-c", script, NULL}, sshpool_give, pool, NULL) != MP_OK) {
        sshpool_give(pool, sh, true);
        return false;
    }
    rc = proc_finish(p, until, NULL, NULL);
    p->ops->destroy(p);
    return rc == MP_OK;
}

/* ---- streams ------------------------------------------------------------------------------------------- */

void sshpool_lost(sshpool *pool, sshlost *lost)
{
    hold(pool);
    if (pool->n_lost < MAX_LOST) {
        pool->lost[pool->n_lost++] = *lost;
        lost->args = NULL;
    }
    let_go(pool);
    free(lost->args);
    lost->args = NULL;
}

/*
 * A script that ends a lost stream, if its number is still that program's: told by the variable it was started with or,
 * where environments can't be seen, by its arguments.
 */
static int settle_script(buf *b, const sshlost *l)
{
    int rc = buf_fmt(b,
                     "p=%ld; ours() { if [ -r /proc/$p/environ ]; then\n"
                     "tr '\\0' '\\n' </proc/$p/environ | grep -qx MOONPOOL_ID=%s\n"
                     "else [ \"$(ps -o args= -p $p 2>/dev/null)\" = ",
                     l->pid, l->nonce);
    if (rc == MP_OK)
        rc = argv_quote(b, (const char *const[]){l->args, NULL});
    if (rc == MP_OK)
        rc = buf_str(b, " ]; fi; }\nours && kill -s TERM -- -$p || exit 0\n"
                        "for i in 1 2 3 4 5 6 7 8 9 10; do ours || exit 0; sleep 0.2; done; kill -s KILL -- -$p; :");
    return rc;
}

void sshpool_settle(sshpool *pool)
{
    for (size_t rounds = MAX_LOST; rounds > 0; rounds--) {
        buf script = {0};
        sshlost l = {0};
        bool done;

        hold(pool);
        if (pool->n_lost > 0)
            l = pool->lost[--pool->n_lost];
        let_go(pool);
        if (l.pid == 0)
            return;
        done = settle_script(&script, &l) == MP_OK && sshpool_run(pool, script.data, SETTLE_WAIT);
        buf_free(&script);
        if (!done) {
            sshpool_lost(pool, &l);
            return;
        }
        free(l.args);
    }
}

int sshpool_admit(sshpool *pool, const wake *cancel, fault *f)
{
    double until = clock_monotonic() + STREAM_WAIT;
    int rc = MP_OK;

    hold(pool);
    while (rc == MP_OK && pool->n_streams >= MAX_STREAMS && clock_monotonic() < until)
        rc = wait_a_little(pool, cancel, 0, f);
    if (rc == MP_OK)
        pool->n_streams++;
    let_go(pool);
    return rc;
}

void sshpool_leave(sshpool *pool)
{
    hold(pool);
    pool->n_streams--;
    (void)pthread_cond_signal(&pool->freed);
    let_go(pool);
}

/* ---- the pool ------------------------------------------------------------------------------------------ */

int sshpool_new(sshpool **out, const char *destination, const mp_host_options *options)
{
    sshpool *pool = calloc(1, sizeof *pool);
    pthread_condattr_t monotonic;
    int rc;

    if (pool == NULL)
        return MP_SYSTEM;
    if (pthread_mutex_init(&pool->lock, NULL) != 0)
        goto no_lock;
    if (pthread_condattr_init(&monotonic) != 0)
        goto no_condition;
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    rc = pthread_cond_init(&pool->freed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    if (rc != 0)
        goto no_condition;
    pool->name = destination;
    pool->options = *options;
    pool->no_shell = options->no_shell;
    *out = pool;
    return MP_OK;
no_condition:
    (void)pthread_mutex_destroy(&pool->lock);
no_lock:
    free(pool);
    return MP_SYSTEM;
}

void sshpool_free(sshpool *pool)
{
    if (pool == NULL)
        return;
    for (size_t i = 0; i < pool->idle_shells; i++)
        shell_close(pool->shells[i].sh); /* their connections become idle, and end below */
    for (size_t i = 0; i < pool->idle_sessions; i++)
        session_close(pool->sessions[i]);
    for (size_t i = 0; i < pool->n_lost; i++)
        free(pool->lost[i].args);
    (void)pthread_cond_destroy(&pool->freed);
    (void)pthread_mutex_destroy(&pool->lock);
    buf_free(&pool->said);
    free(pool);
}
