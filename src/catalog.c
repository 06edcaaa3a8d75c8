/*
 * catalog.c - `zfs list -Hp` rows in little memory: some 50 bytes a row of five numbers, as names are kept once however
 * often they recur, and a row is 8 bytes for each column and 8 more: its name, and the next row of its dataset.
 *
 * Rows and text live in blocks that never move, so that growing needs no second copy. Text is known by its offset, as
 * if its blocks were one; a dataset's name has the dataset's number in the four bytes before it.
 */
#include "catalog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 16
#define ROW_BLOCK ((size_t)4096) /* rows of a block */
#define DATASET_BLOCK ((size_t)256)
#define TEXT_BITS 18
#define TEXT_BLOCK ((size_t)1 << TEXT_BITS) /* bytes of a block */
#define MAX_ROW (TEXT_BLOCK / 2)            /* bytes: there is no longer row, only something that is not a listing */
#define NO_ROW 0x3fffffffU
#define ROW_MASK 0x3fffffffU
#define KIND_SHIFT 30

/* A hash table of strings in the arena; a slot is hash << 32 | offset, 0 is free. */
typedef struct names {
    uint64_t *slots;
    size_t cap, len;
} names;

/* Pieces of memory of one size. */
typedef struct blocks {
    void **list;
    size_t n;
} blocks;

typedef struct row {
    uint32_t name; /* offset of the part behind @ or #, or of "" */
    uint32_t next; /* the dataset's next row, and the kind in the upper two bits */
} row;

typedef struct dataset {
    uint32_t name, first, last;
} dataset;

struct mp_catalog {
    char types[MAX_COLUMNS + 1];
    size_t columns;
    blocks text; /* "" is at offset 4 */
    size_t text_len;
    names words, dataset_names;
    blocks rows; /* each the cells of ROW_BLOCK rows (numbers, or offsets of words), then the rows themselves */
    size_t n_rows;
    blocks datasets;
    size_t n_datasets;
    buf rest; /* the beginning of a row that was cut by the end of a chunk */
    fault fault;
};

/* ---- text ---------------------------------------------------------------------------------------------- */

static uint32_t hash_of(const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325U ^ n;

    for (; n >= 8; s += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, s, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15U;
        h ^= h >> 32;
    }
    for (; n > 0; s++, n--)
        h = (h ^ (unsigned char)*s) * 0x100000001b3U;
    return (uint32_t)((h * 0x9e3779b97f4a7c15U) >> 32);
}

static char *text_at(const mp_catalog *c, size_t offset)
{
    return (char *)c->text.list[offset >> TEXT_BITS] + (offset & (TEXT_BLOCK - 1));
}

static int no_memory(mp_catalog *c)
{
    return fault_set(&c->fault, MP_SYSTEM, "out of memory for a listing");
}

/* One more block; the list of them grows by powers of two. */
static int add_block(mp_catalog *c, blocks *b, size_t size)
{
    if ((b->n & (b->n - 1)) == 0) {
        void **longer = realloc(b->list, (b->n > 0 ? b->n * 2 : 1) * sizeof *longer);
        if (longer == NULL)
            return no_memory(c);
        b->list = longer;
    }
    b->list[b->n] = malloc(size);
    if (b->list[b->n] == NULL)
        return no_memory(c);
    b->n++;
    return MP_OK;
}

static void free_blocks(blocks *b)
{
    for (size_t i = 0; i < b->n; i++)
        free(b->list[i]);
    free(b->list);
}

/* Keeps `before` and behind it a string of n bytes, at *offset. All of it in one block, and shorter than that. */
static int add_text(mp_catalog *c, uint32_t *offset, const void *before, size_t n_before, const char *s, size_t n)
{
    size_t size = n_before + n + 1, left = c->text.n * TEXT_BLOCK - c->text_len;
    char *to;

    if (size > left) {
        if (c->text.n == (size_t)1 << (32 - TEXT_BITS))
            return fault_set(&c->fault, MP_LIMIT, "a listing with more than 4 GiB of different names");
        c->text_len += left;
        if (add_block(c, &c->text, TEXT_BLOCK) != MP_OK)
            return MP_SYSTEM;
    }
    to = text_at(c, c->text_len);
    memcpy(to, before, n_before);
    memcpy(to + n_before, s, n);
    to[n_before + n] = '\0';
    *offset = (uint32_t)(c->text_len + n_before);
    c->text_len += size;
    return MP_OK;
}

