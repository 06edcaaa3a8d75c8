/*
 * bind_system.c - floor 5: clocks, files, locks and the terminal, as far as Lua's own library does not have them.
 */
#define _XOPEN_SOURCE 700 /* realpath() */
#include "base.h"
#include "bind.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- clocks and text ----------------------------------------------------------------------------------- */

static int core_clock(lua_State *L)
{
    lua_pushnumber(L, clock_wall());
    return 1;
}

static int core_monotonic(lua_State *L)
{
    lua_pushnumber(L, clock_monotonic());
    return 1;
}

/* Pushes a malloc'd text and frees it. */
static int push_and_free(lua_State *L, char *text)
{
    if (text == NULL)
        return luaL_error(L, "out of memory");
    lua_pushstring(L, text);
    free(text);
    return 1;
}

static int core_quote(lua_State *L)
{
    return push_and_free(L, mp_quote(bind_check_argv(L, 1)));
}

static int core_printable(lua_State *L)
{
    size_t n;
    const char *bytes = luaL_checklstring(L, 1, &n);
    return push_and_free(L, mp_printable(bytes, n));
}

/* ---- the terminal -------------------------------------------------------------------------------------- */

static int core_isatty(lua_State *L)
{
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* core.columns(): the width of the terminal on standard error, or nil */
static int core_columns(lua_State *L)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 0;
    lua_pushinteger(L, size.ws_col);
    return 1;
}

/* ---- files --------------------------------------------------------------------------------------------- */

static int core_stat(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct stat st;

    if (stat(path, &st) != 0)
        return bind_errno(L, path);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, S_ISREG(st.st_mode) ? "file" : S_ISDIR(st.st_mode) ? "directory" : "other");
    lua_setfield(L, -2, "kind");
    lua_pushinteger(L, st.st_uid);
    lua_setfield(L, -2, "uid");
    lua_pushinteger(L, st.st_mode & 07777);
    lua_setfield(L, -2, "mode");
    lua_pushinteger(L, st.st_size);
    lua_setfield(L, -2, "size");
    return 1;
}

/* core.readdir(path): the names in a directory, in no order */
static int core_readdir(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    const struct dirent *entry;
    lua_Integer n = 0;
    DIR *dir;

    lua_newtable(L); /* before the directory is open, as it may raise */
    dir = opendir(path);
    if (dir == NULL)
        return bind_errno(L, path);
    while ((entry = readdir(dir)) != NULL) {
        lua_pushstring(L, entry->d_name);
        lua_rawseti(L, -2, ++n);
    }
    (void)closedir(dir);
    return 1;
}

/* core.mkdir(path, mode): true also if it is there already; parents that are missing are made with the same mode */
static int core_mkdir(lua_State *L)
{
    size_t n;
    const char *path = luaL_checklstring(L, 1, &n);
    mode_t mode = (mode_t)luaL_checkinteger(L, 2);
    char *parent = lua_newuserdatauv(L, n + 1, 0);
    struct stat st;

    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        (void)memcpy(parent, path, n + 1);
        parent[slash - path] = '\0';
        (void)mkdir(parent, mode); /* what is wrong with one is told by the last */
    }
    if (mkdir(path, mode) != 0 && (errno != EEXIST || stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
        return bind_errno(L, path);
    lua_pushboolean(L, 1);
    return 1;
}

static int write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0 && errno != EINTR)
            return -1;
        if (written > 0) {
            bytes += written;
            n -= (size_t)written;
        }
    }
    return 0;
}

/* A device, a pipe, or another name of an open file: nothing may take its place. */
static bool is_written_into(const char *path)
{
    struct stat st;
    return strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0 ||
           (stat(path, &st) == 0 && !S_ISREG(st.st_mode));
}

static int write_into(const char *path, const char *text, size_t n)
{
    /* Not blocking, as a FIFO may have no reader. */
    int fd = open(path, O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), failed;

    if (fd < 0)
        return -1;
    failed = fcntl(fd, F_SETFL, O_APPEND) != 0 || write_all(fd, text, n) != 0;
    return close(fd) != 0 || failed ? -1 : 0;
}

