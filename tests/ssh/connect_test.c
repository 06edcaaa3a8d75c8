/*
 * connect_test.c - coming to a far side over libssh: addresses, configuration, host keys, our keys.
 */
#include "server.h"

#include <sys/un.h>

#include <pthread.h>

/* A host of the server, with a configuration file in its directory. */
static mp_host *open_far(const server *s, const char *config, const char *name, double connect_timeout)
{
    char path[128];
    mp_host *host;
    (void)snprintf(path, sizeof path, "%s/%s", s->dir, config);
    assert_int_equal(
        mp_host_open(&host, name, &(mp_host_options){.ssh_config = path, .connect_timeout = connect_timeout}), MP_OK);
    return host;
}

/* Runs `true` there. The result is the caller's. */
static mp_result *knock(const server *s, const char *config, const char *name)
{
    mp_host *host = open_far(s, config, name, 0);
    mp_result *r;
    (void)mp_run(&r, host, ARGV("true"), &(mp_run_options){.timeout = 40});
    mp_host_close(host);
    return r;
}

static void expect(const server *s, const char *config, int code, const char *mentions)
{
    mp_result *r = knock(s, config, "far");
    if (r->code != code)
        fail_msg("%s instead of %s: %s", mp_code_name(r->code), mp_code_name(code), r->message);
    if (mentions != NULL) {
        assert_mentions(r->message, mentions);
        assert_null(strchr(r->message, '\n'));
    }
    mp_result_free(r);
}

/* Whether a shell command in the server's directory succeeds. */
static bool holds(const server *s, const char *test)
{
    char text[1024];
    mp_result *r;
    bool ok;
    (void)snprintf(text, sizeof text, "cd \"$0\" && %s", test);
    r = run_here(ARGV("sh", "-c", text, s->dir), NULL);
    ok = r->code == MP_OK;
    mp_result_free(r);
    return ok;
}

/* ---- addresses ------------------------------------------------------------------------------------------- */

static void a_refused_connection_names_address_and_port(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "sed 's/Port .*/Port 1/' config >closed");
    expect(&s, "closed", MP_CONNECT, "far: can't connect to 127.0.0.1 port 1: Connection refused");
    server_stop(&s);
}

static void an_unknown_name_is_named(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "sed 's/HostName .*/HostName no-such-host.invalid/' config >nowhere");
    expect(&s, "nowhere", MP_CONNECT, "can't find the address of no-such-host.invalid");
    server_stop(&s);
}

/* A port whose queue of connections is full: the next one gets no answer. */
static int full_port(int *port, int fillers[8])
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    for (int i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM, 0);
        (void)fd_nonblock(fillers[i]);
        (void)connect(fillers[i], (struct sockaddr *)&a, sizeof a);
    }
    *port = ntohs(a.sin_port);
    return fd;
}

static void an_address_without_an_answer_is_given_up_in_time(void **state)
{
    server s;
    int port, fillers[8], fd = full_port(&port, fillers);
    char script[128];
    mp_host *host;
    mp_result *r;
    (void)state;
    server_start(&s, NULL);
    (void)snprintf(script, sizeof script, "sed 's/Port .*/Port %d/' config >full", port);
    in_server(&s, script);
    host = open_far(&s, "full", "far", 0.3);
    assert_int_equal(mp_run(&r, host, ARGV("true"), NULL), MP_CONNECT);
    assert_mentions(r->message, "no answer within 0.3 s");
    assert_true(r->seconds < 3);
    mp_result_free(r);
    mp_host_close(host);
    server_stop(&s);
    for (int i = 0; i < 8; i++)
        (void)close(fillers[i]);
    (void)close(fd);
}

/* Cancels a job, which must end for that, and before so many seconds. */
static void cancel_within(mp_job *job, double seconds)
{
    double before = clock_monotonic();
    mp_job_cancel(job);
    assert_int_equal(mp_job_wait(job)->code, MP_CANCELLED);
    assert_true(clock_monotonic() - before < seconds);
    mp_job_free(job);
}

