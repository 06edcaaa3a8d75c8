/*
 * pump.c - moves bytes between programs: each one's output to the next one's input, every error stream to its tail.
 *
 * Between two local programs bytes are spliced from pipe to pipe, as long as the reader keeps up. When it does not,
 * they are read into the edge's ring, until that has run empty again. An output that nobody has room for is not polled,
 * which is back-pressure; an error stream always is, so that a program that floods it does not stand still.
 *
 * A reader that stops before the end cuts its edge: the writer's output is closed, as a shell's pipe would be.
 */
#include "pump.h"
#include "linux.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)64 * 1024)
#define SPLICE_MAX ((size_t)1024 * 1024)
#define ROUNDS 8       /* reads of one stream before the others get their turn */
#define PATIENCE 0.002 /* seconds a full reader is waited for before bytes are copied into the ring */
#define CUT_GRACE 2.0  /* seconds a writer has to notice that its reader failed */
#define KILL_GRACE 2.0 /* from SIGTERM to SIGKILL */
#define GIVE_UP 3.0    /* from SIGKILL until we no longer wait for it */

typedef struct pump {
    pump_stage *stages;
    size_t n;
    const pump_options *o;
    const char *input;
    size_t input_left;
    throttle_turn turn; /* of the first program's output */
    char *scratch;      /* CHUNK bytes */
    struct pollfd *fds; /* [0] is the cancel wake */
    int *counts;        /* entries of each stage */
    double now, moved_at;
    int stop; /* why everything is being ended, 0: it is not */
    size_t where;
    fault *f;
} pump;

static bool failed(const pump_stage *s)
{
    return s->end.code != MP_OK || s->end.status != 0;
}

