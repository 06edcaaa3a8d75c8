/*
 * run.h - floor 3: mp_run() for a job's thread, with its cancel and its counter.
 */
#ifndef RUN_H
#define RUN_H

#include "base.h"

#include <stdatomic.h>

/* As mp_run(); ends early with MP_CANCELLED once `cancel` (or NULL) is set; counts output in *moved (or NULL) as it
 * comes. */
int run_command(mp_result **out, mp_host *host, const char *const argv[], const mp_run_options *options,
                const wake *cancel, _Atomic uint64_t *moved);

#endif
