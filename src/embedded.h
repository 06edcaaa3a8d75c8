/*
 * embedded.h - floor 5: the Lua files that the program carries; src/embed.lua writes them to build/embedded.c.
 */
#ifndef EMBEDDED_H
#define EMBEDDED_H

#include <stddef.h>

typedef struct embedded_file {
    const char
        *name; /* as in the tree: "lua/moonpool/plan.lua", "policies/autobackup.lua"; "argparse.lua" of the system */
    const char *text;
    size_t size;
} embedded_file;

/* Sorted by name; the one after the last has a NULL name. */
extern const embedded_file embedded_files[];

#endif
