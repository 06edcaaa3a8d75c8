/*
 * pipe.h - floor 3: mp_pipe() for a job's thread, with its cancel and its counter.
 */
#ifndef PIPE_H
#define PIPE_H

#include "base.h"

#include <stdatomic.h>

/* As mp_pipe(); ends early with MP_CANCELLED once `cancel` (or NULL) is set; counts the first edge in *moved (or NULL).
 */
int pipe_stages(mp_result **out, const mp_stage stages[], size_t n, const mp_pipe_options *options, const wake *cancel,
                _Atomic uint64_t *moved);

#endif
