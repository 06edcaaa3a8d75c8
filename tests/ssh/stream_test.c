/*
 * stream_test.c - streams over libssh: the ways in which they stall, break and are noticed to be broken.
 */
#include "server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

static mp_host *open_far(const server *s, const char *config, double dead_after)
{
    char path[128];
    mp_host *host;
    (void)snprintf(path, sizeof path, "%s/%s", s->dir, config);
    assert_int_equal(mp_host_open(&host, "far", &(mp_host_options){.ssh_config = path, .dead_after = dead_after}),
                     MP_OK);
    return host;
}

/* A pipe of two programs. The result is the caller's. */
static mp_result *pipe_two(mp_host *a, const char *const argv_a[], mp_host *b, const char *const argv_b[])
{
    const mp_stage stages[] = {{a, argv_a}, {b, argv_b}};
    mp_result *r;
    (void)mp_pipe(&r, stages, 2, &(mp_pipe_options){.stall_timeout = 60});
    return r;
}

static void a_receiver_that_fails_early_is_told_each_time(void **state)
{
    server s;
    mp_host *far, *local = here(false);
    (void)state;
    server_start(&s, NULL);
    far = open_far(&s, "config", 0);
    for (int i = 0; i < 20; i++) {
        mp_result *r = pipe_two(local, SH("head -c 20000000 /dev/zero"), far,
                                SH("head -c 1000000 >/dev/null; echo 'cannot receive: out of space' >&2; exit 3"));
        assert_int_equal(r->code, MP_EXIT);
        assert_int_equal(r->failed_stage, 1);
        assert_int_equal(r->stages[1].status, 3);
        assert_string_equal(r->message, "far: sh: exit 3: cannot receive: out of space");
        mp_result_free(r);
    }
    mp_host_close(far);
    mp_host_close(local);
    server_stop(&s);
}

static void a_login_shell_that_traces_its_commands_will_do(void **state)
{
    server s;
    mp_host *far, *local = here(false);
    mp_result *r;
    (void)state;
    server_start(&s, "ForceCommand bash -x -c \"$SSH_ORIGINAL_COMMAND\"");
    far = open_far(&s, "config", 0);
    r = pipe_two(local, ARGV("echo", "x"), far, ARGV("grep", "x"));
    assert_int_equal(r->code, MP_OK);
    mp_result_free(r);
    mp_host_close(far);
    mp_host_close(local);
    server_stop(&s);
}

static void twenty_megabytes_of_errors_do_not_stop_a_stream(void **state)
{
    server s;
    mp_host *far, *local = here(false);
    mp_result *r;
    (void)state;
    server_start(&s, NULL);
    far = open_far(&s, "config", 0);
    r = pipe_two(far, SH("head -c 20000000 /dev/zero | tr '\\0' x >&2; head -c 5000000 /dev/zero"), local,
                 SH("wc -c >&2"));
    assert_int_equal(r->code, MP_OK);
    assert_int_equal(r->bytes, 5000000);
    assert_true(strlen(r->stages[0].err) < 100000);
    mp_result_free(r);
    mp_host_close(far);
    mp_host_close(local);
    server_stop(&s);
}

/* ---- a network that can be cut: a relay that stops passing anything on ------------------------------------- */

typedef struct relay {
    int listener, port, to;
    atomic_bool frozen, over;
    pthread_t thread;
} relay;

static void pass(int from, int to)
{
    char bytes[65536];
    ssize_t n = read(from, bytes, sizeof bytes);
    for (ssize_t at = 0; at < n;) {
        ssize_t w = write(to, bytes + at, (size_t)(n - at));
        if (w <= 0)
            break;
        at += w;
    }
}

static void *relay_work(void *arg)
{
    relay *r = arg;
    int pairs[16][2], n = 0;

    while (!atomic_load(&r->over)) {
        struct pollfd fds[33] = {{.fd = r->listener, .events = POLLIN}};
        for (int i = 0; i < n; i++)
            for (int k = 0; k < 2; k++)
                fds[1 + 2 * i + k] = (struct pollfd){.fd = pairs[i][k], .events = POLLIN};
        if (atomic_load(&r->frozen)) {
            (void)poll(NULL, 0, 20);
            continue;
        }
        (void)poll(fds, 1 + 2 * (nfds_t)n, 20);
        if (fds[0].revents != 0 && n < 16) {
            struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)r->to)};
            a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            pairs[n][0] = accept(r->listener, NULL, NULL);
            pairs[n][1] = socket(AF_INET, SOCK_STREAM, 0);
            (void)connect(pairs[n][1], (struct sockaddr *)&a, sizeof a);
            n++;
        }
        for (int i = 0; i < n; i++)
            for (int k = 0; k < 2; k++)
                if (fds[1 + 2 * i + k].fd == pairs[i][k] && fds[1 + 2 * i + k].revents != 0 && !atomic_load(&r->frozen))
                    pass(pairs[i][k], pairs[i][1 - k]);
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 2; k++)
            (void)close(pairs[i][k]);
    return NULL;
}

