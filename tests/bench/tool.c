/*
 * tool.c - what the benchmarks are made of: a fast writer, a fast reader, and a pipe of programs that tells what each
 * one cost.
 *
 *   tool produce BYTES                  writes so many bytes, 128 KiB at a time, as zfs send does
 *   tool consume [FILE]                 reads to the end; FILE: when the first and the last byte came, and how many did
 *   tool pipe [-s SIZE] A… [-- B…]…     runs programs in a pipe (SIZE: of each pipe, else the system's); prints the
 * seconds it took, and for each program its CPU seconds and peak memory in KiB tool each N COMMAND…                runs
 * a command N times, one after the other; prints the seconds it took
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROGRAMS 8
#define WRITE_SIZE ((size_t)128 * 1024)
#define READ_SIZE ((size_t)1024 * 1024)

extern char **environ;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int produce(const char *bytes)
{
    static char block[WRITE_SIZE];
    unsigned long long left = strtoull(bytes, NULL, 10);

    /* Not all the same, so that nothing on the way can be clever about it. */
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 2654435761U >> 13);
    while (left > 0) {
        size_t most = left < sizeof block ? (size_t)left : sizeof block;
        ssize_t n = write(1, block, most);
        if (n < 0)
            die("produce");
        left -= (unsigned long long)n;
    }
    return 0;
}

static int consume(const char *file)
{
    static char block[READ_SIZE];
    unsigned long long bytes = 0;
    double first = 0, last;
    ssize_t n;

    while ((n = read(0, block, sizeof block)) > 0) {
        if (bytes == 0)
            first = now();
        bytes += (unsigned long long)n;
    }
    last = now();
    if (n < 0)
        die("consume");
    if (file != NULL) {
        FILE *f = fopen(file, "w");
        if (f == NULL || fprintf(f, "%.6f %.6f %llu\n", first, last, bytes) < 0 || fclose(f) != 0)
            die(file);
    }
    return 0;
}

static pid_t start(char *argv[], int in, int out)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int rc;

    (void)posix_spawn_file_actions_init(&actions);
    if (in >= 0)
        (void)posix_spawn_file_actions_adddup2(&actions, in, 0);
    if (out >= 0)
        (void)posix_spawn_file_actions_adddup2(&actions, out, 1);
    rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc != 0) {
        errno = rc;
        die(argv[0]);
    }
    return pid;
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* Waits for a program; 0 if it ended well. */
static int end_of(pid_t pid, char *report, size_t size)
{
    struct rusage used;
    int status;

    if (wait4(pid, &status, 0, &used) < 0)
        die("wait4");
    (void)snprintf(report, size, " %.3f %ld", seconds_of(used.ru_utime) + seconds_of(used.ru_stime), used.ru_maxrss);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int run_pipe(int argc, char *argv[])
{
    pid_t pids[MAX_PROGRAMS];
    char reports[MAX_PROGRAMS][64];
    int n = 0, size = 0, in = -1, failed = 0, i = 0;
    double began;

    if (argc > 2 && strcmp(argv[0], "-s") == 0) {
        size = atoi(argv[1]);
        i = 2;
    }
    began = now();
    while (i < argc && n < MAX_PROGRAMS) {
        int end = i, fds[2] = {-1, -1};
        while (end < argc && strcmp(argv[end], "--") != 0)
            end++;
        argv[end] = NULL; /* where main's ends anyway, or "--" was */
        if (end < argc) {
            if (pipe2(fds, O_CLOEXEC) != 0 || (size > 0 && fcntl(fds[0], F_SETPIPE_SZ, size) < 0))
                die("pipe");
        }
        pids[n++] = start(argv + i, in, fds[1]);
        if (in >= 0)
            (void)close(in);
        if (fds[1] >= 0)
            (void)close(fds[1]);
        in = fds[0];
        i = end + 1;
    }
    for (int k = 0; k < n; k++)
        failed |= end_of(pids[k], reports[k], sizeof reports[k]);
    printf("%.6f", now() - began);
    for (int k = 0; k < n; k++)
        printf("%s", reports[k]);
    printf("\n");
    return failed;
}

static int run_each(int argc, char *argv[])
{
    double began = now();
    char report[64];

    if (argc < 2)
        return 2;
    for (int i = atoi(argv[0]); i > 0; i--)
        if (end_of(start(argv + 1, -1, -1), report, sizeof report) != 0)
            return 1;
    printf("%.6f\n", now() - began);
    return 0;
}

int main(int argc, char *argv[])
{
    const char *what = argc > 1 ? argv[1] : "";

    if (strcmp(what, "produce") == 0 && argc == 3)
        return produce(argv[2]);
    if (strcmp(what, "consume") == 0)
        return consume(argc > 2 ? argv[2] : NULL);
    if (strcmp(what, "pipe") == 0)
        return run_pipe(argc - 2, argv + 2);
    if (strcmp(what, "each") == 0)
        return run_each(argc - 2, argv + 2);
    (void)fprintf(stderr, "tool produce BYTES | consume [FILE] | pipe [-s SIZE] A… [-- B…]… | each N COMMAND…\n");
    return 2;
}
