/*
 * remote.c - floor 1: a command on a channel of an SSH session, driven without ever blocking.
 *
 * Everything that arrives is taken by a callback: libssh's own reading functions stall when the stream that is not
 * being read fills the window, and its writing functions wait for a window that never opens once the far program has
 * failed. Back-pressure is TCP's: while our buffer is full, the socket is not read.
 */
#include "remote.h"
#include "sshlib.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define OUT_ROOM ((size_t)1024 * 1024)
#define ERR_ROOM ((size_t)256 * 1024)
#define WRITE_MOST ((size_t)8 * 32758)  /* a few packets of libssh 0.10: no small one behind each */
#define WINDOW ((uint32_t)4 << 20)      /* what default TCP buffers can have under way: more only fills sshd's memory */
#define WIDE_WINDOW ((uint32_t)8 << 20) /* where TCP's buffer has grown beyond that, as its defaults never let it */
#define WINDOW_EVERY ((uint64_t)1024 * 1024)
#define GRACE 0.3       /* seconds of silence after the end until the server is asked, and again after its answer */
#define CLOSE_WAIT 0.2  /* seconds for the far side to agree that the channel is closed */
#define OPEN_WAIT 30.0  /* seconds for a channel to be opened */
#define DENIED_WAIT 1.0 /* seconds in which a slot may become free: servers lag behind the closing of a channel */
#define DENIED_PAUSE 0.05

typedef struct stream {
    buf b;
    size_t at; /* read so far */
} stream;

typedef struct remote {
    proc base;
    session *s;
    ssh_channel channel;
    struct ssh_channel_callbacks_struct callbacks;
    stream out, err;
    uint64_t came, open_at; /* bytes of both streams; how many of them until the window is opened next */
    bool eof, closed, lost, in_closed, out_closed;
    bool gap;  /* something that came had no place: nothing after it counts */
    bool over; /* it ended, and what others may still write is not waited for */
    bool has_status;
    int status;
    char signal[32];
    bool ended;
    double heard;                       /* when it ended, or something was last read after that */
    double asked;                       /* when the server was asked after that, 0: it was not */
    uint64_t asked_came, asked_packets; /* what had come by then */
    proc_end end;
    remote_done *done;
    void *arg;
} remote;

/* ---- what arrives -------------------------------------------------------------------------------------- */

static int on_data(ssh_session ssh, ssh_channel channel, void *data, uint32_t n, int is_stderr, void *arg)
{
    remote *r = arg;
    stream *to = is_stderr ? &r->err : &r->out;

    (void)ssh, (void)channel;
    r->came += n;
    if (to->at >= OUT_ROOM) {
        buf_drop(&to->b, to->at);
        to->at = 0;
    }
    if (!r->gap && (is_stderr || !r->out_closed) && buf_add(&to->b, data, n) != MP_OK)
        r->gap = r->lost = true;
    return (int)n;
}

static void on_eof(ssh_session ssh, ssh_channel channel, void *arg)
{
    (void)ssh, (void)channel;
    ((remote *)arg)->eof = true;
}

/* Nothing more comes from its streams. */
static bool is_over(const remote *r)
{
    return r->eof || r->closed || r->lost || r->over;
}

static void end_with(remote *r, int code, const char *text, const char *more)
{
    r->end.code = code;
    (void)snprintf(r->end.message, sizeof r->end.message, "%s%s", text, more);
}

/* How it ended, once that is known. A good status may come before the rest of the output: alone it is worth nothing. */
static void check_end(remote *r)
{
    const char *why = ssh_get_error(r->s->ssh);
    bool cut = r->gap || (r->lost && !r->eof && !r->closed && !r->over && !r->out_closed);

    if ((r->ended && !(cut && r->end.code == MP_OK)) ||
        !(r->has_status || r->signal[0] != '\0' || r->closed || r->lost))
        return;
    r->ended = true;
    r->heard = clock_monotonic();
    r->end = (proc_end){.code = MP_OK, .status = -1};
    if (r->has_status && !(cut && r->status == 0)) {
        r->end.status = r->status;
        r->end.code = r->status == 0 ? MP_OK : MP_EXIT;
    } else if (r->signal[0] != '\0') {
        end_with(r, MP_SIGNAL, "ended by SIG", r->signal);
    } else if (r->lost) {
        end_with(r, MP_DISCONNECT, *why != '\0' ? "the connection was lost: " : "the connection was lost", why);
    } else if (r->out_closed) {
        end_with(r, MP_SIGNAL, "ended, as its reader had gone", "");
    } else {
        end_with(r, MP_DISCONNECT, "the far side closed the channel without an exit status", "");
    }
}

