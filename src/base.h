/*
 * base.h - floor 0: bytes, argument vectors, quoting, clocks, errors. Knows nothing of programs or hosts.
 */
#ifndef BASE_H
#define BASE_H

#include "moonpool.h"

#include <stdarg.h>
#include <sys/types.h>

/* ---- a growing buffer: zeroed is empty; never NULL data after an append ------------------------------- */

typedef struct buf {
    char *data; /* always NUL after data[len - 1] once anything was appended */
    size_t len, cap;
} buf;

int buf_add(buf *b, const void *bytes, size_t n); /* 0 or MP_SYSTEM */
int buf_str(buf *b, const char *s);
int buf_fmt(buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_drop(buf *b, size_t n); /* removes the first n bytes */
void buf_free(buf *b);
char *buf_take(buf *b); /* the text, malloc'd ("" if empty, NULL without memory); the buffer is empty afterwards */

/* ---- the first and the last 32 KiB of an error stream, however long ----------------------------------- */

#define TAIL_KEEP ((size_t)32 * 1024)
typedef struct tail {
    buf head;
    char *ring; /* TAIL_KEEP bytes, made when head is full */
    uint64_t total;
} tail;
void tail_add(tail *t, const void *bytes, size_t n);
char *tail_text(const tail *t); /* malloc'd: head, "\n[... N bytes left out ...]\n", tail */
void tail_free(tail *t);

/* ---- an error on its way up: a code and one line ------------------------------------------------------ */

typedef struct fault {
    int code;
    char text[512];
} fault;
/* Fills `f` (may be NULL) and returns `code`. */
int fault_set(fault *f, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with ": " and errno's text behind. Saves errno first. Returns MP_SYSTEM. */
int fault_errno(fault *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* MP_TIMEOUT, with a text, once `deadline` (of clock_monotonic(), 0: none) has passed; before it MP_OK. */
int fault_if_late(fault *f, double deadline);

/* ---- argument vectors -------------------------------------------------------------------------------- */

size_t argv_len(const char *const argv[]);
char **argv_copy(const char *const argv[]); /* one malloc'd block: free() */
/* Appends argv quoted for a POSIX shell: words of safe characters bare, others in single quotes. */
int argv_quote(buf *b, const char *const argv[]);
/*
 * Appends text as one word for any login shell (sh, csh, tcsh, fish): `exec /bin/sh -c '…'` with every byte that one of
 * them treats specially inside quotes written as an octal escape that the inner sh undoes. (See docs/ssh.md, quoting.)
 */
int argv_login_shell(buf *b, const char *script);

/* ---- time and descriptors ---------------------------------------------------------------------------- */

double clock_monotonic(void); /* seconds */
double clock_wall(void);      /* seconds since the epoch */
int poll_ms(double seconds);  /* for poll(): rounded up, at most an hour, 0 for what is past */
/* Makes a poll timeout (-1: none) no longer than that. */
void poll_sooner(int *timeout_ms, double seconds);
int fd_nonblock(int fd);
int fd_pipe(int fds[2]); /* close-on-exec from birth; 0 or -1 with errno */

/* ---- a flag that wakes a poll loop: cancel ------------------------------------------------------------ */

typedef struct wake {
    int fds[2];
} wake;
int wake_open(wake *w);       /* 0 or MP_SYSTEM */
void wake_set(const wake *w); /* async-signal-safe, any thread; sticky: fds[0] stays readable */
bool wake_is_set(const wake *w);
void wake_clear(const wake *w);
void wake_close(wake *w);

#endif
