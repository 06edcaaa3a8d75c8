/*
 * base.c - floor 0: growing buffers, the two ends of an error stream, faults, argument vectors and their quoting,
 * clocks, descriptors, and the flag that wakes a poll loop.
 */
#include "base.h"
#include "linux.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- buffers ------------------------------------------------------------------------------------------- */

/* Makes room for n more bytes and the NUL behind them. */
static int buf_grow(buf *b, size_t n)
{
    size_t cap = b->cap > 0 ? b->cap : 64;
    char *data;

    if (n >= SIZE_MAX / 2 - b->len)
        return MP_SYSTEM;
    if (b->len + n + 1 <= b->cap)
        return MP_OK;
    while (cap < b->len + n + 1)
        cap *= 2;
    data = realloc(b->data, cap);
    if (data == NULL)
        return MP_SYSTEM;
    b->data = data;
    b->cap = cap;
    return MP_OK;
}

int buf_add(buf *b, const void *bytes, size_t n)
{
    if (buf_grow(b, n) != MP_OK)
        return MP_SYSTEM;
    if (n > 0)
        memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
    return MP_OK;
}

int buf_str(buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

int buf_fmt(buf *b, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || buf_grow(b, (size_t)n) != MP_OK)
        return MP_SYSTEM;
    va_start(args, format);
    (void)vsnprintf(b->data + b->len, (size_t)n + 1, format, args);
    va_end(args);
    b->len += (size_t)n;
    return MP_OK;
}

void buf_drop(buf *b, size_t n)
{
    assert(n <= b->len);
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

void buf_free(buf *b)
{
    free(b->data);
    *b = (buf){0};
}

char *buf_take(buf *b)
{
    char *text = b->data != NULL ? b->data : strdup("");
    *b = (buf){0};
    return text;
}

/* ---- the two ends of an error stream ------------------------------------------------------------------- */

void tail_add(tail *t, const void *bytes, size_t n)
{
    const char *from = bytes;
    size_t part = TAIL_KEEP - t->head.len;

    part = part < n ? part : n;
    if (part > 0 && buf_add(&t->head, from, part) != MP_OK)
        return;
    t->total += part;
    from += part;
    n -= part;
    if (n > 0 && t->ring == NULL && (t->ring = malloc(TAIL_KEEP)) == NULL)
        return;
    while (n > 0) {
        size_t at = (size_t)((t->total - TAIL_KEEP) % TAIL_KEEP);
        part = TAIL_KEEP - at < n ? TAIL_KEEP - at : n;
        memcpy(t->ring + at, from, part);
        t->total += part;
        from += part;
        n -= part;
    }
}

char *tail_text(const tail *t)
{
    uint64_t behind = t->total - t->head.len; /* bytes that went through the ring */
    size_t at = (size_t)(behind % TAIL_KEEP);
    buf b = {0};
    int rc = buf_add(&b, t->head.data, t->head.len);

    if (rc == MP_OK && behind > TAIL_KEEP) {
        rc = buf_fmt(&b, "\n[... %llu bytes left out ...]\n", (unsigned long long)(behind - TAIL_KEEP));
        if (rc == MP_OK)
            rc = buf_add(&b, t->ring + at, TAIL_KEEP - at);
    }
    if (rc == MP_OK && behind > 0)
        rc = buf_add(&b, t->ring, behind > TAIL_KEEP ? at : (size_t)behind);
    if (rc != MP_OK) {
        buf_free(&b);
        return NULL;
    }
    return buf_take(&b);
}

void tail_free(tail *t)
{
    buf_free(&t->head);
    free(t->ring);
    *t = (tail){0};
}

/* ---- faults -------------------------------------------------------------------------------------------- */

int fault_set(fault *f, int code, const char *format, ...)
{
    va_list args;

    if (f == NULL)
        return code;
    f->code = code;
    va_start(args, format);
    (void)vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    return code;
}

int fault_errno(fault *f, const char *format, ...)
{
    int error = errno;
    char why[128] = "";
    va_list args;
    size_t len;

    if (f == NULL)
        return MP_SYSTEM;
    f->code = MP_SYSTEM;
    va_start(args, format);
    (void)vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    if (strerror_r(error, why, sizeof why) != 0)
        (void)snprintf(why, sizeof why, "error %d", error);
    len = strlen(f->text);
    (void)snprintf(f->text + len, sizeof f->text - len, ": %s", why);
    return MP_SYSTEM;
}

int fault_if_late(fault *f, double deadline)
{
    return deadline > 0 && clock_monotonic() >= deadline ? fault_set(f, MP_TIMEOUT, "not done within the time allowed")
                                                         : MP_OK;
}

/* ---- argument vectors ---------------------------------------------------------------------------------- */

size_t argv_len(const char *const argv[])
{
    size_t n = 0;
    while (argv[n] != NULL)
        n++;
    return n;
}

char **argv_copy(const char *const argv[])
{
    size_t n = argv_len(argv), size = (n + 1) * sizeof(char *);
    char **copy, *text;

    for (size_t i = 0; i < n; i++)
        size += strlen(argv[i]) + 1;
    copy = malloc(size);
    if (copy == NULL)
        return NULL;
    text = (char *)(copy + n + 1);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(argv[i]) + 1;
        copy[i] = memcpy(text, argv[i], len);
        text += len;
    }
    copy[n] = NULL;
    return copy;
}

