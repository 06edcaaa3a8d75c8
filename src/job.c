/*
 * job.c - floor 4: commands and pipes on threads of their own, and the queue where those that ended are picked up.
 *
 * One lock guards everything here; it is held for a few instructions, never while a job runs. A thread whose job has
 * ended waits for the next one for a while, so that many short commands do not mean many threads. Threads are joined,
 * at the latest when the program exits or the library is unloaded: none may be left running code that is gone.
 */
#include "host.h"
#include "pipe.h"
#include "run.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STACK ((size_t)256 * 1024)
#define IDLE 10       /* seconds an idle thread waits for a job */
#define EXIT_WAIT 5.0 /* seconds that jobs nobody freed get to end at exit */

typedef enum job_state { WAITING, RUNNING, ENDED, QUEUED /* ended, and to be taken from its queue */ } job_state;

struct mp_job {
    mp_job *next, *prev; /* among all jobs that have not ended; then among the queue's ended ones */
    mp_queue *queue;     /* NULL: reports to none, or was taken from it */
    job_state state;
    atomic_bool done;
    _Atomic uint64_t moved;
    wake cancel;
    mp_result *result;
    /* what to do: copies */
    mp_stage *stages;
    size_t n;
    bool is_pipe;
    mp_pipe_options pipe;
    mp_run_options run;
};

typedef struct job_list {
    mp_job *first, *last;
} job_list;

struct mp_queue {
    job_list ended;
    wake ready; /* set while `ended` has jobs, or `woken` */
    atomic_bool woken;
};

typedef struct worker {
    pthread_t thread;
    struct worker *next;
} worker;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;  /* a job waits, or closing */
    pthread_cond_t ended; /* a job has ended */
    job_list jobs;        /* that have not ended */
    size_t waiting, idle;
    worker *finished; /* threads that have nothing more to do than to be joined */
    worker *working;
    bool closing, registered;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};

/* ---- lists --------------------------------------------------------------------------------------------- */

static void list_add(job_list *list, mp_job *job)
{
    job->next = NULL;
    job->prev = list->last;
    if (list->last != NULL)
        list->last->next = job;
    else
        list->first = job;
    list->last = job;
}

static void list_remove(job_list *list, mp_job *job)
{
    if (job->prev != NULL)
        job->prev->next = job->next;
    else
        list->first = job->next;
    if (job->next != NULL)
        job->next->prev = job->prev;
    else
        list->last = job->prev;
    job->next = job->prev = NULL;
}

/* ---- threads ------------------------------------------------------------------------------------------- */

/* With the lock held: the job has ended; who owns it may free it as soon as the lock is let go. */
static void finish(mp_job *job)
{
    list_remove(&pool.jobs, job);
    job->state = ENDED;
    if (job->queue != NULL) {
        job->state = QUEUED;
        list_add(&job->queue->ended, job);
        wake_set(&job->queue->ready);
    }
    atomic_store(&job->done, true);
    (void)pthread_cond_broadcast(&pool.ended);
}

static void perform(mp_job *job)
{
    if (job->is_pipe)
        (void)pipe_stages(&job->result, job->stages, job->n, &job->pipe, &job->cancel, &job->moved);
    else
        (void)run_command(&job->result, job->stages[0].host, job->stages[0].argv, &job->run, &job->cancel, &job->moved);
}

/* With the lock held: the job that has waited longest, or NULL after a long time without one, or when all is over. */
static mp_job *next_job(void)
{
    struct timespec until;
    int rc = 0;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += IDLE;
    while (pool.waiting == 0 && !pool.closing && rc == 0) {
        pool.idle++;
        rc = pthread_cond_timedwait(&pool.work, &pool.lock, &until);
        pool.idle--;
    }
    for (mp_job *job = pool.jobs.first; job != NULL && pool.waiting > 0; job = job->next) {
        if (job->state == WAITING) {
            job->state = RUNNING;
            pool.waiting--;
            return job;
        }
    }
    return NULL;
}

