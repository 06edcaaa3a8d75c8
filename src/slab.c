/*
 * slab.c - a list of spare pieces for each size, and blocks that new ones are cut from.
 */
#include "slab.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)64 * 1024)

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define EACH_BY_MALLOC 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(EACH_BY_MALLOC)
static const size_t largest = 0; /* the sanitizer sees what is done to each piece */
#else
static const size_t largest = SLAB_LARGEST;
#endif

typedef union piece {
    union piece *next;
    max_align_t alignment;
} piece;

static size_t list_of(size_t size)
{
    return (size - 1) / SLAB_STEP;
}

static void *take(slab *s, size_t size)
{
    size_t list = list_of(size), rounded = (list + 1) * SLAB_STEP;
    piece *p = s->spare[list];

    if (p != NULL) {
        s->spare[list] = p->next;
        return p;
    }
    if (s->left < rounded) { /* the rest of the block is lost, less than one piece of BLOCK / SLAB_LARGEST */
        piece *block = malloc(BLOCK);
        if (block == NULL)
            return NULL;
        block->next = s->blocks;
        s->blocks = block;
        s->next = (char *)(block + 1);
        s->left = BLOCK - sizeof *block;
    }
    p = (piece *)(void *)s->next;
    s->next += rounded;
    s->left -= rounded;
    return p;
}

static void give_back(slab *s, void *p, size_t size)
{
    piece *spare = p;
    size_t list = list_of(size);

    spare->next = s->spare[list];
    s->spare[list] = spare;
}

static bool is_small(size_t size)
{
    return size > 0 && size <= largest;
}

void *slab_realloc(void *s, void *p, size_t old, size_t size)
{
    void *to;

    if (p == NULL)
        old = 0;
    if (!is_small(old) && !is_small(size)) {
        if (size > 0)
            return realloc(p, size);
        free(p);
        return NULL;
    }
    if (is_small(old) && is_small(size) && list_of(old) == list_of(size))
        return p;
    to = is_small(size) ? take(s, size) : size > 0 ? malloc(size) : NULL;
    if (to == NULL && size > 0)
        return NULL;
    if (p != NULL && to != NULL)
        memcpy(to, p, old < size ? old : size);
    if (is_small(old))
        give_back(s, p, old);
    else
        free(p);
    return to;
}

void slab_free(slab *s)
{
    for (piece *block = s->blocks, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    *s = (slab){0};
}
