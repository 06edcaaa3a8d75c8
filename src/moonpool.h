/*
 * moonpool.h - the whole public interface: hosts, commands, pipes, jobs, listings and a Lua state.
 *
 * Conventions. Functions that can fail return 0 or a negative `enum mp_code`; out parameters come first and
 * are set only on success, unless said otherwise. What a function hands out belongs to the caller, who gives
 * it back with the function named beside it. Strings are UTF-8 or raw bytes ending in NUL; sizes are bytes,
 * times are seconds. A broken contract (a NULL where none is allowed) is an assert; a broken world is a code.
 * The library never prints, never exits, and installs no signal handler; writing to a closed pipe must not kill
 * the process, so an embedder ignores SIGPIPE (as Lua hosts and servers commonly do).
 *
 * Threads. A host may be used from many threads at once. Everything else is used by one thread at a time,
 * except where "any thread" is said. Lua is never entered from a thread of the library.
 */
#ifndef MOONPOOL_H
#define MOONPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MP_VERSION "0.1.0"

#if defined(__GNUC__)
#define MP_API __attribute__((visibility("default")))
#else
#define MP_API
#endif

struct lua_State;

/* ---- codes ------------------------------------------------------------------------------------------- */

/* Why something did not succeed. Words cross into Lua, not numbers: mp_code_name() gives them. */
enum mp_code {
    MP_OK = 0,
    MP_EXIT = -1,        /* "exit": a program ended with a status that is not 0 */
    MP_SIGNAL = -2,      /* "signal": a program was ended by a signal */
    MP_TIMEOUT = -3,     /* "timeout": the time allowed for a command passed */
    MP_STALLED = -4,     /* "stalled": no byte moved through a pipe for the time allowed */
    MP_CANCELLED = -5,   /* "cancelled": mp_job_cancel() */
    MP_SPAWN = -6,       /* "spawn": the program is not there or can't be started */
    MP_CONNECT = -7,     /* "connect": name look-up, refusal or time-out of a connection */
    MP_HOSTKEY = -8,     /* "hostkey": the host key is unknown, changed or revoked */
    MP_AUTH = -9,        /* "auth": the server accepted none of our keys */
    MP_DISCONNECT = -10, /* "disconnect": the connection was lost under way */
    MP_CONFIG = -11,     /* "config": an ssh configuration that can't be served */
    MP_DRY = -12,        /* "dry": a command that writes was refused on a dry host */
    MP_LIMIT = -13,      /* "limit": more output than the caller allowed */
    MP_INVALID = -14,    /* "invalid": an argument that no such command can have */
    MP_PARSE = -15,      /* "parse": output that is not what the command promises to print */
    MP_LOCKED = -16,     /* "locked": another process holds the lock */
    MP_SYSTEM = -17,     /* "system": a system call failed, memory included; the message has errno's text */
};

/* The word of a code ("ok", "exit", …); never NULL. Any thread. */
MP_API const char *mp_code_name(int code);

/* ---- hosts ------------------------------------------------------------------------------------------- */

/* A machine where commands run: this one, or one behind SSH with its sessions. Counted references. */
typedef struct mp_host mp_host;

typedef struct mp_host_options {
    bool dry;                /* refuse every command that is not known to only read */
    const char *ssh_config;  /* a configuration file instead of ~/.ssh/config and /etc/ssh/ssh_config, or NULL */
    const char *ssh_program; /* use this ssh program as transport instead of libssh, or NULL */
    double connect_timeout;  /* seconds per address tried, 0: 10 */
    double dead_after;       /* seconds without a sign of life until a connection counts as lost, 0: 45 */
    bool no_shell;           /* one channel a command from the start (for forced commands); else found out */
} mp_host_options;

/*
 * Opens a host. `destination` is NULL or "local" for this machine, else "[user@]host" or an alias of the ssh
 * configuration. Nothing is connected yet: that happens with the first command, whose result carries what went
 * wrong. `options` may be NULL. MP_INVALID: a destination no host can have. Closed by mp_host_close().
 */
MP_API int mp_host_open(mp_host **out, const char *destination, const mp_host_options *options);

/* Lets go of a host; its sessions end with the last reference (running jobs have one each). NULL is allowed. */
MP_API void mp_host_close(mp_host *host);

/* The destination as given ("local" for this machine). Valid as long as the host. */
MP_API const char *mp_host_name(const mp_host *host);
MP_API bool mp_host_is_dry(const mp_host *host);

/* True if a command with these arguments is known to only read. Any thread. */
MP_API bool mp_verb_reads(const char *const argv[]);

/* ---- results ----------------------------------------------------------------------------------------- */

/* How one program of a command or pipe ended. */
typedef struct mp_stage_end {
    int code;      /* MP_OK, MP_EXIT, MP_SIGNAL, MP_SPAWN, MP_DISCONNECT, … */
    int status;    /* exit status, -1 if there is none */
    int signal;    /* the signal's number on a local host, else 0 */
    char *err;     /* what it wrote on standard error: the first and last 32 KiB, never NULL */
    char *message; /* one line that says what failed where; NULL if nothing did */
} mp_stage_end;

