/*
 * shell.c - commands through an sh that stays open.
 *
 * A command is one line: it is run in the background, so that its process id is known, and waited for by a function
 * that marks the ends. A mark is a record separator (036), the shell's nonce and a word, up to a newline. It may stand
 * anywhere, as it is written in one piece also by shells that write line by line, while the command itself is writing
 * too:
 *
 *     standard error    …␞NONCE pid 4711⏎…␞NONCE end⏎
 *     standard output   …␞NONCE end 0⏎
 *
 * The sh catches SIGTERM and its commands don't, so one signal to its process group ends the command with all its
 * children and leaves the sh. It is not used again after that, but as long as it lives its number is nobody else's.
 *
 * The beginning of what a command says on standard error is held back until its status is known: if the sh could not
 * start it, these are the sh's words, and the end's message says it better.
 */
#include "shell.h"
#include "sshfar.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)32 * 1024)
#define MARK_MAX ((size_t)96)
#define SEPARATOR 036

/* One of the two streams that the carrier brings. */
typedef struct lane {
    buf b;
    size_t ready;  /* bytes at its beginning that are a command's, and no part of a mark */
    uint64_t seen; /* bytes of the command so far */
    bool end;      /* the command's end was marked */
    bool eof;
} lane;

struct shell {
    proc *carrier;
    char nonce[NONCE_SIZE];
    buf unsent;
    lane lanes[3]; /* PROC_OUT and PROC_ERR */
    long group, pid;
    int status;
    bool broken; /* no memory: what was lost is not known */
};

/* A command at work in a shell. */
typedef struct command {
    proc base;
    shell *sh;
    shell_done *done;
    void *arg;
    int killed;    /* the last signal */
    bool discards; /* its output is wanted no more */
    char program[];
} command;

static const char prologue[] =
    "PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin; LC_ALL=C; export PATH LC_ALL\n"
    "unset ENV BASH_ENV CDPATH; trap 'mp_t=1' TERM; mp_n=%s\n"
    "mp_hello() { mp_g=0; kill -0 -$$ 2>/dev/null && mp_g=$$\n"
    "printf '\\036%%s end %%d\\n' $mp_n $mp_g; printf '\\036%%s end\\n' $mp_n >&2; }\n"
    /* wait ends early, once, when the trap has caught something */
    "mp_run() { printf '\\036%%s pid %%d\\n' $mp_n $1 >&2; mp_t=1\n"
    "while [ -n \"$mp_t\" ]; do mp_t=; wait $1 2>/dev/null; mp_s=$?; done\n"
    "printf '\\036%%s end %%d\\n' $mp_n $mp_s; printf '\\036%%s end\\n' $mp_n >&2; }; mp_hello\n";

/* ---- marks --------------------------------------------------------------------------------------------- */

/* Whether a mark begins at s, a separator: its length, 0 if not, -1 if more bytes are needed to tell. */
static ssize_t mark_at(const shell *sh, const char *s, size_t n, char word[4], long *number)
{
    const char *end;
    int fields;
    size_t nonce = NONCE_SIZE - 1, known = n - 1 < nonce ? n - 1 : nonce;

    if (memcmp(s + 1, sh->nonce, known) != 0)
        return 0;
    end = n > nonce + 1 ? memchr(s + 1 + nonce, '\n', n - 1 - nonce) : NULL;
    if (end == NULL)
        return n < MARK_MAX ? -1 : 0;
    *number = 0;
    fields = sscanf(s + 1 + nonce, " %3[a-z] %ld", word, number);
    return fields >= 1 && (strcmp(word, "end") == 0 || strcmp(word, "pid") == 0) ? end + 1 - s : 0;
}

/* Takes marks out of what has come, as far as they are complete. */
static void scan(shell *sh, int stream)
{
    lane *l = &sh->lanes[stream];

    while (!l->end && l->ready < l->b.len) {
        char *s = memchr(l->b.data + l->ready, SEPARATOR, l->b.len - l->ready);
        char word[4] = "";
        long number;
        ssize_t n;

        if (s == NULL) {
            l->ready = l->b.len;
            return;
        }
        l->ready = (size_t)(s - l->b.data);
        n = mark_at(sh, s, l->b.len - l->ready, word, &number);
        if (n < 0)
            return;
        if (n == 0) {
            l->ready++;
            continue;
        }
        l->b.len -= (size_t)n;
        memmove(s, s + n, l->b.len - l->ready + 1); /* the NUL too */
        if (word[0] == 'p') {
            sh->pid = number;
        } else {
            l->end = true;
            if (stream == PROC_OUT)
                sh->status = (int)number;
        }
    }
}