/* The slot of a string, or the free one where it belongs. */
static uint64_t *find_slot(const mp_catalog *c, const names *t, const char *s, size_t n, uint32_t hash)
{
    size_t i = hash & (t->cap - 1);

    for (; t->slots[i] != 0; i = (i + 1) & (t->cap - 1)) {
        const char *known = text_at(c, (uint32_t)t->slots[i]);
        if ((uint32_t)(t->slots[i] >> 32) == hash && strncmp(known, s, n) == 0 && known[n] == '\0')
            break;
    }
    return &t->slots[i];
}

/* Makes room for one more string. */
static int names_grow(mp_catalog *c, names *t)
{
    size_t cap = t->cap > 0 ? t->cap * 2 : 64;
    uint64_t *slots;

    if (t->len + 1 <= t->cap / 4 * 3)
        return MP_OK;
    slots = calloc(cap, sizeof *slots);
    if (slots == NULL)
        return no_memory(c);
    for (size_t i = 0, at; i < t->cap; i++) {
        for (at = (size_t)(t->slots[i] >> 32) & (cap - 1); slots[at] != 0;)
            at = (at + 1) & (cap - 1);
        slots[at] = t->slots[i]; /* a free one leaves a free one */
    }
    free(t->slots);
    t->slots = slots;
    t->cap = cap;
    return MP_OK;
}

/* The offset of a string that is kept once in that table; a new one with n_before bytes before it. */
static int intern(mp_catalog *c, names *t, uint32_t *offset, const void *before, size_t n_before, const char *s,
                  size_t n)
{
    uint32_t hash = hash_of(s, n);
    uint64_t *slot;
    int rc = names_grow(c, t);

    if (rc != MP_OK)
        return rc;
    slot = find_slot(c, t, s, n, hash);
    if (*slot == 0) {
        rc = add_text(c, offset, before, n_before, s, n);
        if (rc != MP_OK)
            return rc;
        *slot = (uint64_t)hash << 32 | *offset;
        t->len++;
    }
    *offset = (uint32_t)*slot;
    return MP_OK;
}

/* ---- datasets ------------------------------------------------------------------------------------------ */

static dataset *dataset_at(const mp_catalog *c, size_t number)
{
    assert(number < c->n_datasets);
    return (dataset *)c->datasets.list[number / DATASET_BLOCK] + number % DATASET_BLOCK;
}

/* The number of the dataset whose name is there. */
static uint32_t dataset_number(const mp_catalog *c, uint32_t offset)
{
    uint32_t number;
    memcpy(&number, text_at(c, offset) - sizeof number, sizeof number);
    return number;
}