static void on_close(ssh_session ssh, ssh_channel channel, void *arg)
{
    (void)ssh, (void)channel;
    ((remote *)arg)->closed = true;
    check_end(arg);
}

static void on_status(ssh_session ssh, ssh_channel channel, int status, void *arg)
{
    remote *r = arg;
    (void)ssh, (void)channel;
    r->has_status = true;
    r->status = status;
    check_end(r);
}

static void on_signal(ssh_session ssh, ssh_channel channel, const char *name, int core, const char *message,
                      const char *language, void *arg)
{
    remote *r = arg;
    (void)ssh, (void)channel, (void)core, (void)message, (void)language;
    (void)snprintf(r->signal, sizeof r->signal, "%s", name);
    check_end(r);
}

static size_t unread(const stream *s)
{
    return s->b.len - s->at;
}

static bool has_room(const remote *r)
{
    return unread(&r->out) < OUT_ROOM && unread(&r->err) < ERR_ROOM;
}

static uint32_t width(const remote *r)
{
    int size = 0;
    (void)getsockopt(ssh_get_fd(r->s->ssh), SOL_SOCKET, SO_RCVBUF, &size, &(socklen_t){sizeof size});
    return size > (int)WIDE_WINDOW ? WIDE_WINDOW : WINDOW;
}

/* libssh before 0.11 lets 640 kB per round trip through, 64 kB in the first: asking for more opens the window. */
static void open_window(remote *r)
{
    if (r->came < r->open_at || ssh_version(SSH_VERSION_INT(0, 11, 0)) != NULL)
        return;
    r->open_at = r->came + WINDOW_EVERY;
    if (r->s->window == NULL)
        r->s->window = malloc(WIDE_WINDOW); /* nothing is ever written there: it costs addresses, no memory */
    if (r->s->window != NULL)
        (void)ssh_channel_read_timeout(r->channel, r->s->window, width(r), 0, 0);
}

static void lose(remote *r, const char *why)
{
    r->lost = true;
    check_end(r);
    if (why != NULL && r->end.code == MP_DISCONNECT)
        end_with(r, MP_DISCONNECT, why, "");
}

/* Lets libssh take what has arrived, as long as there is room; each call takes one small read. */
static void take_all(remote *r)
{
    uint64_t before;

    do {
        before = r->s->counter.in_bytes;
        if (session_take(r->s) == SSH_ERROR && !r->closed) {
            lose(r, NULL);
            return;
        }
        open_window(r);
    } while (r->s->counter.in_bytes != before && has_room(r) && !r->lost);
    if (!ssh_is_connected(r->s->ssh))
        r->lost = true;
    check_end(r);
}

/* ---- the proc ------------------------------------------------------------------------------------------ */

static bool may_write(remote *r)
{
    return (ssh_get_status(r->s->ssh) & SSH_WRITE_PENDING) == 0 && ssh_channel_window_size(r->channel) > 0;
}

static bool has_output(const remote *r, unsigned want)
{
    if ((want & (1U << PROC_OUT)) != 0 && (unread(&r->out) > 0 || is_over(r) || r->out_closed))
        return true;
    return (want & (1U << PROC_ERR)) != 0 && (unread(&r->err) > 0 || is_over(r));
}

static int remote_prepare(proc *p, unsigned want, struct pollfd fds[PROC_MAX_FDS], int *timeout_ms)
{
    remote *r = (remote *)p;
    bool writes = (want & (1U << PROC_IN)) != 0;

    if (has_output(r, want) || (writes && (r->ended || r->in_closed || may_write(r))))
        *timeout_ms = 0;
    if (r->ended && !is_over(r) && unread(&r->out) + unread(&r->err) == 0) {
        double left = (r->asked > 0 ? r->asked : r->heard) + GRACE - clock_monotonic();
        if (left > 0)
            poll_sooner(timeout_ms, left);
        else if (r->asked <= 0)
            *timeout_ms = 0;
    }
    if (r->closed || r->lost || ssh_get_fd(r->s->ssh) < 0)
        return 0;
    poll_sooner(timeout_ms, session_pulse_in(r->s));
    if (!has_room(r)) /* not for writing either: libssh leaves that wanted, and reads with it */
        return 0;
    fds[0] = (struct pollfd){.fd = ssh_get_fd(r->s->ssh), .events = POLLIN};
    if ((ssh_get_poll_flags(r->s->ssh) & SSH_WRITE_PENDING) != 0)
        fds[0].events |= POLLOUT;
    return 1;
}

/*
 * After its end: somebody else may hold its output open, or the rest of it is still on its way. All that the server
 * had to say came before its answer to a question.
 */
