/*
 * verbs.h - floor 2: which commands only read. See also mp_verb_reads() in moonpool.h.
 */
#ifndef VERBS_H
#define VERBS_H

#include "base.h"

/* Appends what a message calls a command: "zfs receive", "true"; sudo and directories are left out. */
int verb_title(buf *b, const char *const argv[]);

#endif