static int write_beside(const char *path, const char *temporary, const char *text, size_t n)
{
    int fd, failed, error;

    (void)unlink(temporary); /* of a process that had our number and was killed */
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    failed = write_all(fd, text, n) != 0 || fsync(fd) != 0;
    failed = close(fd) != 0 || failed != 0;
    if (!failed && rename(temporary, path) == 0)
        return 0;
    error = errno;
    (void)unlink(temporary);
    errno = error;
    return -1;
}

/*
 * core.write_file(path, text): the whole file or none of it, also for somebody who reads it at this moment. A symbolic
 * link stays one; a device or a pipe is written into.
 */
static int core_write_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);
    char *target = realpath(path, NULL);
    const char *file = lua_pushstring(L, target != NULL ? target : path);
    int rc;

    free(target);
    rc = is_written_into(path) ? write_into(path, text, n)
                               : write_beside(file, lua_pushfstring(L, "%s.%d.new", file, (int)getpid()), text, n);
    if (rc != 0)
        return bind_errno(L, path);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- locks --------------------------------------------------------------------------------------------- */

static const char lock_class[] = "moonpool.lock";

static int lock_close(lua_State *L)
{
    int *fd = luaL_checkudata(L, 1, lock_class);
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
    return 0;
}

/* Says who has the lock: its process wrote its number there. */
static int locked_by(lua_State *L, int fd)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);

    text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
    return bind_failure(L, MP_LOCKED, "process %s", text[0] != '\0' ? text : "unknown");
}

/* core.lock(path): a lock that goes with the process, or nil, "locked" and who has it */
static int core_lock(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
    char text[32];
    int n;

    *fd = -1;
    luaL_setmetatable(L, lock_class);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return bind_errno(L, path);
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? locked_by(L, *fd) : bind_errno(L, path);
    n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(*fd, 0) != 0 || write_all(*fd, text, (size_t)n) != 0)
        return bind_errno(L, path);
    return 1;
}

/* ---- an editor ------------------------------------------------------------------------------------------ */

extern char **environ;

/* core.edit(editor, path): lets a person edit a file on this terminal; the editor may have words behind it -> exit
 * status */
static int core_edit(lua_State *L)
{
    const char *editor = luaL_checkstring(L, 1);
    const char *path = luaL_checkstring(L, 2);
    const char *const argv[] = {"sh", "-c", "exec $0 \"$1\"", editor, path, NULL};
    pid_t pid;
    int status = 0;
    int err = posix_spawnp(&pid, "sh", NULL, NULL, (char *const *)(uintptr_t)argv, environ);

    if (err != 0) {
        errno = err;
        return bind_errno(L, "sh");
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return bind_errno(L, editor);
    lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return 1;
}

/* ---- this machine -------------------------------------------------------------------------------------- */

static int core_uid(lua_State *L)
{
    lua_pushinteger(L, geteuid());
    return 1;
}

static int core_hostname(lua_State *L)
{
    char name[256];
    if (gethostname(name, sizeof name) != 0)
        return bind_errno(L, "hostname");
    name[sizeof name - 1] = '\0';
    lua_pushstring(L, name);
    return 1;
}

void bind_system_open(lua_State *L)
{
    static const luaL_Reg lock_methods[] = {{"close", lock_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"clock", core_clock},
                                         {"monotonic", core_monotonic},
                                         {"quote", core_quote},
                                         {"printable", core_printable},
                                         {"isatty", core_isatty},
                                         {"columns", core_columns},
                                         {"stat", core_stat},
                                         {"readdir", core_readdir},
                                         {"mkdir", core_mkdir},
                                         {"write_file", core_write_file},
                                         {"lock", core_lock},
                                         {"uid", core_uid},
                                         {"hostname", core_hostname},
                                         {"edit", core_edit},
                                         {NULL, NULL}};

    bind_class(L, lock_class, lock_methods, lock_close, lock_close);
    luaL_setfuncs(L, functions, 0);
}
