/*
 * session_test.c - what connect_test.c leaves: addresses of both families, cancelling at every stage, Match and
 * ProxyJump, and what a proxy must not leave behind.
 */
#include "server.h"

#include "session.h"

#include <netdb.h>
#include <pthread.h>

/* ---- names ------------------------------------------------------------------------------------------------- */

/*
 * Takes the place of the C library's in this program, so that "both.test" has an address of each family and ::1 is the
 * first one; other names are numbers.
 */
static struct addrinfo *address(const char *text, const char *service, const struct addrinfo *hints)
{
    struct addrinfo *a = calloc(1, sizeof *a);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtol(service, NULL, 10))};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool six = strchr(text, ':') != NULL;
    assert_non_null(a);
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *a = (struct addrinfo){.ai_family = six ? AF_INET6 : AF_INET, .ai_socktype = hints->ai_socktype};
    a->ai_addrlen = six ? sizeof v6 : sizeof v4;
    a->ai_addr = malloc(a->ai_addrlen);
    assert_non_null(a->ai_addr);
    if (six)
        memcpy(a->ai_addr, &v6, sizeof v6);
    else
        memcpy(a->ai_addr, &v4, sizeof v4);
    return a;
}

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict out)
{
    if (strcmp(name, "both.test") != 0) {
        *out = address(name, service, hints);
        return 0;
    }
    *out = address(hints->ai_family == AF_INET ? "127.0.0.1" : "::1", service, hints);
    if (hints->ai_family == AF_UNSPEC)
        (*out)->ai_next = address("127.0.0.1", service, hints);
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;
        free(list->ai_addr);
        free(list);
        list = next;
    }
}

/* ---- opening ----------------------------------------------------------------------------------------------- */

typedef struct attempt {
    int code;
    fault f;
    char *warnings;
    double seconds;
} attempt;

static attempt open_session(const server *s, const char *config, const char *name, const wake *cancel)
{
    attempt a = {0};
    session *out = NULL;
    buf warnings = {0};
    char path[128];
    double before = clock_monotonic();
    (void)snprintf(path, sizeof path, "%s/%s", s->dir, config);
    a.code = session_open(&out, name, &(mp_host_options){.ssh_config = path}, cancel, &warnings, &a.f);
    a.seconds = clock_monotonic() - before;
    a.warnings = buf_take(&warnings);
    if (a.code == MP_OK)
        session_close(out);
    return a;
}

static void expect(const server *s, const char *config, const char *name, int code, const char *mentions)
{
    attempt a = open_session(s, config, name, NULL);
    if (a.code != code)
        fail_msg("%s instead of %s: %s", mp_code_name(a.code), mp_code_name(code), a.f.text);
    if (mentions != NULL)
        assert_mentions(a.f.text, mentions);
    free(a.warnings);
}

static void a_name_with_addresses_of_both_families_is_reached_where_it_listens(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "sed 's/127.0.0.1/both.test/' config >both; sed 's/127.0.0.1/both.test/' known_hosts >>known_hosts2; "
                  "cat known_hosts2 >>known_hosts; { cat both; echo AddressFamily inet6; } >six");
    expect(&s, "both", "far", MP_OK, NULL);
    expect(&s, "six", "far", MP_CONNECT, "can't connect to ::1 port");
    server_stop(&s);
}

static void every_address_that_failed_is_named(void **state)
{
    server s;
    attempt a;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "sed 's/127.0.0.1/both.test/; s/Port .*/Port 1/' config >closed");
    a = open_session(&s, "closed", "far", NULL);
    assert_int_equal(a.code, MP_CONNECT);
    assert_string_equal(a.f.text,
                        "can't connect to ::1 port 1: Connection refused; 127.0.0.1 port 1: Connection refused");
    free(a.warnings);
    server_stop(&s);
}

/* ---- cancelling -------------------------------------------------------------------------------------------- */

static void *set_soon(void *arg)
{
    (void)poll(NULL, 0, 300);
    wake_set(arg);
    return NULL;
}

static void expect_cancelled(const server *s, const char *config)
{
    wake cancel;
    pthread_t thread;
    attempt a;
    assert_int_equal(wake_open(&cancel), MP_OK);
    assert_int_equal(pthread_create(&thread, NULL, set_soon, &cancel), 0);
    a = open_session(s, config, "far", &cancel);
    (void)pthread_join(thread, NULL);
    assert_int_equal(a.code, MP_CANCELLED);
    assert_true(a.seconds < 1);
    free(a.warnings);
    wake_close(&cancel);
}

static void waiting_for_an_address_can_be_cancelled(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0), fillers[8];
    char script[128];
    server s;
    (void)state;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    for (int i = 0; i < 8; i++) { /* its queue is full: the next one gets no answer */
        fillers[i] = socket(AF_INET, SOCK_STREAM, 0);
        (void)fd_nonblock(fillers[i]);
        (void)connect(fillers[i], (struct sockaddr *)&a, sizeof a);
    }
    server_start(&s, NULL);
    (void)snprintf(script, sizeof script, "sed 's/Port .*/Port %d/' config >full", ntohs(a.sin_port));
    in_server(&s, script);
    expect_cancelled(&s, "full");
    server_stop(&s);
    for (int i = 0; i < 8; i++)
        (void)close(fillers[i]);
    (void)close(fd);
}