static void connecting_can_be_cancelled(void **state)
{
    server s;
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char script[128];
    mp_host *host;
    mp_job *job;
    (void)state;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 5), 0); /* connections are taken, and nobody ever speaks */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    server_start(&s, NULL);
    (void)snprintf(script, sizeof script, "sed 's/Port .*/Port %d/' config >mute", ntohs(a.sin_port));
    in_server(&s, script);
    host = open_far(&s, "mute", "far", 0);
    assert_int_equal(mp_job_run(&job, NULL, host, ARGV("true"), NULL), MP_OK);
    (void)poll(NULL, 0, 100);
    cancel_within(job, 5);
    mp_host_close(host);
    server_stop(&s);
    (void)close(fd);
}

/* ---- configuration ----------------------------------------------------------------------------------------- */

static void the_configuration_is_followed(void **state)
{
    server s;
    (void)state;
    server_start(&s, "Ciphers aes256-ctr");
    in_server(&s,
              "mkdir inc; cp config inc/far.conf; "
              "printf 'Include %s/inc/*.conf\\nHost f*\\n  Compression yes\\n  Ciphers aes256-ctr\\n' \"$0\" >outer; "
              "printf 'Include %s/inc/*.conf\\nHost f*\\n  Ciphers aes128-gcm@openssh.com\\n' \"$0\" >cipher");
    expect(&s, "outer", MP_OK, NULL);
    expect(&s, "cipher", MP_CONNECT, "aes256-ctr");
    in_server(&s, "printf 'Host other !far\\n  Port 1\\nHost *\\n' | cat - config >patterns");
    expect(&s, "patterns", MP_OK, NULL);
    server_stop(&s);
}

static void a_proxy_command_leads_there(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "{ cat config; echo \"  ProxyCommand ssh -F $0/config -W 127.0.0.1:%p far\"; } | sed 's/HostName "
                  ".*/HostName 127.0.0.1/' >proxied");
    expect(&s, "proxied", MP_OK, NULL);
    server_stop(&s);
}

static void a_proxy_ends_with_what_needs_it(void **state)
{
    server s;
    mp_host *host;
    mp_job *job;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "{ cat config; echo '  ProxyCommand sleep 4808'; } >proxy");
    host = open_far(&s, "proxy", "far", 0);
    assert_int_equal(mp_job_run(&job, NULL, host, ARGV("true"), NULL), MP_OK);
    appear("sleep 4808");
    cancel_within(job, 5);
    mp_host_close(host);
    assert_true(gone("sleep 4808"));
    server_stop(&s);
}

static void a_keyword_without_effect_is_named_once(void **state)
{
    server s;
    mp_host *host;
    mp_result *r;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "{ cat config; echo '  CertificateFile /dev/null'; echo '  ControlMaster auto'; echo 'Host else'; "
                  "echo '  PKCS11Provider x'; } >odd");
    host = open_far(&s, "odd", "far", 0);
    assert_int_equal(mp_run(&r, host, ARGV("true"), NULL), MP_OK);
    assert_mentions(r->warnings, "CertificateFile has no effect here; --ssh-program ssh would follow it");
    assert_null(strstr(r->warnings, "ControlMaster"));
    assert_null(strstr(r->warnings, "PKCS11"));
    mp_result_free(r);
    assert_int_equal(mp_run(&r, host, ARGV("true"), NULL), MP_OK);
    assert_null(r->warnings);
    mp_result_free(r);
    mp_host_close(host);
    server_stop(&s);
}

static void a_configuration_that_libssh_can_not_read_is_told_with_the_way_out(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "{ echo 'Match localnetwork 10.0.0.0/8'; cat config; } >match");
    expect(&s, "match", MP_CONFIG, "--ssh-program ssh");
    server_stop(&s);
}

/* ---- the host's key ---------------------------------------------------------------------------------------- */

static void an_unknown_key_is_refused_with_the_line_to_add(void **state)
{
    server s;
    mp_result *r;
    char script[1024];
    const char *line;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "mv known_hosts was; : >known_hosts");
    expect(&s, "config", MP_HOSTKEY, "SHA256:");
    assert_true(holds(&s, "! [ -s known_hosts ]"));
    r = knock(&s, "config", "far");
    line = strstr(r->message, "echo '");
    assert_non_null(line);
    (void)snprintf(script, sizeof script, "%s", line);
    in_server(&s, script); /* what the message says to type */
    mp_result_free(r);
    expect(&s, "config", MP_OK, NULL);
    server_stop(&s);
}

