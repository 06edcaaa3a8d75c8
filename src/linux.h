/*
 * linux.h - floor 0: what Linux has beyond POSIX.1-2008, each with a fallback that works everywhere (slower, or by
 * polling). The only place that asks which system this is. -DMP_PORTABLE takes the fallbacks on Linux too, for the
 * tests.
 */
#ifndef LINUX_H
#define LINUX_H

#include <spawn.h>
#include <stddef.h>
#include <sys/types.h>

/* A pipe, close-on-exec from birth where the system can. 0, or -1 with errno. */
int os_pipe(int fds[2]);

/*
 * What a wake is made of: fds[1] written makes fds[0] readable; both non-blocking; one and the same descriptor where
 * the system has event counters. A write or read moves 8 bytes. 0, or -1 with errno.
 */
int os_event(int fds[2]);

/* Asks for a pipe that holds `size` bytes; a refusal leaves it as it was. Only for pipes nobody has used yet: resizing
 * a pipe with bytes in it lost wake-ups on older kernels. */
void os_pipe_grow(int fd, size_t size);

/* A descriptor that is readable once that child has ended, or -1: then it must be asked for with waitid(). */
int os_pidfd(pid_t pid);

/* Moves up to `n` bytes from pipe to pipe without copying or blocking. Bytes moved, 0 at the end of `in`, or -1 with
 * errno: EAGAIN (nothing there, or no room), EPIPE, or ENOSYS and EINVAL where it can't be done at all. */
ssize_t os_splice(int in, int out, size_t n);

/* The flag for a spawn into a session of its own or, where there is none, a process group of its own. */
short os_spawn_group(void);

/* Adds to a spawn's actions: close whatever else the process has open and forgot to mark close-on-exec. */
void os_spawn_close_rest(posix_spawn_file_actions_t *actions);

#endif