static int quote_word(buf *b, const char *word)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+,=";
    int rc;

    /* A leading = is looked up in PATH by zsh. */
    if (word[0] != '\0' && word[0] != '=' && word[strspn(word, safe)] == '\0')
        return buf_str(b, word);
    rc = buf_str(b, "'");
    while (rc == MP_OK && *word != '\0') {
        size_t n = strcspn(word, "'");
        rc = buf_add(b, word, n);
        word += n;
        if (rc == MP_OK && *word == '\'') {
            rc = buf_str(b, "'\\''");
            word++;
        }
    }
    return rc == MP_OK ? buf_str(b, "'") : rc;
}

int argv_quote(buf *b, const char *const argv[])
{
    int rc = MP_OK;
    for (size_t i = 0; argv[i] != NULL && rc == MP_OK; i++) {
        if (i > 0)
            rc = buf_str(b, " ");
        if (rc == MP_OK)
            rc = quote_word(b, argv[i]);
    }
    return rc;
}

char *mp_quote(const char *const argv[])
{
    buf b = {0};
    if (argv_quote(&b, argv) != MP_OK) {
        buf_free(&b);
        return NULL;
    }
    return buf_take(&b);
}

/* Inside single quotes csh still obeys ! and refuses newlines, fish obeys \\ and \'; all bytes beyond ASCII are left to
 * nobody's locale. */
static bool survives_quotes(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && strchr("'!\\", c) == NULL;
}

int argv_login_shell(buf *b, const char *script)
{
    const unsigned char *s = (const unsigned char *)script;
    bool plain = true;
    int rc;

    for (size_t i = 0; s[i] != '\0'; i++)
        plain = plain && survives_quotes(s[i]);
    if (plain)
        return buf_fmt(b, "exec /bin/sh -c '%s'", script);
    /* printf undoes the octal escapes; the _ keeps $() from eating newlines at the end of the script. */
    rc = buf_str(b, "exec /bin/sh -c 'x=$(printf \"");
    for (size_t i = 0; s[i] != '\0' && rc == MP_OK; i++) {
        if (survives_quotes(s[i]) && strchr("\"$`%", s[i]) == NULL)
            rc = buf_add(b, &s[i], 1);
        else
            rc = buf_fmt(b, "\\%03o", s[i]);
    }
    return rc == MP_OK ? buf_str(b, "_\"); eval \"${x%_}\"'") : rc;
}

/* ---- time and descriptors ------------------------------------------------------------------------------ */

static double seconds_of(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double clock_monotonic(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double clock_wall(void)
{
    return seconds_of(CLOCK_REALTIME);
}

int fd_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* Away from 0, 1 and 2, which an embedder may have closed: a child's own would be laid over it. */
static int fd_above_standard(int *fd)
{
    int moved, error;

    if (*fd > 2)
        return 0;
    moved = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
    error = errno;
    (void)close(*fd);
    *fd = moved;
    errno = error;
    return moved < 0 ? -1 : 0;
}

int fd_pipe(int fds[2])
{
    int rc[2], error;

    if (os_pipe(fds) != 0)
        return -1;
    rc[0] = fd_above_standard(&fds[0]);
    rc[1] = fd_above_standard(&fds[1]);
    if (rc[0] == 0 && rc[1] == 0)
        return 0;
    error = errno;
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    errno = error;
    return -1;
}

int poll_ms(double seconds)
{
    return seconds <= 0 ? 0 : seconds > 3600 ? 3600 * 1000 : (int)(seconds * 1000) + 1;
}

void poll_sooner(int *timeout_ms, double seconds)
{
    if (*timeout_ms < 0 || poll_ms(seconds) < *timeout_ms)
        *timeout_ms = poll_ms(seconds);
}

/* ---- wakes --------------------------------------------------------------------------------------------- */

int wake_open(wake *w)
{
    if (os_event(w->fds) == 0)
        return MP_OK;
    w->fds[0] = w->fds[1] = -1;
    return MP_SYSTEM;
}

void wake_set(const wake *w)
{
    static const uint64_t one = 1;
    int error = errno; /* this runs in signal handlers */
    ssize_t n = write(w->fds[1], &one, sizeof one);
    (void)n; /* full means set already */
    errno = error;
}

bool wake_is_set(const wake *w)
{
    struct pollfd p = {.fd = w->fds[0], .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

void wake_clear(const wake *w)
{
    uint64_t junk[64];
    while (read(w->fds[0], junk, sizeof junk) > 0)
        continue;
}

void wake_close(wake *w)
{
    if (w->fds[1] >= 0 && w->fds[1] != w->fds[0])
        (void)close(w->fds[1]);
    if (w->fds[0] >= 0)
        (void)close(w->fds[0]);
    w->fds[0] = w->fds[1] = -1;
}