/* True if the command's last bytes on this stream are already here. */
static bool lane_over(const lane *l)
{
    return l->end || l->eof;
}

/* One read from the carrier. False: there was nothing. */
static bool fill(shell *sh, int stream)
{
    lane *l = &sh->lanes[stream];
    char chunk[CHUNK];
    size_t before = l->ready;
    ssize_t n;

    if (lane_over(l))
        return false;
    n = sh->carrier->ops->read(sh->carrier, stream, chunk, sizeof chunk);
    if (n == PROC_AGAIN)
        return false;
    if (n < 0 || buf_add(&l->b, chunk, (size_t)n) != MP_OK) {
        sh->broken = sh->broken || n >= 0;
        l->eof = true;
        l->ready = l->b.len;
    }
    scan(sh, stream);
    l->seen += l->ready - before;
    return true;
}

static void drop_ready(lane *l, size_t n)
{
    buf_drop(&l->b, n);
    l->ready -= n;
}

/* Sends what of the commands is still here. */
static void send_line(shell *sh)
{
    ssize_t n;

    while (sh->unsent.len > 0 && (n = sh->carrier->ops->write(sh->carrier, sh->unsent.data, sh->unsent.len)) != 0) {
        if (n < 0)
            sh->unsent.len = 0; /* its output ends too, and tells why */
        else
            buf_drop(&sh->unsent, (size_t)n);
    }
}

/* ---- the shell ----------------------------------------------------------------------------------------- */

/* Forgets the last command. */
static void begin(shell *sh)
{
    for (int i = PROC_OUT; i <= PROC_ERR; i++) {
        sh->lanes[i].end = false;
        sh->lanes[i].seen = 0;
    }
    sh->pid = 0;
    sh->status = -1;
}

/* Sends the text and waits until both streams have come to their mark; whatever came before is thrown away. */
static int converse(shell *sh, double timeout, const wake *cancel, fault *f)
{
    double until = clock_monotonic() + timeout;
    lane *out = &sh->lanes[PROC_OUT], *err = &sh->lanes[PROC_ERR];
    proc_end end;
    int rc = MP_OK;

    begin(sh);
    while (rc == MP_OK) {
        unsigned want = (sh->unsent.len > 0 ? 1U << PROC_IN : 0) | (lane_over(out) ? 0 : 1U << PROC_OUT) |
                        (lane_over(err) ? 0 : 1U << PROC_ERR);
        send_line(sh);
        while (fill(sh, PROC_OUT))
            drop_ready(out, out->ready);
        while (fill(sh, PROC_ERR))
            if (err->ready > FAR_HOLD)
                drop_ready(err, err->ready - FAR_HOLD);
        if (out->end && err->end)
            break;
        if (out->eof && err->eof && sh->carrier->ops->ended(sh->carrier, &end))
            rc = MP_EXIT;
        else
            rc = proc_turn(sh->carrier, want, until, cancel, f);
    }
    if (rc == MP_TIMEOUT)
        (void)fault_set(f, rc, "no shell answered within %g seconds", timeout);
    if (rc == MP_EXIT && (end.code == MP_OK || end.code == MP_EXIT || end.code == MP_SIGNAL)) {
        end.code = MP_EXIT;
        (void)snprintf(end.message, sizeof end.message, "no shell there (exit %d)", end.status);
    }
    if (rc == MP_EXIT)
        rc = far_lost(f, &end, err->b.data != NULL ? err->b.data : "");
    drop_ready(out, out->ready);
    drop_ready(err, err->ready);
    return rc;
}

int shell_open(shell **out, proc *carrier, double timeout, const wake *cancel, fault *f)
{
    shell *sh = calloc(1, sizeof *sh);
    int rc;

    if (sh == NULL)
        return fault_set(f, MP_SYSTEM, "out of memory");
    sh->carrier = carrier;
    far_nonce(sh->nonce);
    rc = buf_fmt(&sh->unsent, prologue, sh->nonce);
    rc = rc == MP_OK ? converse(sh, timeout, cancel, f) : fault_set(f, rc, "out of memory");
    if (rc != MP_OK) {
        sh->carrier = NULL;
        shell_close(sh);
        return rc;
    }
    sh->group = sh->status;
    *out = sh;
    return MP_OK;
}