static void check_rest(remote *r)
{
    double now = clock_monotonic();

    if (!r->ended || is_over(r) || unread(&r->out) + unread(&r->err) > 0)
        return;
    if (r->asked <= 0 && now - r->heard >= GRACE) {
        r->asked = now;
        r->asked_came = r->came;
        r->asked_packets = r->s->counter.in_packets;
        session_ask(r->s);
    } else if (r->asked > 0 && r->came != r->asked_came) {
        r->asked = 0;
        r->heard = now;
    } else if (r->asked > 0 && r->s->counter.in_packets != r->asked_packets && now - r->asked >= GRACE) {
        r->over = true;
    }
}

static void remote_step(proc *p, const struct pollfd *fds, int n)
{
    remote *r = (remote *)p;

    if (r->closed || r->lost)
        return;
    if ((n > 0 && fds[0].revents != 0) || ssh_get_fd(r->s->ssh) < 0)
        take_all(r);
    if (!has_room(r))
        r->s->heard = clock_monotonic(); /* as nobody listens */
    check_rest(r);
    if (!r->closed && !r->lost && !session_pulse(r->s)) {
        char why[128];
        (void)snprintf(why, sizeof why, "no sign of life for %g s: the connection counts as lost", r->s->dead_after);
        lose(r, why);
    }
}

static ssize_t remote_read(proc *p, int which, void *bytes, size_t size)
{
    remote *r = (remote *)p;
    stream *s = which == PROC_OUT ? &r->out : &r->err;
    size_t n = unread(s) < size ? unread(s) : size;

    if (n > 0) {
        (void)memcpy(bytes, s->b.data + s->at, n);
        s->at += n;
        if (s->at == s->b.len)
            s->at = s->b.len = 0;
        if (r->ended)
            r->heard = clock_monotonic();
        return (ssize_t)n;
    }
    return is_over(r) || (which == PROC_OUT && r->out_closed) ? PROC_EOF : PROC_AGAIN;
}

static ssize_t remote_write(proc *p, const void *bytes, size_t size)
{
    remote *r = (remote *)p;
    size_t n = size < WRITE_MOST ? size : WRITE_MOST;
    int written;

    if (r->ended || r->in_closed || r->closed || r->lost)
        return PROC_EOF;
    if (!may_write(r))
        return PROC_AGAIN;
    if (n > ssh_channel_window_size(r->channel))
        n = ssh_channel_window_size(r->channel);
    written = ssh_channel_write(r->channel, bytes, (uint32_t)n);
    if (written < 0) {
        if (!r->closed)
            lose(r, NULL);
        return PROC_EOF;
    }
    return written > 0 ? written : PROC_AGAIN;
}

static void remote_close_in(proc *p)
{
    remote *r = (remote *)p;
    if (!r->in_closed && !r->closed && !r->lost)
        (void)ssh_channel_send_eof(r->channel);
    r->in_closed = true;
}

/* SSH can't close one stream alone: the whole channel goes, and with it the far program's pipes. */
static void remote_close_out(proc *p)
{
    remote *r = (remote *)p;
    if (!r->out_closed && !r->ended && !r->lost)
        (void)ssh_channel_close(r->channel);
    r->out_closed = r->in_closed = true;
    buf_free(&r->out.b);
    r->out.at = 0;
}

static bool remote_ended(proc *p, proc_end *end)
{
    remote *r = (remote *)p;
    if (!r->ended || !(is_over(r) || r->out_closed))
        return false;
    *end = r->end;
    return true;
}

static void remote_kill(proc *p, int number)
{
    remote *r = (remote *)p;
    if (!r->closed && !r->lost)
        (void)ssh_channel_request_send_signal(r->channel, number == SIGKILL ? "KILL" : "TERM");
}

static int remote_fd(proc *p, int which)
{
    (void)p, (void)which;
    return -1;
}

/* Ends the channel; true if the session can carry another one. */
static bool close_channel(remote *r)
{
    double until = clock_monotonic() + CLOSE_WAIT;

    if (r->lost || !ssh_is_connected(r->s->ssh))
        return false;
    if (!ssh_channel_is_closed(r->channel))
        (void)ssh_channel_close(r->channel);
    while (!r->closed && !r->lost) {
        r->out.at = r->out.b.len = r->err.at = r->err.b.len = 0;
        take_all(r);
        if (!r->closed && !r->lost && session_wait(r->s, until, NULL) != MP_OK)
            return false;
    }
    return r->closed && !r->lost;
}

static void let_go(remote *r)
{
    if (r->channel != NULL) {
        (void)ssh_remove_channel_callbacks(r->channel, &r->callbacks);
        ssh_channel_free(r->channel);
    }
    buf_free(&r->out.b);
    buf_free(&r->err.b);
    free(r);
}