static void *work(void *arg)
{
    worker *self = arg, **at;
    mp_job *job;

    (void)pthread_mutex_lock(&pool.lock);
    while ((job = next_job()) != NULL) {
        (void)pthread_mutex_unlock(&pool.lock);
        perform(job);
        (void)pthread_mutex_lock(&pool.lock);
        finish(job);
    }
    for (at = &pool.working; *at != self; at = &(*at)->next)
        continue;
    *at = self->next;
    self->next = pool.finished;
    pool.finished = self;
    (void)pthread_cond_broadcast(&pool.ended);
    (void)pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* Without the lock: joins threads that have come to their end. */
static void join_finished(worker *w)
{
    while (w != NULL) {
        worker *next = w->next;
        (void)pthread_join(w->thread, NULL);
        free(w);
        w = next;
    }
}

/*
 * At exit, and when the library is unloaded: ends what nobody freed, and every thread. Registered with the first
 * thread, so that it comes before the end of what threads use (OpenSSL keeps things for each of them).
 */
__attribute__((destructor)) static void close_pool(void)
{
    struct timespec until;
    worker *finished;
    int rc = 0;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)EXIT_WAIT;
    (void)pthread_mutex_lock(&pool.lock);
    pool.closing = true;
    for (mp_job *job = pool.jobs.first; job != NULL; job = job->next)
        wake_set(&job->cancel);
    (void)pthread_cond_broadcast(&pool.work);
    while (pool.working != NULL && rc == 0)
        rc = pthread_cond_timedwait(&pool.ended, &pool.lock, &until);
    finished = pool.finished;
    pool.finished = NULL;
    (void)pthread_mutex_unlock(&pool.lock);
    join_finished(finished);
}

/* With the lock held. A new thread has all signals blocked: they are for the embedder's threads. */
static int start_thread(void)
{
    pthread_attr_t attr;
    sigset_t all, before;
    worker *w = calloc(1, sizeof *w);
    int rc;

    if (w == NULL || pthread_attr_init(&attr) != 0) {
        free(w);
        return MP_SYSTEM;
    }
    pool.registered = pool.registered || atexit(close_pool) == 0;
    (void)pthread_attr_setstacksize(&attr, STACK);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&w->thread, &attr, work, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    if (rc != 0) {
        free(w);
        return MP_SYSTEM;
    }
    w->next = pool.working;
    pool.working = w;
    return MP_OK;
}

/* ---- jobs ---------------------------------------------------------------------------------------------- */

static void discard(mp_job *job)
{
    for (size_t i = 0; i < job->n && job->stages != NULL; i++) {
        mp_host_close(job->stages[i].host);
        free((void *)(uintptr_t)job->stages[i].argv);
    }
    free(job->stages);
    free((void *)(uintptr_t)job->run.input);
    wake_close(&job->cancel);
    mp_result_free(job->result);
    free(job);
}

/* A job with copies of all arguments but the options. NULL without memory or descriptors. */
static mp_job *make_job(const mp_stage stages[], size_t n, mp_queue *queue)
{
    mp_job *job = calloc(1, sizeof *job);
    int rc;

    if (job == NULL)
        return NULL;
    job->queue = queue;
    rc = wake_open(&job->cancel);
    job->stages = calloc(n, sizeof *job->stages);
    for (size_t i = 0; i < n && rc == MP_OK && job->stages != NULL; i++) {
        job->stages[i].argv = (const char *const *)argv_copy(stages[i].argv);
        job->stages[i].host = host_ref(stages[i].host);
        job->n = i + 1;
        rc = job->stages[i].argv != NULL ? MP_OK : MP_SYSTEM;
    }
    if (rc == MP_OK && job->stages != NULL)
        return job;
    discard(job);
    return NULL;
}

/* Hands a job to an idle thread, or to a new one. It is lost if there is none. */
static int submit(mp_job **out, mp_job *job)
{
    worker *finished;
    int rc = MP_OK;

    (void)pthread_mutex_lock(&pool.lock);
    if (pool.closing || (pool.waiting >= pool.idle && start_thread() != MP_OK)) {
        rc = MP_SYSTEM;
    } else {
        pool.waiting++;
        list_add(&pool.jobs, job);
        (void)pthread_cond_signal(&pool.work);
    }
    finished = pool.finished;
    pool.finished = NULL;
    (void)pthread_mutex_unlock(&pool.lock);
    join_finished(finished);
    if (rc == MP_OK)
        *out = job;
    else
        discard(job);
    return rc;
}

int mp_job_run(mp_job **out, mp_queue *queue, mp_host *host, const char *const argv[], const mp_run_options *options)
{
    mp_job *job;

    assert(host != NULL && argv != NULL);
    job = make_job(&(mp_stage){host, argv}, 1, queue);
    if (job == NULL)
        return MP_SYSTEM;
    if (options != NULL)
        job->run = *options;
    if (job->run.input != NULL) {
        void *input = malloc(job->run.input_len > 0 ? job->run.input_len : 1);
        if (input != NULL)
            memcpy(input, job->run.input, job->run.input_len);
        job->run.input = input;
        if (input == NULL) {
            discard(job);
            return MP_SYSTEM;
        }
    }
    return submit(out, job);
}

