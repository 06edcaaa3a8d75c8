/*
 * ring.h - floor 0: bytes on their way from one program to the next. Blocks are allocated when they are needed and
 * reused, so a buffer of 1 GiB costs nothing until a reader falls behind, and never more than its limit.
 */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stddef.h>

struct ring_block;

typedef struct ring {
    struct ring_block *first, *last, *spare;
    size_t len;   /* bytes in it */
    size_t block; /* bytes of a block */
    size_t blocks, max_blocks;
} ring;

/* An empty ring of at most `limit` bytes (at least 4 KiB). Allocates nothing. */
void ring_init(ring *r, size_t limit);
/* True if ring_space() has something to give, memory allowing. */
bool ring_has_room(const ring *r);
/* Where up to *n bytes may be put next; NULL if it is full, or if there is no memory and nothing to wait for. */
char *ring_space(ring *r, size_t *n);
/* Says that n bytes were put there. */
void ring_put(ring *r, size_t n);
/* The oldest bytes, *n of them in one piece; NULL if there are none. */
const char *ring_bytes(const ring *r, size_t *n);
/* Removes n of the oldest bytes, no more than ring_bytes() gave. */
void ring_drop(ring *r, size_t n);
/* Lets go of all memory; the ring is empty and can't be used before the next ring_init(). */
void ring_free(ring *r);

#endif
