/*
 * linux.c - pipe2, eventfd, pidfd_open, splice, bigger pipes; or what POSIX has instead.
 */
#if defined(__linux__) && !defined(MP_PORTABLE)
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define HAVE_LINUX 1
#endif

#include "linux.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#ifdef HAVE_LINUX

#include <sys/eventfd.h>
#include <sys/syscall.h>

int os_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC);
}

int os_event(int fds[2])
{
    fds[0] = fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fds[0] < 0 ? -1 : 0;
}

void os_pipe_grow(int fd, size_t size)
{
    (void)fcntl(fd, F_SETPIPE_SZ, (int)size);
}

int os_pidfd(pid_t pid)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by definition */
#else
    (void)pid;
    return -1;
#endif
}

ssize_t os_splice(int in, int out, size_t n)
{
    return splice(in, NULL, out, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

short os_spawn_group(void)
{
#ifdef POSIX_SPAWN_SETSID
    return POSIX_SPAWN_SETSID;
#else
    return POSIX_SPAWN_SETPGROUP;
#endif
}

void os_spawn_close_rest(posix_spawn_file_actions_t *actions)
{
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
    (void)posix_spawn_file_actions_addclosefrom_np(actions, 3);
    return;
#endif
#endif
    (void)actions;
}

#else

static int set_flag(int fd, int get, int set, int flag)
{
    int flags = fcntl(fd, get);
    return flags < 0 ? -1 : fcntl(fd, set, flags | flag);
}

int os_pipe(int fds[2])
{
    if (pipe(fds) != 0)
        return -1;
    (void)set_flag(fds[0], F_GETFD, F_SETFD, FD_CLOEXEC);
    (void)set_flag(fds[1], F_GETFD, F_SETFD, FD_CLOEXEC);
    return 0;
}

int os_event(int fds[2])
{
    if (os_pipe(fds) != 0)
        return -1;
    (void)set_flag(fds[0], F_GETFL, F_SETFL, O_NONBLOCK);
    (void)set_flag(fds[1], F_GETFL, F_SETFL, O_NONBLOCK);
    return 0;
}

void os_pipe_grow(int fd, size_t size)
{
    (void)fd;
    (void)size;
}

int os_pidfd(pid_t pid)
{
    (void)pid;
    return -1;
}

ssize_t os_splice(int in, int out, size_t n)
{
    (void)in;
    (void)out;
    (void)n;
    errno = ENOSYS;
    return -1;
}

short os_spawn_group(void)
{
    return POSIX_SPAWN_SETPGROUP;
}

void os_spawn_close_rest(posix_spawn_file_actions_t *actions)
{
    (void)actions;
}

#endif