/* What came of a command or pipe. Owned by whoever got it; freed by mp_result_free(). */
typedef struct mp_result {
    int code;            /* MP_OK or the reason */
    char *message;       /* one line, control characters escaped; NULL if code is MP_OK */
    char *warnings;      /* lines about the host (ignored ssh keywords, …), each said once per host; or NULL */
    size_t n_stages;     /* 1 for a command */
    size_t failed_stage; /* index of the stage that is the cause, if code is not MP_OK */
    mp_stage_end *stages;
    char *out; /* captured standard output of a command, NUL after its end; NULL for a pipe */
    size_t out_len;
    uint64_t bytes; /* bytes that passed the first edge of a pipe; bytes of output of a command */
    double seconds; /* from start to end, connecting included */
} mp_result;

MP_API void mp_result_free(mp_result *result);

/* ---- listings ---------------------------------------------------------------------------------------- */

/* A table of `zfs list -Hp` rows, parsed as they arrive and kept compactly. */
typedef struct mp_catalog mp_catalog;

/*
 * Makes an empty catalog. `columns`: one letter per column after the first one, which is always `name`:
 * 'u' an unsigned number ("-" and "none" are 0), 's' a word, kept once however often it occurs.
 * MP_INVALID: another letter, or more than 16 columns. Freed by mp_catalog_free().
 */
MP_API int mp_catalog_new(mp_catalog **out, const char *columns);
MP_API void mp_catalog_free(mp_catalog *catalog);

/* Takes the next bytes of a listing. MP_PARSE: a row with another number of columns or a bad number. */
MP_API int mp_catalog_feed(mp_catalog *catalog, const void *bytes, size_t n);
/* Says that the listing is complete. MP_PARSE: it ended inside a row. */
MP_API int mp_catalog_end(mp_catalog *catalog);

/* Datasets are numbered from 0 in the order of first appearance; rows of one dataset are its own row (a plain
 * name), snapshots (`@`) and bookmarks (`#`), in the order they were listed. */
MP_API size_t mp_catalog_datasets(const mp_catalog *catalog);
MP_API size_t mp_catalog_rows(const mp_catalog *catalog);
MP_API const char *mp_catalog_dataset_name(const mp_catalog *catalog, size_t dataset);
/* The number of the dataset of that name, or -1. */
MP_API ptrdiff_t mp_catalog_find(const mp_catalog *catalog, const char *dataset);
/* First row of a dataset and the row of the same dataset after `row`; -1 if there is none. */
MP_API ptrdiff_t mp_catalog_first(const mp_catalog *catalog, size_t dataset);
MP_API ptrdiff_t mp_catalog_next(const mp_catalog *catalog, size_t row);
/* What a row is: 0 the dataset itself, '@' a snapshot, '#' a bookmark; and the name after that sign. */
MP_API int mp_catalog_kind(const mp_catalog *catalog, size_t row);
MP_API const char *mp_catalog_row_name(const mp_catalog *catalog, size_t row);
/* Column 1 … n of a row, by its type. Valid until the catalog is fed or freed. */
MP_API uint64_t mp_catalog_number(const mp_catalog *catalog, size_t row, size_t column);
MP_API const char *mp_catalog_word(const mp_catalog *catalog, size_t row, size_t column);

/* ---- commands and pipes ------------------------------------------------------------------------------ */

typedef struct mp_run_options {
    const void *input; /* bytes for standard input, or NULL for none */
    size_t input_len;
    double timeout;      /* seconds, 0: no limit; connecting has limits of its own, but nothing is started after it */
    size_t limit;        /* bytes of standard output kept, 0: 64 MiB; more is MP_LIMIT */
    mp_catalog *catalog; /* standard output goes in here as it arrives, not into result->out */
} mp_run_options;

typedef struct mp_stage {
    mp_host *host;
    const char *const *argv; /* ends with NULL; argv[0] is looked for in PATH and the sbin directories */
} mp_stage;

/* A rate that several pipes keep to together. */
typedef struct mp_throttle mp_throttle;

/* `rate`: bytes per second, 0: no limit. 0 or MP_SYSTEM. */
MP_API int mp_throttle_new(mp_throttle **out, uint64_t rate);
/* Another rate, also for pipes that are at work with it. Any thread. */
MP_API void mp_throttle_set(mp_throttle *throttle, uint64_t rate);
/* Once no pipe uses it any more. NULL is allowed. */
MP_API void mp_throttle_free(mp_throttle *throttle);

typedef struct mp_pipe_options {
    size_t buffer;         /* bytes of the buffer of each edge, 0: 16 MiB */
    uint64_t rate;         /* bytes per second through the first edge, 0: no limit */
    mp_throttle *throttle; /* instead of `rate`: one that is shared with others; used until the pipe has ended */
    double stall_timeout;  /* seconds without a byte moved anywhere in the pipe until MP_STALLED, 0: never */
} mp_pipe_options;

/* A command or pipe at work on a thread of its own. */
typedef struct mp_job mp_job;

