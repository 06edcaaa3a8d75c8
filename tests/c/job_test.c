/*
 * job_test.c - threads, the queue where jobs that ended are picked up, and cancelling.
 */
#include "helper.h"

#include <dirent.h>
#include <pthread.h>

static mp_job *start(mp_queue *queue, mp_host *host, const char *const argv[])
{
    mp_job *job = NULL;
    assert_int_equal(mp_job_run(&job, queue, host, argv, NULL), MP_OK);
    return job;
}

static mp_queue *make_queue(void)
{
    mp_queue *queue = NULL;
    assert_int_equal(mp_queue_new(&queue), MP_OK);
    return queue;
}

static bool readable(const mp_queue *queue)
{
    struct pollfd fd = {.fd = mp_queue_fd(queue), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

static size_t threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    size_t n = 0;
    while (tasks != NULL && readdir(tasks) != NULL)
        n++;
    if (tasks != NULL)
        (void)closedir(tasks);
    return n;
}

static void a_job_that_ended_is_taken_from_its_queue(void **state)
{
    mp_host *host = here(false);
    mp_queue *queue = make_queue();
    mp_job *job = start(queue, host, ARGV("echo", "hello"));
    (void)state;
    assert_ptr_equal(mp_queue_take(queue, -1), job);
    assert_true(mp_job_done(job));
    assert_string_equal(mp_job_wait(job)->out, "hello\n");
    assert_int_equal(mp_job_bytes(job), 6);
    assert_null(mp_queue_take(queue, 0));
    mp_job_free(job);
    mp_queue_free(queue);
    mp_host_close(host);
}

static void the_queue_is_readable_as_long_as_a_job_is_to_be_taken(void **state)
{
    mp_host *host = here(false);
    mp_queue *queue = make_queue();
    mp_job *a = start(queue, host, ARGV("true")), *b = start(queue, host, ARGV("true"));
    (void)state;
    (void)mp_job_wait(a);
    (void)mp_job_wait(b);
    assert_true(readable(queue));
    assert_non_null(mp_queue_take(queue, 0));
    assert_true(readable(queue));
    assert_non_null(mp_queue_take(queue, 0));
    assert_false(readable(queue));
    mp_job_free(a);
    mp_job_free(b);
    mp_queue_free(queue);
    mp_host_close(host);
}

static void taking_waits_no_longer_than_asked(void **state)
{
    mp_queue *queue = make_queue();
    double start_time = clock_monotonic(), took;
    (void)state;
    assert_null(mp_queue_take(queue, 0.2));
    took = clock_monotonic() - start_time;
    assert_true(took >= 0.2 && took < 2);
    mp_queue_free(queue);
}

static void all_arguments_are_copied(void **state)
{
    mp_host *host = here(false);
    char word[] = "before", input[] = "input";
    const char *argv[] = {"sh", "-c", "sleep 0.1; cat; echo $0", word, NULL};
    mp_job *job = NULL;
    (void)state;
    assert_int_equal(mp_job_run(&job, NULL, host, argv, &(mp_run_options){.input = input, .input_len = 5}), MP_OK);
    memset(word, 'x', sizeof word - 1);
    memset(input, 'y', sizeof input - 1);
    argv[0] = NULL;
    mp_host_close(host);
    assert_string_equal(mp_job_wait(job)->out, "inputbefore\n");
    mp_job_free(job);
}

static void two_hundred_jobs_run_at_once(void **state)
{
    mp_host *host = here(false);
    mp_queue *queue = make_queue();
    mp_job *jobs[200];
    double begin = clock_monotonic();
    (void)state;
    for (int i = 0; i < 200; i++) {
        char script[64];
        (void)snprintf(script, sizeof script, "sleep 1; echo %d", i);
        jobs[i] = start(queue, host, SH(script));
    }
    for (int i = 0; i < 200; i++) {
        const mp_result *r = mp_job_wait(mp_queue_take(queue, -1));
        if (r->code != MP_OK)
            fail_msg("%s", r->message);
    }
    print_message("# 200 jobs of a second each: %.2f s\n", clock_monotonic() - begin);
    assert_true(clock_monotonic() - begin < 20);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(strtol(mp_job_wait(jobs[i])->out, NULL, 10), i);
        mp_job_free(jobs[i]);
    }
    mp_queue_free(queue);
    mp_host_close(host);
}

