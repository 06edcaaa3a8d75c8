/*
 * slab.h - floor 0: memory in small pieces that mostly live briefly, such as a Lua state asks for. A piece that is
 * given back is the next one of its size; nothing is merged or split. One thread at a time.
 */
#ifndef SLAB_H
#define SLAB_H

#include <stddef.h>

#define SLAB_STEP ((size_t)16)     /* sizes are rounded up to a multiple of this */
#define SLAB_LARGEST ((size_t)512) /* bytes; what is larger comes from malloc() */

/* All zero: an empty one. */
typedef struct slab {
    void *spare[SLAB_LARGEST / SLAB_STEP]; /* of each size, a list */
    void *blocks;                          /* what malloc() gave for pieces */
    char *next;                            /* the rest of the newest block */
    size_t left;
} slab;

/*
 * Makes the piece at p, of `old` bytes, one of `size` bytes, and keeps what fits of its contents. p is NULL for a new
 * one
 * (`old` is not looked at); size is 0 to give it back. Returns where it is now, aligned for any object; NULL for size
 * 0, or without memory, and then p is as it was. This is what lua_newstate() wants, with a slab as its first argument.
 */
void *slab_realloc(void *s, void *p, size_t old, size_t size);
/* Lets go of all pieces of up to SLAB_LARGEST bytes; larger ones must have been given back. */
void slab_free(slab *s);

#endif