/* Where jobs that ended are picked up: one thread sleeps on it, any number of jobs report to it. */
typedef struct mp_queue mp_queue;

MP_API int mp_queue_new(mp_queue **out);
/* Cancels and waits for every job that still reports to it, then frees it. NULL is allowed. */
MP_API void mp_queue_free(mp_queue *queue);
/* Readable as long as a job that ended has not been taken; belongs to the queue. For a foreign event loop. */
MP_API int mp_queue_fd(const mp_queue *queue);
/* Takes a job that ended, waiting up to `timeout` seconds (negative: without limit); NULL: none, or mp_queue_wake(). */
MP_API mp_job *mp_queue_take(mp_queue *queue, double timeout);
/* Ends the present or next mp_queue_take() early. Safe in a signal handler and in any thread. */
MP_API void mp_queue_wake(mp_queue *queue);

/*
 * Starts a command or a pipe; all arguments are copied (a catalog and a throttle are used until the job has ended). On
 * a dry host a command that writes ends at once with MP_DRY, a pipe if any of its stages writes. A remote program that
 * is still running when its job is cancelled, times out or stalls is ended on the far side too. `queue` may be NULL:
 * then mp_job_wait() is the only way to learn of the end. MP_SYSTEM: no thread. The job belongs to the caller:
 * mp_job_free().
 */
MP_API int mp_job_run(mp_job **out, mp_queue *queue, mp_host *host, const char *const argv[],
                      const mp_run_options *options);
MP_API int mp_job_pipe(mp_job **out, mp_queue *queue, const mp_stage stages[], size_t n,
                       const mp_pipe_options *options);
/* Asks a job to end; its result will say MP_CANCELLED unless it ended before. Any thread. */
MP_API void mp_job_cancel(mp_job *job);
MP_API bool mp_job_done(const mp_job *job);
/* Bytes moved so far (a pipe's first edge, a command's output). Any thread. */
MP_API uint64_t mp_job_bytes(const mp_job *job);
/* Waits for the end and gives the result, which stays the job's. */
MP_API const mp_result *mp_job_wait(mp_job *job);
/* Cancels if need be, waits for the end, frees job and result. NULL is allowed. */
MP_API void mp_job_free(mp_job *job);

/* The same without a thread of its own: blocks until the command or pipe has ended. Always sets *out. Returns its code.
 */
MP_API int mp_run(mp_result **out, mp_host *host, const char *const argv[], const mp_run_options *options);
MP_API int mp_pipe(mp_result **out, const mp_stage stages[], size_t n, const mp_pipe_options *options);

/* ---- zfs --------------------------------------------------------------------------------------------- */

/*
 * Places or releases one tag on many snapshots with as few commands as the length limits allow. A snapshot that
 * already has the tag (hold), or no longer has it (release), is no failure. *out: the result of the last command, or of
 * the first one that failed for another reason (the rest is still tried); always set. Returns its code.
 */
MP_API int mp_hold(mp_result **out, mp_host *host, const char *tag, const char *const snapshots[]);
MP_API int mp_release(mp_result **out, mp_host *host, const char *tag, const char *const snapshots[]);
/* The dataset's receive_resume_token as *out->out, without the newline; empty if there is none. */
MP_API int mp_resume_token(mp_result **out, mp_host *host, const char *dataset);

/* ---- text -------------------------------------------------------------------------------------------- */

/* A command as it can be pasted into any POSIX shell; malloc'd, NULL without memory. */
MP_API char *mp_quote(const char *const argv[]);
/* `n` bytes with control characters and invalid UTF-8 as \xNN, newline and tab as \n and \t; malloc'd. */
MP_API char *mp_printable(const char *bytes, size_t n);

/* ---- Lua --------------------------------------------------------------------------------------------- */

/* A Lua 5.4 state with moonpool in it: `require "moonpool"` works, policies are found, unsafe functions are stubs. */
typedef struct mp_state mp_state;

/* `program`: argv[0] of the program, for messages and to know under which name it was called; may be NULL. */
MP_API int mp_state_open(mp_state **out, const char *program);
MP_API void mp_state_close(mp_state *state);
MP_API struct lua_State *mp_state_lua(mp_state *state);
/*
 * Runs Lua text. *result: the first value it returns, as tostring() shows it (NULL if none); on failure the error's
 * one line. malloc'd; may be NULL if not wanted. `chunk` names the text in messages. Returns 0 or MP_PARSE (syntax),
 * MP_EXIT (an error was raised).
 */
MP_API int mp_state_eval(mp_state *state, const char *text, const char *chunk, char **result);
/* The command line program: argv as main() has it. Returns the exit status. */
MP_API int mp_state_main(mp_state *state, int argc, char *const argv[]);
/* Asks the running script to stop: every job is cancelled, `await` raises "cancelled". Returns true if an earlier one
 * is still being dealt with: then whoever asks may want to end the process. Safe in a signal handler. */
MP_API bool mp_state_interrupt(mp_state *state);

/* Opens the module in a Lua state of somebody else; what `require "moonpool"` calls. */
MP_API int luaopen_moonpool(struct lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