static void jobs_one_after_the_other_share_a_thread(void **state)
{
    mp_host *host = here(false);
    size_t before;
    (void)state;
    mp_job_free(start(NULL, host, ARGV("true")));
    before = threads();
    for (int i = 0; i < 50; i++) {
        mp_job *job = start(NULL, host, ARGV("true"));
        assert_int_equal(mp_job_wait(job)->code, MP_OK);
        mp_job_free(job);
        (void)poll(NULL, 0, 1);
    }
    assert_true(threads() <= before + 1);
    mp_host_close(host);
}

static void a_cancelled_job_ends_soon(void **state)
{
    mp_host *host = here(false);
    mp_queue *queue = make_queue();
    mp_job *job = start(queue, host, ARGV("sleep", "60"));
    double begin = clock_monotonic();
    (void)state;
    (void)poll(NULL, 0, 100);
    assert_false(mp_job_done(job));
    mp_job_cancel(job);
    assert_ptr_equal(mp_queue_take(queue, -1), job);
    assert_int_equal(mp_job_wait(job)->code, MP_CANCELLED);
    assert_true(clock_monotonic() - begin < 2);
    mp_job_free(job);
    mp_queue_free(queue);
    mp_host_close(host);
}

static void a_job_that_ended_well_stays_so_when_cancelled_late(void **state)
{
    mp_host *host = here(false);
    mp_job *job = start(NULL, host, ARGV("true"));
    (void)state;
    (void)mp_job_wait(job);
    mp_job_cancel(job);
    assert_int_equal(mp_job_wait(job)->code, MP_OK);
    mp_job_free(job);
    mp_host_close(host);
}

static void freeing_a_running_job_ends_it(void **state)
{
    mp_host *host = here(false);
    mp_queue *queue = make_queue();
    double begin = clock_monotonic();
    (void)state;
    mp_job_free(start(queue, host, ARGV("sleep", "60")));
    assert_true(clock_monotonic() - begin < 2);
    assert_null(mp_queue_take(queue, 0));
    assert_false(readable(queue));
    mp_queue_free(queue);
    mp_host_close(host);
}

static void freeing_a_queue_ends_its_jobs_which_stay_their_owners(void **state)
{
    mp_host *host = here(false);
    mp_queue *queue = make_queue();
    mp_job *running = start(queue, host, ARGV("sleep", "60")), *ended = start(queue, host, ARGV("true"));
    (void)state;
    (void)mp_job_wait(ended);
    mp_queue_free(queue);
    assert_true(mp_job_done(running));
    assert_int_equal(mp_job_wait(running)->code, MP_CANCELLED);
    assert_int_equal(mp_job_wait(ended)->code, MP_OK);
    mp_job_free(running);
    mp_job_free(ended);
    mp_host_close(host);
}

static mp_queue *woken_queue;

static void wake_it(int number)
{
    (void)number;
    mp_queue_wake(woken_queue);
}

static void a_signal_handler_wakes_the_one_who_waits(void **state)
{
    struct sigaction action = {.sa_handler = wake_it}, before;
    (void)state;
    woken_queue = make_queue();
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    (void)alarm(1);
    assert_null(mp_queue_take(woken_queue, 30));
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    mp_queue_free(woken_queue);
}

static void a_wake_without_a_waiter_is_for_the_next_one_and_only_that(void **state)
{
    mp_queue *queue = make_queue();
    double begin = clock_monotonic();
    (void)state;
    mp_queue_wake(queue);
    mp_queue_wake(queue);
    assert_null(mp_queue_take(queue, 30));
    assert_true(clock_monotonic() - begin < 5);
    begin = clock_monotonic();
    assert_null(mp_queue_take(queue, 0.1));
    assert_true(clock_monotonic() - begin >= 0.1);
    mp_queue_free(queue);
}

