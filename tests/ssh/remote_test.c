/*
 * remote_test.c - one command on a channel of libssh, driven as pump.c does, but slower, later or not at all.
 */
#include "server.h"

#include "remote.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- a network between us and the server that can be slowed down and stopped ------------------------------- */

typedef struct net {
    int listener, port, to;
    atomic_int pause_ms; /* after each 16 KiB of what the server says; negative: nothing passes any more */
    atomic_bool over;
    pthread_t thread;
} net;

static int loopback(int port, bool listens)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listens) {
        assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(listen(fd, 4), 0);
    } else {
        assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    }
    return fd;
}

static bool pass(int from, int to)
{
    char bytes[16384];
    ssize_t n = read(from, bytes, sizeof bytes);
    return n > 0 && write(to, bytes, (size_t)n) == n;
}

/* Serves one connection at a time. */
static void *net_work(void *arg)
{
    net *n = arg;
    while (!atomic_load(&n->over)) {
        struct pollfd waiting = {.fd = n->listener, .events = POLLIN};
        int near, far;
        bool open = true;
        double next = 0;
        if (poll(&waiting, 1, 20) <= 0)
            continue;
        near = accept(n->listener, NULL, NULL);
        far = loopback(n->to, false);
        while (open && !atomic_load(&n->over)) {
            int pause = atomic_load(&n->pause_ms);
            bool early = clock_monotonic() < next;
            struct pollfd fds[2] = {{.fd = pause < 0 ? -1 : near, .events = POLLIN},
                                    {.fd = pause < 0 || early ? -1 : far, .events = POLLIN}};
            (void)poll(fds, 2, 10);
            if (fds[0].revents != 0)
                open = pass(near, far);
            if (open && fds[1].revents != 0) {
                open = pass(far, near);
                next = clock_monotonic() + pause * 1e-3;
            }
        }
        (void)close(near);
        (void)close(far);
    }
    return NULL;
}

static void net_start(net *n, const server *s)
{
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    char script[300];
    *n = (net){.listener = loopback(0, true), .to = s->port};
    assert_int_equal(getsockname(n->listener, (struct sockaddr *)&a, &len), 0);
    n->port = ntohs(a.sin_port);
    (void)snprintf(script, sizeof script,
                   "sed 's/Port .*/Port %d/' config >slow; sed 's/:%d/:%d/' known_hosts >more; cat more >>known_hosts",
                   n->port, s->port, n->port);
    in_server(s, script);
    assert_int_equal(pthread_create(&n->thread, NULL, net_work, n), 0);
}

static void net_stop(net *n)
{
    atomic_store(&n->over, true);
    (void)pthread_join(n->thread, NULL);
    (void)close(n->listener);
}

/* ---- a command --------------------------------------------------------------------------------------------- */

typedef struct command {
    proc *p;
    char out[1 << 20]; /* the beginning of it */
    size_t out_len;
    char err[4096];
    size_t err_len;
    proc_end end;
} command;

static session *connect_to(const server *s, const char *config, double dead_after)
{
    session *out = NULL;
    buf warnings = {0};
    char path[128];
    fault f = {0};
    (void)snprintf(path, sizeof path, "%s/%s", s->dir, config);
    if (session_open(&out, "far", &(mp_host_options){.ssh_config = path, .dead_after = dead_after}, NULL, &warnings,
                     &f) != MP_OK)
        fail_msg("%s", f.text);
    buf_free(&warnings);
    return out;
}

static void note_good(void *arg, session *s, bool good)
{
    (void)s;
    *(bool *)arg = good;
}

static void begin(command *c, session *s, const char *text, bool *good)
{
    fault f = {0};
    memset(c, 0, sizeof *c);
    if (remote_start(&c->p, s, text, NULL, note_good, good, &f) != MP_OK)
        fail_msg("%s", f.text);
}

