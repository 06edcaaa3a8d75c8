/*
 * embed.c - a program with moonpool inside: lists datasets on a host, sends a stream from it to a file here, asks a
 * policy.
 *
 *   embed DESTINATION SSH_CONFIG FILE [SNAPSHOT]
 */
#include <moonpool.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char *argv[])
{
    static const char *const list[] = {"zfs", "list", "-H", "-o", "name", NULL};
    const char *const send[] = {"zfs", "send", argc > 4 ? argv[4] : "tank@a", NULL};
    const char *const keep[] = {"dd", "bs=64k", argc > 3 ? argv[3] : "of=/dev/null", NULL};
    const char *policy = "return require 'moonpool.loader'.policy('autobackup').name";
    mp_host_options options = {.ssh_config = argc > 2 ? argv[2] : NULL};
    mp_host *there = NULL, *here = NULL;
    mp_result *listed = NULL, *sent = NULL;
    mp_state *state = NULL;
    char *name = NULL;
    int failed = 1;

    (void)signal(SIGPIPE, SIG_IGN);
    if (mp_host_open(&there, argc > 1 ? argv[1] : NULL, &options) != MP_OK || mp_host_open(&here, NULL, NULL) != MP_OK)
        goto out;
    if (mp_run(&listed, there, list, NULL) != MP_OK ||
        mp_pipe(&sent, (mp_stage[]){{there, send}, {here, keep}}, 2, NULL) != MP_OK)
        (void)fprintf(stderr, "%s\n", sent != NULL ? sent->message : listed->message);
    else if (mp_state_open(&state, NULL) == MP_OK && mp_state_eval(state, policy, "embed", &name) == MP_OK)
        failed = printf("%s%llu bytes\n%s\n", listed->out, (unsigned long long)sent->bytes, name) < 0;
out:
    free(name);
    mp_state_close(state);
    mp_result_free(listed);
    mp_result_free(sent);
    mp_host_close(there);
    mp_host_close(here);
    return failed;
}