static void a_changed_key_is_refused_with_the_line_to_remove_it(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "sed \"s|ssh-ed25519 .*|$(cut -d' ' -f1,2 other.pub)|\" -i known_hosts; cp known_hosts was");
    expect(&s, "config", MP_HOSTKEY, "has CHANGED");
    expect(&s, "config", MP_HOSTKEY, "ssh-keygen -f ");
    assert_true(holds(&s, "cmp -s known_hosts was"));
    server_stop(&s);
}

static void a_revoked_key_is_refused(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "echo \"@revoked * $(cat hostkey.pub)\" >>known_hosts");
    expect(&s, "config", MP_HOSTKEY, "@revoked");
    server_stop(&s);
}

static void accept_new_stores_an_unknown_key_and_still_refuses_a_changed_one(void **state)
{
    server s;
    mp_result *r;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "{ cat config; echo '  StrictHostKeyChecking accept-new'; } >new; : >known_hosts");
    r = knock(&s, "new", "far");
    assert_int_equal(r->code, MP_OK);
    assert_mentions(r->warnings, "is new, and was added to");
    mp_result_free(r);
    expect(&s, "config", MP_OK, NULL);
    in_server(&s, "sed \"s|ssh-ed25519 .*|$(cut -d' ' -f1,2 other.pub)|\" -i known_hosts");
    expect(&s, "new", MP_HOSTKEY, "has CHANGED");
    server_stop(&s);
}

static void without_strict_checking_an_unknown_key_passes_with_a_warning(void **state)
{
    server s;
    mp_result *r;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "{ cat config; echo '  StrictHostKeyChecking no'; } >lax; : >known_hosts");
    r = knock(&s, "lax", "far");
    assert_int_equal(r->code, MP_OK);
    assert_mentions(r->warnings, "anybody could be there");
    mp_result_free(r);
    server_stop(&s);
}

/* ---- our keys ---------------------------------------------------------------------------------------------- */

static void a_key_that_is_not_accepted_is_named(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "sed 's|/key$|/other|' config >wrong");
    expect(&s, "wrong", MP_AUTH, "/other");
    server_stop(&s);
}

static void a_key_with_a_passphrase_is_named_as_such(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "ssh-keygen -q -t ed25519 -N secret -f locked; sed 's|/key$|/locked|' config >locked.conf");
    expect(&s, "locked.conf", MP_AUTH, "/locked (not readable without a passphrase)");
    server_stop(&s);
}

static void a_certificate_beside_the_key_is_shown(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    server_halt(&s);
    in_server(&s, "ssh-keygen -q -t ed25519 -N '' -f ca; ssh-keygen -q -s ca -I me -n root other.pub; sed "
                  "'s|/key$|/other|' config >signed");
    {
        char more[128];
        (void)snprintf(more, sizeof more, "TrustedUserCAKeys %s/ca.pub", s.dir);
        server_run(&s, more);
    }
    expect(&s, "signed", MP_OK, NULL);
    server_stop(&s);
}

/* Starts an agent for this process, with some keys of the server's directory. */
static void agent_start(const server *s, const char *keys)
{
    char text[512], path[128];
    (void)snprintf(text, sizeof text,
                   "ssh-agent -a \"$0/agent\" | sed -n 's/.*SSH_AGENT_PID=\\([0-9]*\\).*/\\1/p' >agentpid; export "
                   "SSH_AUTH_SOCK=\"$0/agent\"; %s",
                   keys);
    in_server(s, text);
    (void)snprintf(path, sizeof path, "%s/agent", s->dir);
    (void)setenv("SSH_AUTH_SOCK", path, 1);
}

static void agent_stop(const server *s)
{
    in_server(s, "kill $(cat agentpid)");
    (void)unsetenv("SSH_AUTH_SOCK");
}

static void the_agent_has_the_key(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    agent_start(&s, "ssh-add -q key");
    in_server(&s, "grep -v 'IdentityFile\\|IdentityAgent' config >agent.conf");
    expect(&s, "agent.conf", MP_OK, NULL);
    (void)unsetenv("SSH_AUTH_SOCK");
    in_server(&s, "{ cat agent.conf; echo \"  IdentityAgent $0/agent\"; } >named.conf");
    expect(&s, "named.conf", MP_OK, NULL);
    agent_stop(&s);
    server_stop(&s);
}