/* One turn of a poll loop that waits at most `ms`. */
static void turn(command *c, unsigned want, int ms)
{
    struct pollfd fds[PROC_MAX_FDS];
    int n = c->p->ops->prepare(c->p, want, fds, &ms);
    (void)poll(fds, (nfds_t)n, ms);
    c->p->ops->step(c->p, fds, n);
}

/* Steps it for some seconds without reading or writing. */
static void neglect(command *c, double seconds)
{
    for (double until = clock_monotonic() + seconds; clock_monotonic() < until;)
        turn(c, 0, 20);
}

/* Reads to the end of both streams, and on until it has ended; at most ten seconds. */
static void finish(command *c)
{
    double until = clock_monotonic() + 10;
    bool out = false, err = false, ended = false;
    char rest[65536];
    while (!(out && err && ended) && clock_monotonic() < until) {
        ssize_t n = PROC_AGAIN;
        turn(c, (out ? 0 : 1U << PROC_OUT) | (err ? 0 : 1U << PROC_ERR), 1000);
        while (!out && (n = c->p->ops->read(c->p, PROC_OUT, rest, sizeof rest)) > 0) {
            size_t room = sizeof c->out - 1 - c->out_len, kept = (size_t)n < room ? (size_t)n : room;
            memcpy(c->out + c->out_len, rest, kept);
            c->out_len += kept;
        }
        out = out || n == PROC_EOF;
        n = PROC_AGAIN;
        while (!err && (n = c->p->ops->read(c->p, PROC_ERR, c->err + c->err_len, sizeof c->err - 1 - c->err_len)) > 0)
            c->err_len += (size_t)n;
        err = err || n == PROC_EOF;
        ended = c->p->ops->ended(c->p, &c->end);
    }
    if (!(out && err && ended))
        fail_msg("still there: out %d, err %d, ended %d", out, err, ended);
}

/* Runs a command to its end; whether the session is good for another one. */
static bool complete(command *c, session *s, const char *text)
{
    bool good = false;
    begin(c, s, text, &good);
    finish(c);
    c->p->ops->destroy(c->p);
    return good;
}

/* ---- how it ends ------------------------------------------------------------------------------------------- */

static void statuses_and_signals_come_as_they_are(void **state)
{
    server s;
    session *ssh;
    command c;
    (void)state;
    server_start(&s, NULL);
    ssh = connect_to(&s, "config", 0);
    assert_true(complete(&c, ssh, "echo out; echo err >&2"));
    assert_int_equal(c.end.code, MP_OK);
    assert_int_equal(c.end.status, 0);
    assert_string_equal(c.out, "out\n");
    assert_string_equal(c.err, "err\n");
    assert_true(complete(&c, ssh, "exit 127"));
    assert_int_equal(c.end.code, MP_EXIT);
    assert_int_equal(c.end.status, 127);
    assert_true(complete(&c, ssh, "kill -KILL $$"));
    assert_int_equal(c.end.code, MP_SIGNAL);
    assert_int_equal(c.end.status, -1);
    assert_string_equal(c.end.message, "ended by SIGKILL");
    session_close(ssh);
    server_stop(&s);
}

static void an_end_without_a_status_is_a_lost_connection(void **state)
{
    server s;
    session *ssh;
    command c;
    bool good = true;
    (void)state;
    server_start(&s, NULL);
    ssh = connect_to(&s, "config", 0);
    begin(&c, ssh, "exec sleep 20.1", &good);
    appear("sleep 20.1");
    server_cut(&s);
    finish(&c);
    assert_int_equal(c.end.code, MP_DISCONNECT);
    assert_int_equal(c.end.status, -1);
    c.p->ops->destroy(c.p);
    assert_false(good);
    assert_false(session_is_good(ssh));
    session_close(ssh);
    in_server(&s,
              "for p in /proc/[0-9]*; do [ \"$(tr '\\0' ' ' <$p/cmdline)\" = 'sleep 20.1 ' ] && kill ${p##*/}; done "
              "2>/dev/null; :");
    server_stop(&s);
}