static void remote_destroy(proc *p)
{
    remote *r = (remote *)p;
    remote_done *done = r->done;
    void *arg = r->arg;
    session *s = r->s;
    bool good = close_channel(r);

    let_go(r);
    done(arg, s, good);
}

static const proc_ops remote_ops = {
    .prepare = remote_prepare,
    .step = remote_step,
    .read = remote_read,
    .write = remote_write,
    .close_in = remote_close_in,
    .close_out = remote_close_out,
    .ended = remote_ended,
    .kill = remote_kill,
    .fd = remote_fd,
    .destroy = remote_destroy,
};

/* ---- starting ------------------------------------------------------------------------------------------ */

static int failed(session *s, int waited, const char *what, fault *f)
{
    if (waited == MP_CANCELLED)
        return fault_set(f, MP_CANCELLED, "cancelled");
    if (waited == MP_TIMEOUT)
        return fault_set(f, MP_DISCONNECT, "%s: no answer within %g s", what, OPEN_WAIT);
    return fault_set(f, MP_DISCONNECT, "%s: %s", what, ssh_get_error(s->ssh));
}

/* One attempt to open the channel. MP_CONNECT: the server has no slot for it now. */
static int open_channel(remote *r, const wake *cancel, fault *f)
{
    double until = clock_monotonic() + OPEN_WAIT;
    int rc, waited = MP_OK;

    r->channel = ssh_channel_new(r->s->ssh);
    if (r->channel == NULL)
        return fault_set(f, ssh_is_connected(r->s->ssh) ? MP_SYSTEM : MP_DISCONNECT, "can't open a channel: %s",
                         ssh_get_error(r->s->ssh));
    while ((rc = ssh_channel_open_session(r->channel)) == SSH_AGAIN && waited == MP_OK)
        waited = session_wait(r->s, until, cancel);
    if (rc == SSH_OK)
        return MP_OK;
    if (rc != SSH_AGAIN && ssh_get_error_code(r->s->ssh) == SSH_REQUEST_DENIED) {
        ssh_channel_free(r->channel);
        r->channel = NULL;
        return fault_set(f, MP_CONNECT, "the server opens no more channels: %s", ssh_get_error(r->s->ssh));
    }
    return failed(r->s, waited, "can't open a channel", f);
}

static int open_with_patience(remote *r, const wake *cancel, fault *f)
{
    double until = clock_monotonic() + DENIED_WAIT;
    int rc;

    while ((rc = open_channel(r, cancel, f)) == MP_CONNECT && clock_monotonic() < until) {
        struct pollfd pause = {.fd = cancel != NULL ? cancel->fds[0] : -1, .events = POLLIN};
        if (poll(&pause, 1, poll_ms(DENIED_PAUSE)) > 0)
            return fault_set(f, MP_CANCELLED, "cancelled");
    }
    return rc;
}

static int execute(remote *r, const char *command, const wake *cancel, fault *f)
{
    double until = clock_monotonic() + OPEN_WAIT;
    int rc, waited = MP_OK;

    /* Before the command: its first words may come with the answer. */
    r->callbacks.userdata = r;
    r->callbacks.channel_data_function = on_data;
    r->callbacks.channel_eof_function = on_eof;
    r->callbacks.channel_close_function = on_close;
    r->callbacks.channel_exit_status_function = on_status;
    r->callbacks.channel_exit_signal_function = on_signal;
    ssh_callbacks_init(&r->callbacks);
    if (ssh_set_channel_callbacks(r->channel, &r->callbacks) != SSH_OK)
        return fault_set(f, MP_SYSTEM, "out of memory");
    while ((rc = ssh_channel_request_exec(r->channel, command)) == SSH_AGAIN && waited == MP_OK)
        waited = session_wait(r->s, until, cancel);
    return rc == SSH_OK ? MP_OK : failed(r->s, waited, "the server does not run the command", f);
}

int remote_start(proc **out, session *s, const char *command, const wake *cancel, remote_done *done, void *arg,
                 fault *f)
{
    remote *r = calloc(1, sizeof *r);
    int rc;

    if (r == NULL)
        return fault_set(f, MP_SYSTEM, "out of memory");
    r->base.ops = &remote_ops;
    r->s = s;
    r->done = done;
    r->arg = arg;
    rc = open_with_patience(r, cancel, f);
    if (rc == MP_OK)
        rc = execute(r, command, cancel, f);
    if (rc != MP_OK) {
        let_go(r);
        return rc;
    }
    open_window(r);
    *out = &r->base;
    return MP_OK;
}
