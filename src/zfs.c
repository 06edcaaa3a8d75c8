/*
 * zfs.c - floor 3: hold, release and the resume token: thin functions over mp_run() that know how many snapshots fit on
 * a command line, and which complaints of zfs mean that the work is done already.
 */
#include "base.h"
#include "result.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a command: an sshd passes it on as one argument, which Linux bounds at 128 KiB, quotes included. */
#define COMMAND_MAX ((size_t)100 * 1024)

/* One of hold and release, and the complaint of it that is none. */
struct tagging {
    const char *verb, *settled;
};

static const struct tagging holding = {"hold", "tag already exists"};
static const struct tagging releasing = {"release", "no such tag"};

static bool same_pool(const char *a, const char *b)
{
    size_t n = strcspn(a, "/@");
    return strncmp(a, b, n) == 0 && n == strcspn(b, "/@");
}

/* A result for arguments that no such command can have. */
static int refuse(mp_result **out, mp_host *host, const char *what, const char *word)
{
    fault f = {0};

    *out = result_new(0);
    (void)fault_set(&f, MP_INVALID, "%s: '%s'", what, word);
    return result_is_usable(*out) ? result_fail(*out, 0, &f, mp_host_name(host), NULL) : (*out)->code;
}

/* Keeps the first failure, else the latest result. */
static void keep(mp_result **kept, mp_result *r)
{
    if (*kept != NULL && (*kept)->code != MP_OK) {
        mp_result_free(r);
        return;
    }
    mp_result_free(*kept);
    *kept = r;
}

/* Turns a failure that says that the work was done before into a success. */
static void forgive(mp_result *r, const struct tagging *t)
{
    if (r->code != MP_EXIT || strstr(r->stages[0].err, t->settled) == NULL)
        return;
    free(r->message);
    r->message = NULL;
    r->code = MP_OK;
}

/* After a batch that failed: each of its snapshots alone, so that the complaint about one does not hide another's. */
static void tag_singly(mp_result **kept, mp_host *host, const struct tagging *t, const char **argv)
{
    for (size_t i = 4; argv[i] != NULL; i++) {
        const char *single[] = {argv[0], argv[1], argv[2], argv[3], argv[i], NULL};
        mp_result *r;
        (void)mp_run(&r, host, single, NULL);
        forgive(r, t);
        keep(kept, r);
    }
}

/* Runs "zfs hold -- tag snapshots…". False if the rest need not be tried: the host does not answer, or is dry. */
static bool tag_batch(mp_result **kept, mp_host *host, const struct tagging *t, const char **argv)
{
    mp_result *r;
    int rc = mp_run(&r, host, argv, NULL);

    if (rc == MP_EXIT && argv[5] != NULL) {
        mp_result_free(r);
        tag_singly(kept, host, t, argv);
        return true;
    }
    forgive(r, t);
    keep(kept, r);
    return rc == MP_OK || rc == MP_EXIT;
}

/* Moves the next snapshots of one pool from `left` (taken ones are NULL) behind argv[4], as many as fit. */
static size_t fill_batch(const char **argv, const char **left, size_t n, size_t from)
{
    const char *pool = left[from];
    size_t filled = 4, bytes = 64 + 4 * strlen(argv[3]);

    for (size_t i = from; i < n; i++) {
        if (left[i] == NULL || !same_pool(pool, left[i]))
            continue;
        bytes += strlen(left[i]) + 3; /* a space and two quotes */
        if (filled > 4 && bytes > COMMAND_MAX)
            break;
        argv[filled++] = left[i];
        left[i] = NULL;
    }
    argv[filled] = NULL;
    return filled - 4;
}

static int tag_all(mp_result **out, mp_host *host, const struct tagging *t, const char *tag,
                   const char *const snapshots[])
{
    size_t n = argv_len(snapshots);
    const char **words = malloc((2 * n + 5) * sizeof *words), **left = words + n + 5;
    bool going = words != NULL;

    *out = NULL;
    if (words != NULL) {
        words[0] = "zfs", words[1] = t->verb, words[2] = "--", words[3] = tag;
        memcpy(left, snapshots, n * sizeof *left);
    }
    for (size_t i = 0; i < n && going; i++)
        if (left[i] != NULL && fill_batch(words, left, n, i) > 0)
            going = tag_batch(out, host, t, words);
    if (*out == NULL) {
        *out = result_new(0);
        if (words == NULL && result_is_usable(*out))
            (void)result_fail(*out, 0, &(fault){MP_SYSTEM, "out of memory"}, mp_host_name(host), NULL);
    }
    free(words);
    return (*out)->code;
}

static int tag_snapshots(mp_result **out, mp_host *host, const struct tagging *t, const char *tag,
                         const char *const snapshots[])
{
    if (tag[0] == '\0' || tag[0] == '-')
        return refuse(out, host, "not a tag", tag);
    for (size_t i = 0; snapshots[i] != NULL; i++)
        if (snapshots[i][0] == '-' || strchr(snapshots[i], '@') == NULL)
            return refuse(out, host, "not a snapshot", snapshots[i]);
    return tag_all(out, host, t, tag, snapshots);
}

int mp_hold(mp_result **out, mp_host *host, const char *tag, const char *const snapshots[])
{
    return tag_snapshots(out, host, &holding, tag, snapshots);
}

int mp_release(mp_result **out, mp_host *host, const char *tag, const char *const snapshots[])
{
    return tag_snapshots(out, host, &releasing, tag, snapshots);
}

int mp_resume_token(mp_result **out, mp_host *host, const char *dataset)
{
    const char *const argv[] = {"zfs", "get", "-Hp", "-o", "value", "receive_resume_token", dataset, NULL};
    mp_result *r;
    int rc;

    if (dataset[0] == '\0' || dataset[0] == '-')
        return refuse(out, host, "not a dataset", dataset);
    rc = mp_run(out, host, argv, NULL);
    r = *out;
    if (rc != MP_OK || r->out == NULL)
        return rc;
    r->out_len = strcspn(r->out, "\n");
    if (r->out_len == 1 && r->out[0] == '-')
        r->out_len = 0;
    r->out[r->out_len] = '\0';
    return rc;
}