bool shell_is_good(shell *sh)
{
    char byte;
    proc_end end;
    proc *c = sh->carrier;

    if (sh->broken || sh->unsent.len > 0 || sh->lanes[PROC_OUT].b.len > 0 || sh->lanes[PROC_ERR].b.len > 0)
        return false;
    (void)proc_turn(c, 1U << PROC_OUT | 1U << PROC_ERR, 0, NULL, NULL);
    return !c->ops->ended(c, &end) && c->ops->read(c, PROC_OUT, &byte, 1) == PROC_AGAIN &&
           c->ops->read(c, PROC_ERR, &byte, 1) == PROC_AGAIN;
}

bool shell_answers(shell *sh, double timeout, const wake *cancel)
{
    return shell_is_good(sh) && buf_str(&sh->unsent, "mp_hello\n") == MP_OK &&
           converse(sh, timeout, cancel, NULL) == MP_OK && shell_is_good(sh);
}

void shell_close(shell *sh)
{
    if (sh == NULL)
        return;
    if (sh->carrier != NULL)
        sh->carrier->ops->destroy(sh->carrier);
    buf_free(&sh->unsent);
    buf_free(&sh->lanes[PROC_OUT].b);
    buf_free(&sh->lanes[PROC_ERR].b);
    free(sh);
}

/* ---- a command ----------------------------------------------------------------------------------------- */

static bool command_over(const shell *sh)
{
    return sh->lanes[PROC_OUT].end && sh->lanes[PROC_ERR].end;
}

/* True if standard error is still held back. */
static bool holds(const command *c)
{
    const shell *sh = c->sh;
    const lane *out = &sh->lanes[PROC_OUT], *err = &sh->lanes[PROC_ERR];
    return err->seen <= FAR_HOLD && c->killed == 0 && !(lane_over(out) && lane_over(err));
}

static int command_prepare(proc *p, unsigned want, struct pollfd fds[PROC_MAX_FDS], int *timeout_ms)
{
    command *c = (command *)p;
    unsigned ours = c->sh->unsent.len > 0 ? 1U << PROC_IN : 0;

    if ((want & (1U << PROC_IN)) != 0)
        *timeout_ms = 0; /* a write tells that nothing is read */
    if (c->discards)
        want |= 1U << PROC_OUT;
    for (int i = PROC_OUT; i <= PROC_ERR; i++) {
        const lane *l = &c->sh->lanes[i];
        bool held = i == PROC_ERR && holds(c);
        if ((want & (1U << i)) == 0)
            continue;
        if (!held && (l->ready > 0 || (lane_over(l) && !(i == PROC_OUT && c->discards))))
            *timeout_ms = 0;
        else if (!lane_over(l))
            ours |= 1U << i;
    }
    return c->sh->carrier->ops->prepare(c->sh->carrier, ours, fds, timeout_ms);
}

static void command_step(proc *p, const struct pollfd *fds, int n)
{
    command *c = (command *)p;
    lane *out = &c->sh->lanes[PROC_OUT];

    c->sh->carrier->ops->step(c->sh->carrier, fds, n);
    send_line(c->sh);
    while (c->discards && fill(c->sh, PROC_OUT))
        drop_ready(out, out->ready);
}

/* Turns what is held back into nothing if it is the sh's own complaint about the program. */
static bool start_failed(command *c, proc_end *end)
{
    lane *err = &c->sh->lanes[PROC_ERR];

    if (!command_over(c->sh) || err->seen > FAR_HOLD || err->b.data == NULL)
        return false;
    end->status = c->sh->status;
    return far_spawn_failed(end, c->program, err->b.data, err->ready);
}

static ssize_t command_read(proc *p, int stream, void *bytes, size_t size)
{
    command *c = (command *)p;
    lane *l = &c->sh->lanes[stream];
    proc_end end;
    size_t n;

    if (stream == PROC_OUT && c->discards)
        return PROC_EOF;
    if (stream == PROC_ERR)
        while (holds(c) && fill(c->sh, PROC_ERR))
            continue;
    if (stream == PROC_ERR && holds(c))
        return PROC_AGAIN;
    while (l->ready == 0 && fill(c->sh, stream))
        continue;
    if (stream == PROC_ERR && l->ready > 0 && start_failed(c, &end))
        return PROC_EOF;
    n = l->ready < size ? l->ready : size;
    if (n == 0)
        return lane_over(l) ? PROC_EOF : PROC_AGAIN;
    memcpy(bytes, l->b.data, n);
    drop_ready(l, n);
    return (ssize_t)n;
}

