/*
 * result.c - what came of a command or pipe, put into words: `root@nas: zfs receive: exit 1: cannot receive new
 * filesystem stream: out of space` is the host, the command, how it ended, and the last line that it wrote on standard
 * error.
 */
#include "result.h"
#include "verbs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static char no_memory_text[] = "out of memory";
static mp_result no_memory = {.code = MP_SYSTEM, .message = no_memory_text};

mp_result *result_new(size_t n)
{
    mp_result *r = calloc(1, sizeof *r);

    if (r == NULL)
        return &no_memory;
    r->stages = calloc(n > 0 ? n : 1, sizeof *r->stages);
    r->n_stages = n;
    for (size_t i = 0; i < n && r->stages != NULL; i++) {
        r->stages[i].status = -1;
        r->stages[i].err = strdup("");
        if (r->stages[i].err == NULL) {
            mp_result_free(r);
            return &no_memory;
        }
    }
    if (r->stages == NULL) {
        free(r);
        return &no_memory;
    }
    return r;
}

bool result_is_usable(const mp_result *r)
{
    return r != &no_memory;
}

void mp_result_free(mp_result *r)
{
    if (r == NULL || r == &no_memory)
        return;
    for (size_t i = 0; i < r->n_stages; i++) {
        free(r->stages[i].err);
        free(r->stages[i].message);
    }
    free(r->stages);
    free(r->message);
    free(r->warnings);
    free(r->out);
    free(r);
}

/* The last line with something in it; *n its length. */
static const char *last_line(const char *text, size_t *n)
{
    size_t end = strlen(text), start;

    while (end > 0 && strchr(" \t\r\n", text[end - 1]) != NULL)
        end--;
    for (start = end; start > 0 && text[start - 1] != '\n' && text[start - 1] != '\r';)
        start--;
    *n = end - start;
    return text + start;
}

static int add_printable(buf *b, const char *text, size_t n)
{
    char *shown = mp_printable(text, n);
    int rc = shown != NULL ? buf_str(b, shown) : MP_SYSTEM;
    free(shown);
    return rc;
}

/* What zfs says begins with "cannot" and may go on for some lines: those before the first blank line or full stop. */
static int add_complaint(buf *b, const char *text)
{
    const char *from = NULL, *end;
    int rc = MP_OK;

    for (const char *s = text; s != NULL && *s != '\0'; s = strchr(s, '\n'), s += s != NULL)
        if (strncmp(s, "cannot ", 7) == 0)
            from = s;
    if (from == NULL)
        return MP_INVALID;
    end = strstr(from, ".\n");
    if (end == NULL)
        end = strstr(from, "\n\n");
    for (size_t n; rc == MP_OK && *from != '\0' && (end == NULL || from < end); from += n + (from[n] == '\n')) {
        n = strcspn(from, "\n");
        rc = buf_str(b, b->data[b->len - 1] == ' ' ? "" : " ");
        if (rc == MP_OK)
            rc = add_printable(b, from, n);
    }
    return rc;
}

/* "host: zfs send: "; argv may be NULL. */
static int add_place(buf *b, const char *host, const char *const argv[])
{
    buf title = {0};
    int rc = add_printable(b, host, strlen(host));

    if (rc == MP_OK)
        rc = buf_str(b, ": ");
    if (rc == MP_OK && argv != NULL) {
        rc = verb_title(&title, argv);
        if (rc == MP_OK)
            rc = add_printable(b, title.data, title.len);
        if (rc == MP_OK)
            rc = buf_str(b, ": ");
    }
    buf_free(&title);
    return rc;
}

static void describe(buf *b, const mp_stage_end *end, const pump_stage *s)
{
    size_t n;
    const char *line = last_line(end->err, &n);

    if (s->end.message[0] != '\0')
        (void)add_printable(b, s->end.message, strlen(s->end.message));
    else if (end->code == MP_EXIT)
        (void)buf_fmt(b, "exit %d", end->status);
    else if (end->code == MP_OK)
        (void)buf_str(b, "ended without an exit status");
    else
        (void)buf_str(b, mp_code_name(end->code));
    if (s->cut)
        (void)buf_str(b, ", after its reader had stopped reading");
    if (n > 0) {
        (void)buf_str(b, ": ");
        if (add_complaint(b, end->err) != MP_OK)
            (void)add_printable(b, line, n);
    }
}

void result_stage(mp_result *r, size_t i, const pump_stage *s, const char *host, const char *const argv[])
{
    mp_stage_end *end = &r->stages[i];
    char *err = tail_text(&s->err);
    buf b = {0};

    end->code = s->end.code;
    end->status = s->end.status;
    end->signal = s->end.signal;
    if (err != NULL) {
        free(end->err);
        end->err = err;
    }
    if (end->code == MP_OK && end->status == 0)
        return;
    if (add_place(&b, host, argv) == MP_OK)
        describe(&b, end, s);
    end->message = buf_take(&b);
    if (end->code == MP_OK) /* an end that nobody saw is no success */
        end->code = MP_SYSTEM;
}

void result_blame(mp_result *r, size_t i)
{
    const char *message = r->stages[i].message;

    assert(r->stages[i].code != MP_OK);
    r->code = r->stages[i].code;
    r->failed_stage = i;
    r->message = strdup(message != NULL ? message : mp_code_name(r->code));
}

int result_fail(mp_result *r, size_t i, const fault *f, const char *host, const char *const argv[])
{
    buf b = {0};

    if (add_place(&b, host, argv) == MP_OK)
        (void)add_printable(&b, f->text, strlen(f->text));
    r->code = f->code;
    r->failed_stage = i;
    r->message = buf_take(&b);
    return r->code;
}