static void waiting_for_a_word_on_our_keys_can_be_cancelled(void **state)
{
    server s;
    (void)state;
    server_start(&s, "AuthorizedKeysCommand /bin/sleep 1.3\nAuthorizedKeysCommandUser root");
    in_server(&s, "sed 's|/key$|/other|' config >wrong");
    expect_cancelled(&s, "wrong");
    assert_true(gone("/bin/sleep 1.3"));
    server_stop(&s);
}

/* ---- configuration ----------------------------------------------------------------------------------------- */

static void match_sections_by_names_are_followed(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "grep -v 'User \\|IdentityFile' config >bare; "
                  "{ cat bare; printf 'Match user nobody\\n IdentityFile %s/other\\n"
                  "Match originalhost far,near user root host 127.*\\n IdentityFile %s/key\\n' $0 $0; } >matched; "
                  "{ cat bare; printf 'Match !user root originalhost far\\n IdentityFile %s/key\\n"
                  "Match all\\n IdentityFile %s/other\\n' $0 $0; } >unmatched");
    expect(&s, "matched", "root@far", MP_OK, NULL);
    expect(&s, "unmatched", "root@far", MP_AUTH, "/other");
    server_stop(&s);
}

static void what_a_match_by_command_would_change_here_is_named(void **state)
{
    server s;
    attempt a;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "{ cat config; printf 'Match exec \"true\"\\n IdentityFile /nowhere\\n'; } >exec");
    a = open_session(&s, "exec", "far", NULL);
    assert_int_equal(a.code, MP_OK);
    assert_mentions(a.warnings, "/exec:10: IdentityFile has no effect here");
    free(a.warnings);
    server_stop(&s);
}

static void a_keyword_may_have_an_equals_sign(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "sed 's/^\\([A-Z][A-Za-z]*\\) /\\1=/; s/^Host=/Host /' config >equals; grep -q ^Port= equals");
    expect(&s, "equals", "far", MP_OK, NULL);
    server_stop(&s);
}

static void a_user_that_libssh_refuses_is_no_other_user(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    expect(&s, "config", "a`b`@far", MP_CONFIG, "a`b`@far");
    server_stop(&s);
}

/* ---- proxies ----------------------------------------------------------------------------------------------- */

static void a_jump_follows_the_configuration_that_was_named(void **state)
{
    server s;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "{ sed '1s/$/ behind/' config; printf 'Host behind\\n ProxyJump far\\n'; } >jump; "
                  "sed 's/ProxyJump far/ProxyJump nowhere.invalid/' jump >astray");
    expect(&s, "jump", "behind", MP_OK, NULL);
    expect(&s, "astray", "behind", MP_CONNECT, NULL);
    server_stop(&s);
}

static void a_proxy_that_fails_is_told_soon(void **state)
{
    server s;
    attempt a;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "{ cat config; echo ' ProxyCommand false'; } >failing");
    a = open_session(&s, "failing", "far", NULL);
    assert_int_equal(a.code, MP_CONNECT);
    assert_true(a.f.text[0] != '\0');
    assert_true(a.seconds < 2);
    free(a.warnings);
    server_stop(&s);
}

static void no_child_inherits_the_socket_to_a_proxy(void **state)
{
    server s;
    session *ssh = NULL;
    buf warnings = {0};
    fault f = {0};
    char path[128];
    mp_result *r;
    (void)state;
    server_start(&s, NULL);
    in_server(&s, "{ cat config; echo \" ProxyCommand ssh -F $0/config -W %h:%p far\"; } >proxied");
    (void)snprintf(path, sizeof path, "%s/proxied", s.dir);
    if (session_open(&ssh, "far", &(mp_host_options){.ssh_config = path}, NULL, &warnings, &f) != MP_OK)
        fail_msg("%s", f.text);
    r = run_here(SH("ls -l /proc/self/fd | grep -c socket:"), NULL);
    assert_string_equal(r->out, "0\n");
    mp_result_free(r);
    session_close(ssh);
    buf_free(&warnings);
    server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_with_addresses_of_both_families_is_reached_where_it_listens),
        TEST(every_address_that_failed_is_named),
        TEST(waiting_for_an_address_can_be_cancelled),
        TEST(waiting_for_a_word_on_our_keys_can_be_cancelled),
        TEST(match_sections_by_names_are_followed),
        TEST(what_a_match_by_command_would_change_here_is_named),
        TEST(a_keyword_may_have_an_equals_sign),
        TEST(a_user_that_libssh_refuses_is_no_other_user),
        TEST(a_jump_follows_the_configuration_that_was_named),
        TEST(a_proxy_that_fails_is_told_soon),
        TEST(no_child_inherits_the_socket_to_a_proxy),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    (void)unsetenv("SSH_AUTH_SOCK");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
