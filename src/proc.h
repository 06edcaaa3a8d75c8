/*
 * proc.h - floor 1: a program at work, wherever it runs. local.c starts them here, remote.c over libssh, shell.c inside
 * a remote shell that stays open; pump.c drives them without knowing which is which. A proc is used by one thread at a
 * time and never blocks after it was started: it tells which descriptors to poll, is stepped, read and written.
 */
#ifndef PROC_H
#define PROC_H

#include "base.h"

#include <poll.h>

enum { PROC_IN = 0, PROC_OUT = 1, PROC_ERR = 2 };

/* Results of proc_read and proc_write beside a count of bytes (> 0). */
enum { PROC_AGAIN = 0, PROC_EOF = -1 };

#define PROC_MAX_FDS 4

typedef struct proc proc;

typedef struct proc_end {
    int code;          /* MP_OK, MP_EXIT, MP_SIGNAL, MP_SPAWN, MP_DISCONNECT, MP_CONNECT, … */
    int status;        /* exit status or -1 */
    int signal;        /* number or 0 */
    char message[512]; /* "" or one line; for MP_EXIT empty: the error stream tells more */
} proc_end;

typedef struct proc_ops {
    /*
     * Fills fds with what to wait for. `want` has bit (1 << PROC_IN) if there are bytes to write, (1 << PROC_OUT) and
     * (1 << PROC_ERR) if there is room for what it prints: an unwanted stream is not polled, which is back-pressure.
     * Lowers *timeout_ms if it must be stepped sooner (0: it already has something ready). Returns the number of
     * entries.
     */
    int (*prepare)(proc *p, unsigned want, struct pollfd fds[PROC_MAX_FDS], int *timeout_ms);
    /* Called after every poll with the same entries: moves packets, notices the end, keeps the connection alive. */
    void (*step)(proc *p, const struct pollfd *fds, int n);
    /* From PROC_OUT or PROC_ERR: bytes, PROC_AGAIN, or PROC_EOF once that stream has ended. */
    ssize_t (*read)(proc *p, int stream, void *bytes, size_t n);
    /* To standard input: bytes taken, PROC_AGAIN, or PROC_EOF if the program no longer reads. */
    ssize_t (*write)(proc *p, const void *bytes, size_t n);
    void (*close_in)(proc *p);  /* end of its standard input, once; later calls do nothing */
    void (*close_out)(proc *p); /* we read no more of its standard output: it gets SIGPIPE or its like */
    /* True once the program has ended and its status is known; fills *end. Streams may still have bytes to read. */
    bool (*ended)(proc *p, proc_end *end);
    void (*kill)(proc *p, int signal); /* SIGTERM or SIGKILL, to the whole process group, here or far away */
    /* The descriptor behind a stream, for splice(2), or -1. */
    int (*fd)(proc *p, int stream);
    /* Kills (SIGKILL) what still runs, lets everything go; a session or shell that is still good returns to its host.
     */
    void (*destroy)(proc *p);
} proc_ops;

struct proc {
    const proc_ops *ops;
};

#endif
