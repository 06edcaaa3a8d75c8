/*
 * zfs.c - a stand-in for zfs and zpool that only prints: $DATASETS datasets below `tank`, as many copies of them below
 * `back/t`, and $SNAPSHOTS daily snapshots of each (and a bookmark of the newest one of a source), the last one an hour
 * before $NOW. Everything else succeeds and says nothing. It is as fast as it can be, as it is not what is measured.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BACK "back/t"
#define ROOT_GUID 4711LL
#define DAY 86400LL
#define MAX_SNAPSHOTS 1000000LL

static char block[1 << 20];
static size_t used;
static long long n_datasets, n_snapshots, now;
static char (*names)[16]; /* of snapshots: what is behind "bench-" */

static long long number(const char *name)
{
    const char *value = getenv(name);
    return value != NULL ? atoll(value) : 0;
}

static void flush(void)
{
    for (size_t at = 0; at < used;) {
        ssize_t n = write(1, block + at, used - at);
        if (n < 0)
            exit(1);
        at += (size_t)n;
    }
    used = 0;
}

static void put(const char *text, size_t n)
{
    if (used + n > sizeof block)
        flush();
    memcpy(block + used, text, n);
    used += n;
}

static void put_text(const char *text)
{
    put(text, strlen(text));
}

static void put_number(long long value)
{
    char digits[24], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    put(at, (size_t)(digits + sizeof digits - at));
}

/* One column of a row: of snapshot `at` (a bookmark too), or with -1 of the dataset itself. */
static void put_column(const char *column, size_t n, long long dataset, long long at)
{
    bool newest = at == n_snapshots - 1;

    if (n == 4 && memcmp(column, "guid", n) == 0)
        put_number(dataset == 0 ? ROOT_GUID : 1000000000000000LL + dataset * 10000000 + at + 1);
    else if (n == 9 && memcmp(column, "createtxg", n) == 0)
        put_number(1000 + at);
    else if (n == 8 && memcmp(column, "creation", n) == 0)
        put_number(now - 3600 - (n_snapshots - 1 - at) * DAY);
    else if (n == 8 && memcmp(column, "userrefs", n) == 0)
        put_number(newest);
    else if (n == 4 && memcmp(column, "type", n) == 0)
        put_text("filesystem");
    else if (n == 7 && memcmp(column, "written", n) == 0)
        put_number(0);
    else if (n == 10 && memcmp(column, "encryption", n) == 0)
        put_text("off");
    else
        put_text("-");
}

static void put_row(const char *name, const char *sign, const char *tail, const char *columns, long long dataset,
                    long long at)
{
    put_text(name);
    put_text(sign);
    if (*sign != '\0') {
        put_text("bench-");
        put(names[at], 14);
        put_text(tail);
    }
    while ((columns = strchr(columns, ',')) != NULL) {
        const char *column = ++columns;
        put("\t", 1);
        put_column(column, strcspn(column, ","), dataset, at);
    }
    put("\n", 1);
}

static void put_snapshots(const char *name, const char *columns)
{
    const char *digits = strrchr(name, 'd');
    long long dataset = digits != NULL ? atoll(digits + 1) : 0;
    char id[32];

    for (long long at = 0; at < n_snapshots; at++)
        put_row(name, "@", "", columns, dataset, at);
    (void)snprintf(id, sizeof id, ":%llx", (unsigned long long)ROOT_GUID);
    if (strncmp(name, "tank", 4) == 0)
        put_row(name, "#", id, columns, dataset, n_snapshots - 1);
}

static void put_tree(const char *columns)
{
    char name[64];

    put_row(BACK, "", "", columns, 0, -1);
    put_row(BACK "/tank", "", "", columns, 1, -1);
    for (long long i = 1; i <= n_datasets; i++) {
        (void)snprintf(name, sizeof name, BACK "/tank/d%05lld", i);
        put_row(name, "", "", columns, i + 1, -1);
    }
}

static void put_selection(const char *property)
{
    char line[200];

    for (long long i = 1; i <= n_datasets; i++) {
        (void)snprintf(line, sizeof line, "tank/d%05lld\t%s\tlocal\ttrue\n", i, property);
        put_text(line);
    }
}

static void name_snapshots(void)
{
    names = calloc((size_t)n_snapshots, sizeof *names);
    if (names == NULL)
        exit(1);
    for (long long at = 0; at < n_snapshots; at++) {
        time_t t = (time_t)(now - 3600 - (n_snapshots - 1 - at) * DAY);
        struct tm date;
        if (gmtime_r(&t, &date) == NULL || strftime(names[at], sizeof names[at], "%Y%m%d%H%M%S", &date) != 14)
            exit(1);
    }
}

static void note_call(const char *verb)
{
    const char *path = getenv("ZFS_LOG");
    FILE *f = path != NULL ? fopen(path, "a") : NULL;
    if (f != NULL && (fprintf(f, "%s\n", verb) < 0 || fclose(f) != 0))
        exit(1);
}

int main(int argc, char *argv[])
{
    const char *columns = "", *types = "";
    int i = 2;

    note_call(argc > 1 ? argv[1] : "");

    n_datasets = number("DATASETS");
    n_snapshots = number("SNAPSHOTS");
    now = number("NOW");
    if (argc < 3 || n_snapshots < 1 || n_snapshots > MAX_SNAPSHOTS || strstr(argv[0], "zpool") != NULL)
        return 0;
    for (; i < argc && argv[i][0] == '-'; i++) {
        bool has_value = strchr("otdsS", argv[i][1]) != NULL && argv[i][2] == '\0' && i + 1 < argc;
        if (has_value && argv[i][1] == 'o')
            columns = argv[i + 1];
        if (has_value && argv[i][1] == 't')
            types = argv[i + 1];
        i += has_value;
    }
    name_snapshots();
    if (strcmp(argv[1], "get") == 0 && i < argc && strncmp(argv[i], "autobackup:", 11) == 0) {
        put_selection(argv[i]);
    } else if (strcmp(argv[1], "list") == 0 && strstr(types, "snapshot") != NULL) {
        for (; i < argc; i++)
            put_snapshots(argv[i], columns);
    } else if (strcmp(argv[1], "list") == 0) {
        for (; i < argc; i++) {
            if (strcmp(argv[i], BACK) == 0)
                put_tree(columns);
            else
                put_row(argv[i], "", "", columns, 1, -1);
        }
    }
    flush();
    free(names);
    return 0;
}