/* The number of a dataset, which is added if it is new. */
static int dataset_of(mp_catalog *c, size_t *number, const char *name, size_t n)
{
    uint32_t at, next = (uint32_t)c->n_datasets;
    int rc = MP_OK;

    if (next > 0) { /* rows of one dataset mostly follow each other: the newest is asked first */
        const char *newest = text_at(c, dataset_at(c, next - 1)->name);
        *number = next - 1;
        if (strncmp(newest, name, n) == 0 && newest[n] == '\0')
            return MP_OK;
    }
    if (next == c->datasets.n * DATASET_BLOCK)
        rc = add_block(c, &c->datasets, DATASET_BLOCK * sizeof(dataset));
    if (rc == MP_OK)
        rc = intern(c, &c->dataset_names, &at, &next, sizeof next, name, n);
    if (rc != MP_OK)
        return rc;
    *number = dataset_number(c, at);
    if (*number == c->n_datasets) {
        c->n_datasets++;
        *dataset_at(c, *number) = (dataset){.name = at, .first = NO_ROW, .last = NO_ROW};
    }
    return MP_OK;
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

static int bad_row(mp_catalog *c, const char *line, size_t n, const char *why)
{
    char *shown = mp_printable(line, n < 120 ? n : 120);
    int rc = fault_set(&c->fault, MP_PARSE, "row %zu of the listing %s: %s%s", c->n_rows + 1, why,
                       shown != NULL ? shown : "", n > 120 ? "..." : "");
    free(shown);
    return rc;
}

static bool number_of(uint64_t *out, const char *s, size_t n)
{
    uint64_t value = 0;

    *out = 0;
    if ((n == 1 && *s == '-') || (n == 4 && memcmp(s, "none", 4) == 0))
        return true;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(unsigned char)s[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return n > 0;
}

static uint64_t *cells_at(const mp_catalog *c, size_t at)
{
    return (uint64_t *)c->rows.list[at / ROW_BLOCK] + at % ROW_BLOCK * c->columns;
}

static row *row_at(const mp_catalog *c, size_t at)
{
    assert(at < c->n_rows);
    return (row *)((uint64_t *)c->rows.list[at / ROW_BLOCK] + ROW_BLOCK * c->columns) + at % ROW_BLOCK;
}

static int rows_grow(mp_catalog *c)
{
    if (c->n_rows < c->rows.n * ROW_BLOCK)
        return MP_OK;
    if (c->n_rows + ROW_BLOCK >= NO_ROW)
        return fault_set(&c->fault, MP_LIMIT, "a listing of more than %u rows", NO_ROW);
    return add_block(c, &c->rows, ROW_BLOCK * (c->columns * sizeof(uint64_t) + sizeof(row)));
}

/* The cells of a row, behind its name: s is "\tvalue\tvalue…". */
static int parse_cells(mp_catalog *c, const char *line, size_t len, const char *s)
{
    const char *end = line + len;
    uint64_t *cells = cells_at(c, c->n_rows);

    for (size_t i = 0; i < c->columns; i++) {
        const char *tab;
        uint32_t word;
        int rc;

        if (s == end)
            return bad_row(c, line, len, "has too few columns");
        s++;
        tab = memchr(s, '\t', (size_t)(end - s));
        tab = tab != NULL ? tab : end;
        if (c->types[i] == 'u' && !number_of(&cells[i], s, (size_t)(tab - s)))
            return bad_row(c, line, len, "has a bad number");
        if (c->types[i] == 's') {
            rc = intern(c, &c->words, &word, "", 0, s, (size_t)(tab - s));
            if (rc != MP_OK)
                return rc;
            cells[i] = word;
        }
        s = tab;
    }
    return s == end ? MP_OK : bad_row(c, line, len, "has too many columns");
}

static void append_row(mp_catalog *c, size_t number, uint32_t kind, uint32_t name)
{
    dataset *d = dataset_at(c, number);
    uint32_t at = (uint32_t)c->n_rows;

    c->n_rows++;
    *row_at(c, at) = (row){.name = name, .next = kind << KIND_SHIFT | NO_ROW};
    if (d->first == NO_ROW)
        d->first = at;
    else
        row_at(c, d->last)->next = (row_at(c, d->last)->next & ~ROW_MASK) | at;
    d->last = at;
}

/* One line, without its newline. Nothing of a bad one is kept but, maybe, a name. */
static int parse_row(mp_catalog *c, const char *line, size_t len)
{
    size_t name_len, number, i;
    uint32_t kind, name = 4;
    int rc;

    if (len > MAX_ROW)
        return bad_row(c, line, len, "does not end");
    if (memchr(line, '\0', len) != NULL)
        return bad_row(c, line, len, "has a NUL byte");
    name_len = strcspn(line, "\t\n"); /* a line ends in one, or is a buffer's and ends in a NUL */
    i = strcspn(line, "@#\t\n");
    kind = i == name_len ? 0 : line[i] == '@' ? 1 : 2;
    if (i == 0 || (kind != 0 && i + 1 == name_len))
        return bad_row(c, line, len, "has no proper name");
    rc = rows_grow(c);
    if (rc == MP_OK)
        rc = parse_cells(c, line, len, line + name_len);
    if (rc == MP_OK && kind != 0)
        rc = intern(c, &c->words, &name, "", 0, line + i + 1, name_len - i - 1);
    if (rc == MP_OK)
        rc = dataset_of(c, &number, line, i);
    if (rc == MP_OK)
        append_row(c, number, kind, name);
    return rc;
}

/* ---- the public functions ------------------------------------------------------------------------------ */

int mp_catalog_new(mp_catalog **out, const char *columns)
{
    static const uint32_t beginning = 0; /* so that no offset is 0, and "" is at 4 */
    mp_catalog *c;
    uint32_t at;

    if (strlen(columns) > MAX_COLUMNS || columns[strspn(columns, "us")] != '\0')
        return MP_INVALID;
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return MP_SYSTEM;
    c->columns = strlen(columns);
    memcpy(c->types, columns, c->columns + 1);
    if (add_text(c, &at, &beginning, sizeof beginning, "", 0) != MP_OK) {
        mp_catalog_free(c);
        return MP_SYSTEM;
    }
    *out = c;
    return MP_OK;
}

void mp_catalog_free(mp_catalog *c)
{
    if (c == NULL)
        return;
    free_blocks(&c->text);
    free_blocks(&c->rows);
    free(c->words.slots);
    free(c->dataset_names.slots);
    free_blocks(&c->datasets);
    buf_free(&c->rest);
    free(c);
}

/* Adds a piece of a row that is not complete yet. */
static int keep_rest(mp_catalog *c, const char *bytes, size_t n)
{
    if (c->rest.len + n > MAX_ROW)
        return bad_row(c, bytes, n, "does not end");
    if (buf_add(&c->rest, bytes, n) != MP_OK)
        return no_memory(c);
    return MP_OK;
}

int mp_catalog_feed(mp_catalog *c, const void *bytes, size_t n)
{
    const char *s = bytes, *end = s + n, *newline;
    int rc = c->fault.code;

    for (; rc == MP_OK && s < end && (newline = memchr(s, '\n', (size_t)(end - s))) != NULL; s = newline + 1) {
        if (c->rest.len == 0) {
            rc = parse_row(c, s, (size_t)(newline - s));
            continue;
        }
        rc = keep_rest(c, s, (size_t)(newline - s));
        if (rc == MP_OK)
            rc = parse_row(c, c->rest.data, c->rest.len);
        c->rest.len = 0;
    }
    return rc == MP_OK && s < end ? keep_rest(c, s, (size_t)(end - s)) : rc;
}

int mp_catalog_end(mp_catalog *c)
{
    if (c->fault.code != MP_OK)
        return c->fault.code;
    return c->rest.len == 0 ? MP_OK : bad_row(c, c->rest.data, c->rest.len, "is cut off");
}

const char *catalog_fault(const mp_catalog *c)
{
    return c->fault.text;
}

size_t mp_catalog_datasets(const mp_catalog *c)
{
    return c->n_datasets;
}

size_t mp_catalog_rows(const mp_catalog *c)
{
    return c->n_rows;
}

const char *mp_catalog_dataset_name(const mp_catalog *c, size_t number)
{
    return text_at(c, dataset_at(c, number)->name);
}

ptrdiff_t mp_catalog_find(const mp_catalog *c, const char *name)
{
    size_t n = strlen(name);
    uint64_t slot = c->dataset_names.cap > 0 ? *find_slot(c, &c->dataset_names, name, n, hash_of(name, n)) : 0;
    return slot != 0 ? (ptrdiff_t)dataset_number(c, (uint32_t)slot) : -1;
}

ptrdiff_t mp_catalog_first(const mp_catalog *c, size_t number)
{
    return (ptrdiff_t)dataset_at(c, number)->first; /* a dataset is made by a row of it */
}

ptrdiff_t mp_catalog_next(const mp_catalog *c, size_t at)
{
    uint32_t next = row_at(c, at)->next & ROW_MASK;
    return next != NO_ROW ? (ptrdiff_t)next : -1;
}

int mp_catalog_kind(const mp_catalog *c, size_t at)
{
    return "\0@#"[row_at(c, at)->next >> KIND_SHIFT];
}

const char *mp_catalog_row_name(const mp_catalog *c, size_t at)
{
    return text_at(c, row_at(c, at)->name);
}

uint64_t mp_catalog_number(const mp_catalog *c, size_t at, size_t column)
{
    assert(at < c->n_rows && column >= 1 && column <= c->columns && c->types[column - 1] == 'u');
    return cells_at(c, at)[column - 1];
}

const char *mp_catalog_word(const mp_catalog *c, size_t at, size_t column)
{
    assert(at < c->n_rows && column >= 1 && column <= c->columns && c->types[column - 1] == 's');
    return text_at(c, (uint32_t)cells_at(c, at)[column - 1]);
}