/* sshd tells of the end as soon as it happens, and then passes on what is left in the pipe. */
static void output_that_comes_late_after_the_status_is_waited_for(void **state)
{
    server s;
    net n;
    session *ssh;
    static command c;
    bool good = false;
    (void)state;
    server_start(&s, NULL);
    net_start(&n, &s);
    ssh = connect_to(&s, "slow", 0);
    begin(&c, ssh, "head -c 80000 /dev/zero", &good);
    atomic_store(&n.pause_ms, 450);
    finish(&c);
    assert_int_equal(c.end.code, MP_OK);
    assert_int_equal(c.out_len, 80000);
    atomic_store(&n.pause_ms, 0);
    c.p->ops->destroy(c.p);
    session_close(ssh);
    net_stop(&n);
    server_stop(&s);
}

static void a_good_status_is_worth_nothing_if_the_rest_of_the_output_is_lost(void **state)
{
    server s;
    net n;
    session *ssh;
    static command c;
    bool good = true;
    (void)state;
    server_start(&s, NULL);
    net_start(&n, &s);
    ssh = connect_to(&s, "slow", 1);
    begin(&c, ssh, "{ sleep 2; echo late; } & exit 0", &good);
    neglect(&c, 0.25); /* the status comes */
    atomic_store(&n.pause_ms, -1);
    finish(&c);
    assert_int_equal(c.end.code, MP_DISCONNECT);
    assert_mentions(c.end.message, "no sign of life for 1 s");
    c.p->ops->destroy(c.p);
    assert_false(good);
    session_close(ssh);
    net_stop(&n);
    server_stop(&s);
}

static void what_a_child_in_the_background_holds_open_is_not_waited_for(void **state)
{
    server s;
    session *ssh;
    command c;
    double before;
    (void)state;
    server_start(&s, NULL);
    ssh = connect_to(&s, "config", 0);
    before = clock_monotonic();
    assert_true(complete(&c, ssh, "sleep 3 & echo $!"));
    assert_int_equal(c.end.code, MP_OK);
    assert_true(c.out_len > 1);
    assert_true(clock_monotonic() - before < 2.5);
    session_close(ssh);
    server_stop(&s);
}

/* ---- streams ----------------------------------------------------------------------------------------------- */

static void one_who_reads_late_does_not_lose_the_connection(void **state)
{
    server s;
    session *ssh;
    static command c;
    bool good = false;
    (void)state;
    server_start(&s, NULL);
    ssh = connect_to(&s, "config", 0.4);
    begin(&c, ssh, "head -c 1048576 /dev/zero; sleep 1.6; echo done >&2", &good); /* as much as is kept */
    neglect(&c, 1.3);
    finish(&c);
    if (c.end.code != MP_OK)
        fail_msg("%s", c.end.message);
    assert_string_equal(c.err, "done\n");
    c.p->ops->destroy(c.p);
    assert_true(good);
    session_close(ssh);
    server_stop(&s);
}

static void writing_ends_when_the_reader_has_ended(void **state)
{
    server s;
    session *ssh;
    command c;
    bool good = false;
    ssize_t n = 0;
    static const char zeros[65536];
    (void)state;
    server_start(&s, NULL);
    ssh = connect_to(&s, "config", 0);
    begin(&c, ssh, "head -c 1000000 >/dev/null; echo full >&2; exit 3", &good);
    for (double until = clock_monotonic() + 10; n != PROC_EOF && clock_monotonic() < until;) {
        turn(&c, 1U << PROC_IN, 1000);
        n = c.p->ops->write(c.p, zeros, sizeof zeros);
    }
    assert_int_equal(n, PROC_EOF);
    finish(&c);
    assert_int_equal(c.end.status, 3);
    assert_string_equal(c.err, "full\n");
    c.p->ops->destroy(c.p);
    assert_true(good);
    session_close(ssh);
    server_stop(&s);
}

