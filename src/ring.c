/*
 * ring.c - a queue of blocks with a list of spare ones. Spare blocks are taken last in, first out: they are still in
 * the processor's cache.
 */
#include "ring.h"

#include <assert.h>
#include <stdlib.h>

#define BLOCK_MAX ((size_t)256 * 1024)
#define BLOCK_MIN ((size_t)4 * 1024)

struct ring_block {
    struct ring_block *next;
    size_t start, end;
    char data[];
};

void ring_init(ring *r, size_t limit)
{
    size_t block = limit / 8;

    block = block > BLOCK_MAX ? BLOCK_MAX : block < BLOCK_MIN ? BLOCK_MIN : block;
    *r = (ring){.block = block, .max_blocks = limit > block ? limit / block : 1};
}

bool ring_has_room(const ring *r)
{
    return (r->last != NULL && r->last->end < r->block) || r->spare != NULL || r->blocks < r->max_blocks;
}

char *ring_space(ring *r, size_t *n)
{
    struct ring_block *b = r->last;

    if (b == NULL || b->end == r->block) {
        b = r->spare;
        if (b != NULL) {
            r->spare = b->next;
        } else {
            if (r->blocks == r->max_blocks)
                return NULL;
            b = malloc(sizeof *b + r->block);
            if (b == NULL) {
                r->max_blocks = r->blocks; /* go on with what there is */
                return NULL;
            }
            r->blocks++;
        }
        b->next = NULL;
        b->start = b->end = 0;
        if (r->last != NULL)
            r->last->next = b;
        else
            r->first = b;
        r->last = b;
    }
    *n = r->block - b->end;
    return b->data + b->end;
}

void ring_put(ring *r, size_t n)
{
    assert(r->last != NULL && n <= r->block - r->last->end);
    r->last->end += n;
    r->len += n;
}

const char *ring_bytes(const ring *r, size_t *n)
{
    if (r->len == 0)
        return NULL;
    *n = r->first->end - r->first->start;
    return r->first->data + r->first->start;
}

void ring_drop(ring *r, size_t n)
{
    struct ring_block *b = r->first;

    assert(b != NULL && n <= b->end - b->start);
    b->start += n;
    r->len -= n;
    if (b->start < b->end)
        return;
    if (b == r->last) { /* empty: start over in the same block */
        b->start = b->end = 0;
        return;
    }
    r->first = b->next;
    b->next = r->spare;
    r->spare = b;
}

static void free_list(struct ring_block *b)
{
    while (b != NULL) {
        struct ring_block *next = b->next;
        free(b);
        b = next;
    }
}

void ring_free(ring *r)
{
    free_list(r->first);
    free_list(r->spare);
    *r = (ring){0};
}