static ssize_t command_write(proc *p, const void *bytes, size_t n)
{
    (void)p, (void)bytes, (void)n;
    return PROC_EOF; /* it has /dev/null from the start */
}

static void command_close_out(proc *p)
{
    command *c = (command *)p;
    c->discards = true;
    drop_ready(&c->sh->lanes[PROC_OUT], c->sh->lanes[PROC_OUT].ready);
}

/* The carrier has ended under the command. */
static void disconnected(const command *c, proc_end *end)
{
    proc_end carrier = *end;

    if (c->killed == SIGKILL) {
        far_status(end, 128 + SIGKILL);
        return;
    }
    end->code = MP_DISCONNECT;
    end->status = -1;
    end->signal = 0;
    if (carrier.code == MP_OK || carrier.code == MP_EXIT || carrier.code == MP_SIGNAL)
        (void)snprintf(end->message, sizeof end->message, "the shell on the far side ended (%.200s)",
                       carrier.message[0] != '\0' ? carrier.message : mp_code_name(carrier.code));
}

static bool command_ended(proc *p, proc_end *end)
{
    command *c = (command *)p;
    shell *sh = c->sh;

    if (command_over(sh)) {
        *end = (proc_end){.status = -1};
        if (!start_failed(c, end))
            far_status(end, sh->status);
        return true;
    }
    if (sh->broken && (sh->lanes[PROC_OUT].eof || sh->lanes[PROC_ERR].eof)) {
        *end = (proc_end){.code = MP_SYSTEM, .status = -1, .message = "out of memory"};
        return true;
    }
    if (!lane_over(&sh->lanes[PROC_OUT]) || !lane_over(&sh->lanes[PROC_ERR]) ||
        !sh->carrier->ops->ended(sh->carrier, end))
        return false;
    disconnected(c, end);
    return true;
}

static void command_kill(proc *p, int number)
{
    command *c = (command *)p;
    c->killed = number;
    c->sh->carrier->ops->kill(c->sh->carrier, number);
}

static void command_close_in(proc *p)
{
    (void)p;
}

static int command_fd(proc *p, int stream)
{
    (void)p, (void)stream;
    return -1;
}

static void command_destroy(proc *p)
{
    command *c = (command *)p;
    shell *sh = c->sh;
    bool good = command_over(sh) && c->killed == 0;

    for (int i = PROC_OUT; i <= PROC_ERR; i++)
        drop_ready(&sh->lanes[i], sh->lanes[i].ready);
    c->done(c->arg, sh, good && shell_is_good(sh));
    free(c);
}

static const proc_ops command_ops = {
    .prepare = command_prepare,
    .step = command_step,
    .read = command_read,
    .write = command_write,
    .close_in = command_close_in,
    .close_out = command_close_out,
    .ended = command_ended,
    .kill = command_kill,
    .fd = command_fd,
    .destroy = command_destroy,
};

int shell_start(proc **out, shell *sh, const char *const argv[], shell_done *done, void *arg, fault *f)
{
    size_t n = strlen(argv[0]) + 1;
    command *c = malloc(sizeof *c + n);

    assert(sh->unsent.len == 0);
    /* exec: programs only, no functions or builtins, and one process less */
    if (c == NULL || buf_str(&sh->unsent, "exec ") != MP_OK || argv_quote(&sh->unsent, argv) != MP_OK ||
        buf_str(&sh->unsent, " </dev/null & mp_run $!\n") != MP_OK) {
        free(c);
        sh->unsent.len = 0;
        return fault_set(f, MP_SYSTEM, "out of memory");
    }
    *c = (command){.base = {&command_ops}, .sh = sh, .done = done, .arg = arg};
    memcpy(c->program, argv[0], n);
    begin(sh);
    send_line(sh);
    *out = &c->base;
    return MP_OK;
}

long shell_command_pid(const proc *p)
{
    return p->ops == &command_ops ? ((const command *)p)->sh->pid : 0;
}

long shell_group(const proc *p)
{
    return p->ops == &command_ops ? ((const command *)p)->sh->group : -1;
}