static void one_whose_reader_goes_away_ends(void **state)
{
    server s;
    session *ssh;
    command c;
    bool good = false;
    (void)state;
    server_start(&s, NULL);
    ssh = connect_to(&s, "config", 0);
    begin(&c, ssh, "exec head -c 900000000000 /dev/zero", &good);
    neglect(&c, 0.2);
    assert_true(there("head -c 900000000000 /dev/zero"));
    c.p->ops->close_out(c.p);
    finish(&c);
    assert_int_equal(c.end.code, MP_SIGNAL);
    assert_true(gone("head -c 900000000000 /dev/zero"));
    c.p->ops->destroy(c.p);
    assert_true(good);
    session_close(ssh);
    server_stop(&s);
}

static void one_that_is_let_go_under_way_gives_a_good_session_back(void **state)
{
    server s;
    session *ssh;
    command c;
    bool good = false;
    (void)state;
    server_start(&s, NULL);
    ssh = connect_to(&s, "config", 0);
    begin(&c, ssh, "exec cat /dev/zero", &good);
    neglect(&c, 0.2);
    c.p->ops->destroy(c.p);
    assert_true(good);
    assert_true(complete(&c, ssh, "echo next"));
    assert_string_equal(c.out, "next\n");
    session_close(ssh);
    server_stop(&s);
}

/* ---- channels ---------------------------------------------------------------------------------------------- */

static void one_channel_a_connection_is_enough_for_one_command_after_another(void **state)
{
    server s;
    session *ssh;
    command c, other;
    fault f = {0};
    bool good = false, unused;
    (void)state;
    server_start(&s, "MaxSessions 1");
    ssh = connect_to(&s, "config", 0);
    for (int i = 0; i < 10; i++)
        assert_true(complete(&c, ssh, "true"));
    begin(&c, ssh, "cat", &good);
    assert_int_equal(remote_start(&other.p, ssh, "true", NULL, note_good, &unused, &f), MP_CONNECT);
    assert_mentions(f.text, "the server opens no more channels");
    c.p->ops->close_in(c.p);
    finish(&c);
    assert_int_equal(c.end.code, MP_OK);
    c.p->ops->destroy(c.p);
    session_close(ssh);
    server_stop(&s);
}

static void *set_soon(void *arg)
{
    (void)poll(NULL, 0, 100);
    wake_set(arg);
    return NULL;
}

static void opening_a_channel_can_be_cancelled(void **state)
{
    server s;
    net n;
    session *ssh;
    command c;
    wake cancel;
    pthread_t thread;
    fault f = {0};
    bool unused;
    double before;
    (void)state;
    server_start(&s, NULL);
    net_start(&n, &s);
    assert_int_equal(wake_open(&cancel), MP_OK);
    ssh = connect_to(&s, "slow", 0);
    atomic_store(&n.pause_ms, -1);
    before = clock_monotonic();
    assert_int_equal(pthread_create(&thread, NULL, set_soon, &cancel), 0);
    assert_int_equal(remote_start(&c.p, ssh, "true", &cancel, note_good, &unused, &f), MP_CANCELLED);
    assert_true(clock_monotonic() - before < 1);
    (void)pthread_join(thread, NULL);
    session_close(ssh);
    wake_close(&cancel);
    net_stop(&n);
    server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(statuses_and_signals_come_as_they_are),
        TEST(an_end_without_a_status_is_a_lost_connection),
        TEST(output_that_comes_late_after_the_status_is_waited_for),
        TEST(a_good_status_is_worth_nothing_if_the_rest_of_the_output_is_lost),
        TEST(what_a_child_in_the_background_holds_open_is_not_waited_for),
        TEST(one_who_reads_late_does_not_lose_the_connection),
        TEST(writing_ends_when_the_reader_has_ended),
        TEST(one_whose_reader_goes_away_ends),
        TEST(one_that_is_let_go_under_way_gives_a_good_session_back),
        TEST(one_channel_a_connection_is_enough_for_one_command_after_another),
        TEST(opening_a_channel_can_be_cancelled),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    (void)unsetenv("SSH_AUTH_SOCK");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