int mp_job_pipe(mp_job **out, mp_queue *queue, const mp_stage stages[], size_t n, const mp_pipe_options *options)
{
    mp_job *job;

    assert(n > 0);
    job = make_job(stages, n, queue);
    if (job == NULL)
        return MP_SYSTEM;
    job->is_pipe = true;
    if (options != NULL)
        job->pipe = *options;
    return submit(out, job);
}

void mp_job_cancel(mp_job *job)
{
    wake_set(&job->cancel);
}

bool mp_job_done(const mp_job *job)
{
    return atomic_load(&job->done);
}

uint64_t mp_job_bytes(const mp_job *job)
{
    return atomic_load(&job->moved);
}

/* With the lock held. */
static void wait_for_end(const mp_job *job)
{
    while (job->state < ENDED)
        (void)pthread_cond_wait(&pool.ended, &pool.lock);
}

const mp_result *mp_job_wait(mp_job *job)
{
    (void)pthread_mutex_lock(&pool.lock);
    wait_for_end(job);
    (void)pthread_mutex_unlock(&pool.lock);
    return job->result;
}

/* With the lock held: a job that has ended is no longer to be taken from its queue. */
static void leave_queue(mp_job *job)
{
    mp_queue *queue = job->queue;

    job->queue = NULL;
    if (job->state != QUEUED)
        return;
    job->state = ENDED;
    list_remove(&queue->ended, job);
    if (queue->ended.first != NULL)
        return;
    wake_clear(&queue->ready);
    if (atomic_load(&queue->woken)) /* looked at after the clearing: see mp_queue_wake() */
        wake_set(&queue->ready);
}

void mp_job_free(mp_job *job)
{
    if (job == NULL)
        return;
    wake_set(&job->cancel);
    (void)pthread_mutex_lock(&pool.lock);
    wait_for_end(job);
    leave_queue(job);
    (void)pthread_mutex_unlock(&pool.lock);
    discard(job);
}

/* ---- queues -------------------------------------------------------------------------------------------- */

int mp_queue_new(mp_queue **out)
{
    mp_queue *queue = calloc(1, sizeof *queue);

    if (queue == NULL || wake_open(&queue->ready) != MP_OK) {
        free(queue);
        return MP_SYSTEM;
    }
    *out = queue;
    return MP_OK;
}

/* With the lock held: a job that has not ended and reports to this queue, or NULL. */
static mp_job *reporting(const mp_queue *queue)
{
    mp_job *job = pool.jobs.first;
    while (job != NULL && job->queue != queue)
        job = job->next;
    return job;
}

void mp_queue_free(mp_queue *queue)
{
    if (queue == NULL)
        return;
    (void)pthread_mutex_lock(&pool.lock);
    for (mp_job *job = pool.jobs.first; job != NULL; job = job->next)
        if (job->queue == queue)
            wake_set(&job->cancel);
    while (reporting(queue) != NULL)
        (void)pthread_cond_wait(&pool.ended, &pool.lock);
    while (queue->ended.first != NULL)
        leave_queue(queue->ended.first);
    (void)pthread_mutex_unlock(&pool.lock);
    wake_close(&queue->ready);
    free(queue);
}

int mp_queue_fd(const mp_queue *queue)
{
    return queue->ready.fds[0];
}

/* The oldest job that ended, or NULL; *woken: mp_queue_wake() was called, which is thereby answered. */
static mp_job *take_now(mp_queue *queue, bool *woken)
{
    mp_job *job;

    *woken = false;
    (void)pthread_mutex_lock(&pool.lock);
    job = queue->ended.first;
    if (job != NULL) {
        leave_queue(job);
    } else if (atomic_exchange(&queue->woken, false)) {
        *woken = true;
        wake_clear(&queue->ready);
        if (atomic_load(&queue->woken))
            wake_set(&queue->ready);
    }
    (void)pthread_mutex_unlock(&pool.lock);
    return job;
}

mp_job *mp_queue_take(mp_queue *queue, double timeout)
{
    double until = clock_monotonic() + timeout;

    for (;;) {
        struct pollfd fd = {.fd = queue->ready.fds[0], .events = POLLIN};
        bool woken;
        mp_job *job = take_now(queue, &woken);
        double left = until - clock_monotonic();

        if (job != NULL || woken || (timeout >= 0 && left <= 0))
            return job;
        (void)poll(&fd, 1, timeout < 0 ? -1 : poll_ms(left));
    }
}

void mp_queue_wake(mp_queue *queue)
{
    atomic_store(&queue->woken, true); /* before the descriptor is set, so that who clears it then sees this */
    wake_set(&queue->ready);
}