static void eight_wrong_keys_in_the_agent_neither_hang_nor_hide_the_right_file(void **state)
{
    server s;
    double before;
    (void)state;
    server_start(&s, NULL);
    agent_start(&s, "for i in 1 2 3 4 5 6 7 8; do ssh-keygen -q -t ed25519 -N '' -f wrong$i; ssh-add -q wrong$i; done");
    in_server(&s, "grep -v IdentityAgent config >named; grep -v 'IdentityFile\\|IdentityAgent' config >unnamed");
    expect(&s, "named", MP_OK, NULL);
    before = clock_monotonic();
    expect(&s, "unnamed", MP_AUTH, "IdentitiesOnly");
    assert_true(clock_monotonic() - before < 10);
    agent_stop(&s);
    server_stop(&s);
}

/* A socket on which somebody listens, and says nothing. */
static int mute_agent(const server *s)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s/mute", s->dir);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 5), 0);
    (void)setenv("SSH_AUTH_SOCK", a.sun_path, 1);
    return fd;
}

static void an_agent_that_says_nothing_is_passed_over(void **state)
{
    server s;
    mp_host *host;
    mp_job *job;
    int fd;
    (void)state;
    server_start(&s, NULL);
    fd = mute_agent(&s);
    in_server(&s, "grep -v 'IdentityFile\\|IdentityAgent' config >agent.conf");
    expect(&s, "agent.conf", MP_AUTH, "the agent (it does not answer)");
    host = open_far(&s, "agent.conf", "far", 0);
    assert_int_equal(mp_job_run(&job, NULL, host, ARGV("true"), NULL), MP_OK);
    (void)poll(NULL, 0, 500);
    cancel_within(job, 4);
    mp_host_close(host);
    (void)close(fd);
    expect(&s, "agent.conf", MP_AUTH, "the agent (it can't be reached)");
    (void)unsetenv("SSH_AUTH_SOCK");
    server_stop(&s);
}

/* ---- what must not come along ------------------------------------------------------------------------------ */

static void no_child_inherits_a_connection(void **state)
{
    server s;
    mp_host *host;
    mp_result *r;
    (void)state;
    server_start(&s, NULL);
    host = open_far(&s, "config", "far", 0);
    assert_int_equal(mp_run(&r, host, ARGV("true"), NULL), MP_OK);
    mp_result_free(r);
    r = run_here(SH("ls -l /proc/self/fd | grep -c socket:"), NULL);
    assert_string_equal(r->out, "0\n");
    mp_result_free(r);
    mp_host_close(host);
    server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_refused_connection_names_address_and_port),
        TEST(an_unknown_name_is_named),
        TEST(an_address_without_an_answer_is_given_up_in_time),
        TEST(connecting_can_be_cancelled),
        TEST(the_configuration_is_followed),
        TEST(a_proxy_command_leads_there),
        TEST(a_proxy_ends_with_what_needs_it),
        TEST(a_keyword_without_effect_is_named_once),
        TEST(a_configuration_that_libssh_can_not_read_is_told_with_the_way_out),
        TEST(an_unknown_key_is_refused_with_the_line_to_add),
        TEST(a_changed_key_is_refused_with_the_line_to_remove_it),
        TEST(a_revoked_key_is_refused),
        TEST(accept_new_stores_an_unknown_key_and_still_refuses_a_changed_one),
        TEST(without_strict_checking_an_unknown_key_passes_with_a_warning),
        TEST(a_key_that_is_not_accepted_is_named),
        TEST(a_key_with_a_passphrase_is_named_as_such),
        TEST(a_certificate_beside_the_key_is_shown),
        TEST(the_agent_has_the_key),
        TEST(eight_wrong_keys_in_the_agent_neither_hang_nor_hide_the_right_file),
        TEST(an_agent_that_says_nothing_is_passed_over),
        TEST(no_child_inherits_a_connection),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    (void)unsetenv("SSH_AUTH_SOCK");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
