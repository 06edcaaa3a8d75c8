/*
 * result.h - floor 3: making an mp_result and the one line in it that says what failed where.
 */
#ifndef RESULT_H
#define RESULT_H

#include "pump.h"

/*
 * A result with n stages that have not run, code MP_OK. Never NULL: without memory it is a constant result that says so
 * (result_is_usable() is false), which may be returned and freed like any other, but not filled.
 */
mp_result *result_new(size_t n);
bool result_is_usable(const mp_result *r);

/* Fills stage i from how it ended, with its own message. `host` and `argv` name it. */
void result_stage(mp_result *r, size_t i, const pump_stage *s, const char *host, const char *const argv[]);

/* The cause is stage i: takes its code and message. */
void result_blame(mp_result *r, size_t i);

/*
 * The cause is f->code, said about stage i. With argv the message is "host: zfs send: text", with argv NULL "host:
 * text". Returns the code.
 */
int result_fail(mp_result *r, size_t i, const fault *f, const char *host, const char *const argv[]);

#endif