static void relay_start(relay *r, const server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    char script[200];

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *r = (relay){.listener = socket(AF_INET, SOCK_STREAM, 0), .to = s->port};
    assert_int_equal(bind(r->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(r->listener, 8), 0);
    assert_int_equal(getsockname(r->listener, (struct sockaddr *)&a, &len), 0);
    r->port = ntohs(a.sin_port);
    (void)snprintf(script, sizeof script,
                   "sed 's/Port .*/Port %d/' config >relayed; sed 's/\\]:%d/]:%d/' known_hosts >>known_hosts2; cat "
                   "known_hosts2 >>known_hosts",
                   r->port, s->port, r->port);
    in_server(s, script);
    assert_int_equal(pthread_create(&r->thread, NULL, relay_work, r), 0);
}

static void relay_stop(relay *r)
{
    atomic_store(&r->over, true);
    (void)pthread_join(r->thread, NULL);
    (void)close(r->listener);
}

/* Cuts the network in the middle of a stream; how long it took to be noticed is at most `most` seconds. */
static void cut(bool pull, double most)
{
    server s;
    relay r;
    mp_host *far, *local = here(false);
    mp_job *job;
    const mp_result *result;
    double before;

    server_start(&s, NULL);
    relay_start(&r, &s);
    far = open_far(&s, "relayed", 2);
    {
        const mp_stage pulling[] = {{far, SH("exec cat /dev/zero")}, {local, SH("exec cat >/dev/null")}};
        const mp_stage pushing[] = {{local, SH("exec cat /dev/zero")}, {far, SH("exec cat >/dev/null")}};
        assert_int_equal(mp_job_pipe(&job, NULL, pull ? pulling : pushing, 2, NULL), MP_OK);
    }
    while (mp_job_bytes(job) < 10000000)
        (void)poll(NULL, 0, 10);
    atomic_store(&r.frozen, true);
    before = clock_monotonic();
    result = mp_job_wait(job);
    assert_int_equal(result->code, MP_DISCONNECT);
    assert_int_equal(result->failed_stage, pull ? 0 : 1);
    assert_mentions(result->message, "far: ");
    assert_true(clock_monotonic() - before < most);
    mp_job_free(job);
    mp_host_close(far);
    mp_host_close(local);
    relay_stop(&r);
    server_stop(&s);
}

static void a_cut_network_is_noticed_while_pulling(void **state)
{
    (void)state;
    cut(true, 8);
}

static void a_cut_network_is_noticed_while_pushing(void **state)
{
    (void)state;
    cut(false, 8);
}

static void a_program_that_is_silent_for_long_is_no_dead_connection(void **state)
{
    server s;
    mp_host *far;
    mp_result *r;
    (void)state;
    server_start(&s, NULL);
    far = open_far(&s, "config", 3);
    assert_int_equal(mp_run(&r, far, SH("sleep 5; echo still here"), NULL), MP_OK);
    assert_string_equal(r->out, "still here\n");
    mp_result_free(r);
    mp_host_close(far);
    server_stop(&s);
}

static void one_who_was_stopped_asks_before_a_connection_counts_as_dead(void **state)
{
    server s;
    mp_host *far;
    mp_result *r;
    pid_t me = getpid(), other;
    (void)state;
    server_start(&s, NULL);
    far = open_far(&s, "config", 2);
    other = fork();
    if (other == 0) {
        (void)poll(NULL, 0, 1000);
        (void)kill(me, SIGSTOP);
        (void)poll(NULL, 0, 3000);
        (void)kill(me, SIGCONT);
        _exit(0);
    }
    assert_int_equal(mp_run(&r, far, SH("sleep 5; echo still here"), NULL), MP_OK);
    assert_int_equal(waitpid(other, NULL, 0), other);
    mp_result_free(r);
    mp_host_close(far);
    server_stop(&s);
}

static void a_dead_connection_may_be_waited_for_as_long_as_one_likes(void **state)
{
    static const double seconds[] = {1e7, 1e300};
    server s;
    (void)state;
    server_start(&s, NULL);
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        mp_host *far = open_far(&s, "config", seconds[i]);
        mp_result *r;
        assert_int_equal(mp_run(&r, far, ARGV("echo", "x"), &(mp_run_options){.timeout = 20}), MP_OK);
        mp_result_free(r);
        mp_host_close(far);
    }
    server_stop(&s);
}