static void a_wake_does_not_swallow_a_job(void **state)
{
    mp_host *host = here(false);
    mp_queue *queue = make_queue();
    mp_job *job = start(queue, host, ARGV("true"));
    (void)state;
    (void)mp_job_wait(job);
    mp_queue_wake(queue);
    assert_ptr_equal(mp_queue_take(queue, 0), job);
    assert_null(mp_queue_take(queue, 30));
    mp_job_free(job);
    mp_queue_free(queue);
    mp_host_close(host);
}

static void a_pipe_counts_its_bytes_while_it_runs(void **state)
{
    mp_host *host = here(false);
    const mp_stage stages[] = {{host, SH("head -c 100000 /dev/zero; sleep 60")}, {host, ARGV("cat")}};
    mp_job *job = NULL;
    double until = clock_monotonic() + 10;
    (void)state;
    assert_int_equal(mp_job_pipe(&job, NULL, stages, 2, NULL), MP_OK);
    while (mp_job_bytes(job) < 100000 && clock_monotonic() < until)
        (void)poll(NULL, 0, 5);
    assert_int_equal(mp_job_bytes(job), 100000);
    assert_false(mp_job_done(job));
    mp_job_cancel(job);
    assert_int_equal(mp_job_wait(job)->code, MP_CANCELLED);
    assert_int_equal(mp_job_wait(job)->bytes, 100000);
    mp_job_free(job);
    mp_host_close(host);
}

static void a_dry_host_refuses_a_job_too(void **state)
{
    mp_host *host = here(true);
    mp_queue *queue = make_queue();
    mp_job *job = start(queue, host, ARGV("zfs", "destroy", "tank"));
    (void)state;
    assert_ptr_equal(mp_queue_take(queue, -1), job);
    assert_int_equal(mp_job_wait(job)->code, MP_DRY);
    mp_job_free(job);
    mp_queue_free(queue);
    mp_host_close(host);
}

static void *cancel_in_any_order(void *arg)
{
    mp_job **jobs = arg;
    for (int i = 0; i < 40; i++)
        mp_job_cancel(jobs[i * 7 % 40]);
    return NULL;
}

static void jobs_that_end_while_others_are_cancelled_all_come_back(void **state)
{
    mp_host *host = here(false);
    mp_queue *queue = make_queue();
    mp_job *jobs[40];
    pthread_t thread;
    (void)state;
    for (int i = 0; i < 40; i++)
        jobs[i] = start(queue, host, i % 2 == 0 ? ARGV("true") : ARGV("sleep", "60"));
    assert_int_equal(pthread_create(&thread, NULL, cancel_in_any_order, jobs), 0);
    for (int i = 0; i < 40; i++)
        assert_non_null(mp_queue_take(queue, 30));
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 40; i++)
        mp_job_free(jobs[i]);
    mp_queue_free(queue);
    mp_host_close(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_that_ended_is_taken_from_its_queue),
        TEST(the_queue_is_readable_as_long_as_a_job_is_to_be_taken),
        TEST(taking_waits_no_longer_than_asked),
        TEST(all_arguments_are_copied),
        TEST(two_hundred_jobs_run_at_once),
        TEST(jobs_one_after_the_other_share_a_thread),
        TEST(a_cancelled_job_ends_soon),
        TEST(a_job_that_ended_well_stays_so_when_cancelled_late),
        TEST(freeing_a_running_job_ends_it),
        TEST(freeing_a_queue_ends_its_jobs_which_stay_their_owners),
        TEST(a_signal_handler_wakes_the_one_who_waits),
        TEST(a_wake_without_a_waiter_is_for_the_next_one_and_only_that),
        TEST(a_wake_does_not_swallow_a_job),
        TEST(a_pipe_counts_its_bytes_while_it_runs),
        TEST(a_dry_host_refuses_a_job_too),
        TEST(jobs_that_end_while_others_are_cancelled_all_come_back),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