ptrdiff_t pump_cause(const pump_stage stages[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (failed(&stages[i]) && !stages[i].cut)
            return (ptrdiff_t)i;
    for (size_t i = n; i > 0; i--)
        if (failed(&stages[i - 1]))
            return (ptrdiff_t)i - 1;
    return -1;
}

/* ---- the rate ------------------------------------------------------------------------------------------ */

/* Bytes that stage i may give now. */
static size_t allowance(pump *p, size_t i)
{
    return i > 0 || p->o->throttle == NULL ? SIZE_MAX : throttle_allows(p->o->throttle, &p->turn, p->now);
}

/* Accounts for n bytes that came out of stage i. */
static void came_out(pump *p, size_t i, size_t n)
{
    p->moved_at = p->now;
    if (i > 0)
        return;
    if (p->o->moved != NULL)
        (void)atomic_fetch_add_explicit(p->o->moved, n, memory_order_relaxed);
    throttle_count(&p->turn, n);
}

/* ---- ending things ------------------------------------------------------------------------------------- */

static void close_out(pump_stage *s)
{
    if (!s->out_done)
        s->p->ops->close_out(s->p);
    s->out_done = true;
}

/* Everything is to end: nothing moves any more, and signals are due at once. */
static void stop(pump *p, int code, size_t where)
{
    if (p->stop != 0)
        return;
    p->stop = code;
    p->where = where;
    for (size_t i = 0; i < p->n; i++)
        p->stages[i].kill_at = p->now;
}

/* Stage i + 1 reads no more of what stage i says. */
static void cut(pump *p, size_t i)
{
    pump_stage *up = &p->stages[i], *down = &p->stages[i + 1];
    proc_end end;

    down->in_done = true;
    ring_free(&up->ring);
    if (up->out_done)
        return;
    up->cut = !up->p->ops->ended(up->p, &end);
    close_out(up);
}

/* Sends a stage the signal that is due, and at last no longer waits for it. */
static void escalate(pump *p, pump_stage *s)
{
    static const double next[] = {KILL_GRACE, GIVE_UP};

    if (s->ended || s->kill_at == 0 || p->now < s->kill_at)
        return;
    if (s->kills < 2) {
        s->p->ops->kill(s->p, s->kills == 0 ? SIGTERM : SIGKILL);
        s->kill_at = p->now + next[s->kills];
        s->kills++;
        close_out(s);
        if (s->kills == 2 && p->stop != 0 && !s->in_done) { /* for one far away that no signal reaches */
            s->p->ops->close_in(s->p);
            s->in_done = true;
        }
    } else {
        static const char text[] = "still there after SIGKILL";
        s->end = (proc_end){.code = MP_SYSTEM, .status = -1};
        (void)memcpy(s->end.message, text, sizeof text);
        s->ended = s->out_done = s->err_done = true;
    }
}

/* ---- moving bytes -------------------------------------------------------------------------------------- */

static void read_error_stream(pump *p, pump_stage *s)
{
    for (int round = 0; round < ROUNDS && !s->err_done; round++) {
        ssize_t n = s->p->ops->read(s->p, PROC_ERR, p->scratch, CHUNK);
        if (n == PROC_AGAIN)
            return;
        if (n < 0)
            s->err_done = true;
        else
            tail_add(&s->err, p->scratch, (size_t)n);
    }
}

static void feed_input(pump *p)
{
    pump_stage *s = &p->stages[0];
    ssize_t n = PROC_AGAIN;

    if (s->in_done)
        return;
    if (p->input_left > 0)
        n = s->p->ops->write(s->p, p->input, p->input_left);
    if (n > 0) {
        p->input += n;
        p->input_left -= (size_t)n;
        p->moved_at = p->now;
    }
    if (p->input_left == 0)
        s->p->ops->close_in(s->p);
    s->in_done = p->input_left == 0 || n < 0;
}

/* The last stage's output. */
static void drain(pump *p, size_t i)
{
    pump_stage *s = &p->stages[i];

    for (int round = 0; round < ROUNDS && !s->out_done; round++) {
        size_t most = allowance(p, i);
        ssize_t n;
        int rc;

        if (most == 0)
            return;
        n = s->p->ops->read(s->p, PROC_OUT, p->scratch, most < CHUNK ? most : CHUNK);
        if (n == PROC_AGAIN)
            return;
        if (n < 0) {
            s->out_done = true;
            return;
        }
        came_out(p, i, (size_t)n);
        rc = p->o->sink != NULL ? p->o->sink(p->o->sink_arg, p->scratch, (size_t)n, p->f) : MP_OK;
        if (rc != MP_OK) {
            stop(p, rc, i);
            return;
        }
    }
}

/* From the ring to the reader, as far as that goes. */
static void write_edge(pump *p, size_t i)
{
    pump_stage *up = &p->stages[i], *down = &p->stages[i + 1];
    const char *bytes;
    size_t n;

    while (!down->in_done && (bytes = ring_bytes(&up->ring, &n)) != NULL) {
        ssize_t written = down->p->ops->write(down->p, bytes, n);
        if (written == PROC_AGAIN)
            return;
        if (written < 0) {
            cut(p, i);
            return;
        }
        ring_drop(&up->ring, (size_t)written);
        p->moved_at = p->now;
    }
    if (up->out_done && !down->in_done) {
        down->p->ops->close_in(down->p);
        down->in_done = true;
        ring_free(&up->ring);
    }
}

/* After a splice that moved nothing: is there something to move, and only no room for it? */
static bool reader_is_full(int in, int out)
{
    struct pollfd fds[2] = {{.fd = in, .events = POLLIN}, {.fd = out, .events = POLLOUT}};
    return poll(fds, 2, 0) > 0 && fds[0].revents != 0 && fds[1].revents == 0;
}

/* Tries to move bytes past the ring. False: they must go through it. */
static bool splice_edge(pump *p, size_t i)
{
    pump_stage *up = &p->stages[i], *down = &p->stages[i + 1];
    int in = up->p->ops->fd(up->p, PROC_OUT), out = down->p->ops->fd(down->p, PROC_IN);
    size_t most = allowance(p, i);
    ssize_t n;

    if (up->no_splice || up->ring.len > 0 || in < 0 || out < 0 || up->ended || down->ended)
        return false;
    n = os_splice(in, out, most < SPLICE_MAX ? most : SPLICE_MAX);
    if (n > 0) {
        up->blocked = 0;
        came_out(p, i, (size_t)n);
        return true;
    }
    if (n == 0 || errno == EPIPE) /* the end of either: read and write tell more about it */
        return false;
    if (errno != EAGAIN) {
        up->no_splice = true;
        return false;
    }
    if (!reader_is_full(in, out)) {
        up->blocked = 0;
        return true;
    }
    if (up->blocked == 0)
        up->blocked = p->now;
    return p->now - up->blocked < PATIENCE;
}

/* From the writer into the ring. */
static void read_edge(pump *p, size_t i)
{
    pump_stage *up = &p->stages[i];

    for (int round = 0; round < ROUNDS && !up->out_done; round++) {
        size_t most = allowance(p, i), room;
        char *to = most > 0 ? ring_space(&up->ring, &room) : NULL;
        ssize_t n;

        if (to == NULL) {
            if (most > 0 && up->ring.len == 0)
                stop(p, fault_set(p->f, MP_SYSTEM, "out of memory"), i);
            return;
        }
        n = up->p->ops->read(up->p, PROC_OUT, to, most < room ? most : room);
        if (n == PROC_AGAIN)
            return;
        if (n < 0) {
            up->out_done = true;
            return;
        }
        ring_put(&up->ring, (size_t)n);
        came_out(p, i, (size_t)n);
    }
}

static void move_edge(pump *p, size_t i)
{
    pump_stage *up = &p->stages[i];

    if (up->ring.len > 0)
        write_edge(p, i);
    if (!up->out_done && allowance(p, i) > 0 && !splice_edge(p, i)) {
        up->blocked = 0;
        read_edge(p, i);
    }
    write_edge(p, i);
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

static unsigned wanted(pump *p, size_t i)
{
    const pump_stage *s = &p->stages[i];
    const pump_stage *up = i > 0 ? s - 1 : NULL;
    unsigned want = s->err_done ? 0 : 1U << PROC_ERR;
    bool room = i + 1 == p->n || (s->blocked == 0 && ring_has_room(&s->ring));

    if (p->stop != 0)
        return want;
    if (!s->in_done && (up != NULL ? up->ring.len > 0 || up->blocked > 0 : p->input_left > 0))
        want |= 1U << PROC_IN;
    if (!s->out_done && room && allowance(p, i) > 0)
        want |= 1U << PROC_OUT;
    return want;
}

/* Waits until something can be done, and tells every proc what came. */
static int wait_and_step(pump *p)
{
    int timeout = -1, n = 1;

    p->fds[0] =
        (struct pollfd){.fd = p->o->cancel != NULL && p->stop == 0 ? p->o->cancel->fds[0] : -1, .events = POLLIN};
    for (size_t i = 0; i < p->n; i++) {
        pump_stage *s = &p->stages[i];
        p->counts[i] = s->p->ops->prepare(s->p, wanted(p, i), p->fds + n, &timeout);
        n += p->counts[i];
        if (s->kill_at > 0 && !s->ended)
            poll_sooner(&timeout, s->kill_at - p->now);
        if (s->blocked > 0 && !s->out_done)
            poll_sooner(&timeout, s->blocked + PATIENCE - p->now);
    }
    if (p->stop == 0) {
        if (p->o->deadline > 0)
            poll_sooner(&timeout, p->o->deadline - p->now);
        if (p->o->stall > 0)
            poll_sooner(&timeout, p->moved_at + p->o->stall - p->now);
        if (!p->stages[0].out_done && allowance(p, 0) == 0)
            poll_sooner(&timeout, throttle_wait(p->o->throttle, &p->turn, p->now));
    }
    if (poll(p->fds, (nfds_t)n, timeout) < 0) {
        if (errno != EINTR)
            return fault_errno(p->f, "poll");
        for (int i = 0; i < n; i++)
            p->fds[i].revents = 0;
    }
    p->now = clock_monotonic();
    n = 1;
    for (size_t i = 0; i < p->n; i++) {
        p->stages[i].p->ops->step(p->stages[i].p, p->fds + n, p->counts[i]);
        n += p->counts[i];
    }
    return MP_OK;
}

/* Notices programs that ended, and what that means for their neighbours. */
static void look_for_ends(pump *p)
{
    for (size_t i = 0; i < p->n; i++) {
        pump_stage *s = &p->stages[i];
        if (!s->ended && s->p->ops->ended(s->p, &s->end)) {
            s->ended = true;
            p->moved_at = p->now;
        }
        /* One that ended well may have had all it wanted: only what its writer still says would be cut. */
        if (s->ended && i > 0 && !s->in_done && (failed(s) || s[-1].ring.len > 0))
            cut(p, i - 1);
        if (s->ended && i > 0 && failed(s) && s[-1].cut && !s[-1].ended && s[-1].kill_at == 0)
            s[-1].kill_at = p->now + CUT_GRACE;
    }
}

/* The stage that a stall is about: the reader of the last bytes that are stuck, else the first that still runs. */
static size_t stuck_stage(const pump *p)
{
    for (size_t i = p->n; i > 1; i--)
        if (p->stages[i - 2].ring.len > 0 || p->stages[i - 2].blocked > 0)
            return i - 1;
    for (size_t i = 0; i < p->n; i++)
        if (!p->stages[i].ended)
            return i;
    return 0;
}

static void watch(pump *p)
{
    const pump_options *o = p->o;

    if (p->stop == 0) {
        if (allowance(p, 0) == 0)
            p->moved_at = p->now; /* it is we who hold it back */
        if (p->fds[0].revents != 0)
            stop(p, fault_set(p->f, MP_CANCELLED, "cancelled"), 0);
        else if (o->deadline > 0 && p->now >= o->deadline)
            stop(p, fault_set(p->f, MP_TIMEOUT, "not done within the time allowed"), stuck_stage(p));
        else if (o->stall > 0 && p->now - p->moved_at >= o->stall)
            stop(p, fault_set(p->f, MP_STALLED, "nothing moved for %g seconds", o->stall), stuck_stage(p));
    }
    for (size_t i = 0; i < p->n; i++)
        escalate(p, &p->stages[i]);
}

static void move_all(pump *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (!p->stages[i].err_done)
            read_error_stream(p, &p->stages[i]);
    if (p->stop != 0)
        return;
    feed_input(p);
    for (size_t i = 0; i + 1 < p->n; i++)
        move_edge(p, i);
    drain(p, p->n - 1);
}

static bool done(const pump *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const pump_stage *s = &p->stages[i];
        if (!s->ended || (p->stop == 0 && (!s->out_done || !s->err_done)))
            return false;
    }
    return true;
}

static int prepare_pump(pump *p)
{
    p->scratch = malloc(CHUNK);
    p->fds = calloc(1 + p->n * PROC_MAX_FDS, sizeof *p->fds);
    p->counts = calloc(p->n, sizeof *p->counts);
    for (size_t i = 0; i < p->n; i++)
        ring_init(&p->stages[i].ring, p->o->buffer);
    if (p->scratch == NULL || p->fds == NULL || p->counts == NULL)
        return fault_set(p->f, MP_SYSTEM, "out of memory");
    p->now = p->moved_at = clock_monotonic();
    return MP_OK;
}

int pump_run(pump_stage stages[], size_t n, const pump_options *options, size_t *where, fault *f)
{
    pump p = {.stages = stages, .n = n, .o = options, .f = f};
    int rc = prepare_pump(&p);

    p.input = options->input;
    p.input_left = p.input != NULL ? options->input_len : 0;
    if (rc == MP_OK)
        feed_input(&p);
    while (rc == MP_OK && !done(&p)) {
        rc = wait_and_step(&p);
        if (rc != MP_OK)
            break;
        move_all(&p);
        look_for_ends(&p);
        watch(&p);
    }
    for (size_t i = 0; i < n; i++)
        ring_free(&stages[i].ring);
    free(p.scratch);
    free(p.fds);
    free(p.counts);
    *where = p.where;
    return rc != MP_OK ? rc : p.stop;
}