/* ---- the buffer ------------------------------------------------------------------------------------------ */

/* The most memory that this process ever had, in bytes. */
static size_t most_memory(void)
{
    struct rusage u;
    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return (size_t)u.ru_maxrss * 1024;
}

static void a_pull_that_is_held_back_takes_no_more_than_its_buffer(void **state)
{
    const char *const readers[] = {"cat >/dev/null", "while [ $(head -c 8000000 | wc -c) -gt 0 ]; do sleep 0.05; done"};
    server s;
    mp_host *far, *local = here(false);
    (void)state;
    server_start(&s, NULL);
    far = open_far(&s, "config", 0);
    for (size_t i = 0; i < 2; i++) {
        mp_stage stages[] = {{far, SH("head -c 200000000 /dev/zero")}, {local, SH(readers[i])}};
        mp_pipe_options o = {.buffer = 1 << 20, .rate = i == 0 ? 100000000 : 0};
        size_t before = most_memory(), more;
        mp_result *r;
        assert_int_equal(mp_pipe(&r, stages, 2, &o), MP_OK);
        assert_int_equal(r->bytes, 200000000);
        mp_result_free(r);
        more = most_memory() - before;
        print_message("# %zu kB more\n", more / 1024);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they keep what is freed, and much beside */
        assert_true(more < 40000000);
#endif
    }
    mp_host_close(far);
    mp_host_close(local);
    server_stop(&s);
}

/* ---- every byte ------------------------------------------------------------------------------------------ */

/* Sixty-four megabytes of numbers, and what cksum says of them. */
#define NUMBERS "seq 1 8000000 | head -c 60000000"
#define CKSUM "cksum >&2"

static void compare(const server *s, const char *config)
{
    mp_host *far = open_far(s, config, 0), *local = here(false);
    mp_result *expected = run_here(SH(NUMBERS " | cksum"), NULL);
    mp_result *pulled = pipe_two(far, SH(NUMBERS), local, SH(CKSUM));
    mp_result *pushed = pipe_two(local, SH(NUMBERS), far, SH(CKSUM));
    assert_int_equal(pulled->code, MP_OK);
    assert_int_equal(pushed->code, MP_OK);
    assert_string_equal(pulled->stages[1].err, expected->out);
    assert_string_equal(pushed->stages[1].err, expected->out);
    mp_result_free(expected);
    mp_result_free(pulled);
    mp_result_free(pushed);
    mp_host_close(far);
    mp_host_close(local);
}

static void every_byte_arrives_both_ways(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    compare(&s, "config");
    server_stop(&s);
}

static void every_byte_arrives_while_keys_are_exchanged_anew(void **state)
{
    server s;
    (void)state;
    server_start(&s, "RekeyLimit 8M");
    in_server(&s, "{ cat config; echo '  RekeyLimit 8M'; } >rekey");
    compare(&s, "rekey");
    server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_receiver_that_fails_early_is_told_each_time),
        TEST(a_login_shell_that_traces_its_commands_will_do),
        TEST(twenty_megabytes_of_errors_do_not_stop_a_stream),
        TEST(a_cut_network_is_noticed_while_pulling),
        TEST(a_cut_network_is_noticed_while_pushing),
        TEST(a_program_that_is_silent_for_long_is_no_dead_connection),
        TEST(one_who_was_stopped_asks_before_a_connection_counts_as_dead),
        TEST(a_dead_connection_may_be_waited_for_as_long_as_one_likes),
        TEST(a_pull_that_is_held_back_takes_no_more_than_its_buffer),
        TEST(every_byte_arrives_both_ways),
        TEST(every_byte_arrives_while_keys_are_exchanged_anew),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
