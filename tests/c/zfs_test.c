/*
 * zfs_test.c - hold, release and resume token, against a script named zfs that writes down how it was called.
 */
#include "helper.h"

static char dir[] = "/tmp/zfs_testXXXXXX", calls[64];

/* Puts a zfs in front of PATH. It appends its arguments to `calls`, then runs `body`. */
static void fake_zfs(const char *body)
{
    char name[64];
    FILE *f;
    (void)snprintf(name, sizeof name, "%s/zfs", dir);
    f = fopen(name, "w");
    assert_non_null(f);
    (void)fprintf(f, "#!/bin/sh\nprintf '%%s %%s %%s' \"$1\" \"$3\" \"$#\" >> %s\nshift 3 2>/dev/null\n", calls);
    (void)fprintf(f, "all=\"$*\"; printf ' %%s %%s\\n' \"$1\" \"${#all}\" >> %s\n%s\n", calls, body);
    (void)fchmod(fileno(f), 0755);
    (void)fclose(f);
    (void)unlink(calls);
}

/* What was called, one line each: verb, tag, number of arguments, first snapshot, bytes of all snapshots. */
static char *called(void)
{
    buf b = {0};
    char block[4096];
    size_t n;
    FILE *f = fopen(calls, "r");
    while (f != NULL && (n = fread(block, 1, sizeof block, f)) > 0)
        assert_int_equal(buf_add(&b, block, n), MP_OK);
    if (f != NULL)
        (void)fclose(f);
    return buf_take(&b);
}

static void expect(int code, int (*tag)(mp_result **, mp_host *, const char *, const char *const[]),
                   const char *const snapshots[], const char *message)
{
    mp_host *host = here(false);
    mp_result *r = NULL;
    int rc = tag(&r, host, "moon", snapshots);
    mp_host_close(host);
    assert_non_null(r);
    assert_int_equal(rc, code);
    assert_int_equal(r->code, code);
    if (message == NULL)
        assert_null(r->message);
    else
        assert_mentions(r->message, message);
    mp_result_free(r);
}

static void snapshots_of_one_pool_are_held_by_one_command(void **state)
{
    char *text;
    (void)state;
    fake_zfs("exit 0");
    expect(MP_OK, mp_hold, ARGV("tank@a", "tank/b@a", "tank/c d@a"), NULL);
    text = called();
    assert_string_equal(text, "hold moon 6 tank@a 26\n");
    free(text);
}

static void each_pool_has_a_command_of_its_own(void **state)
{
    char *text;
    (void)state;
    fake_zfs("exit 0");
    expect(MP_OK, mp_release, ARGV("tank@a", "tank2@a", "tank/x@a", "tank2/y@a"), NULL);
    text = called();
    assert_string_equal(text, "release moon 5 tank@a 15\nrelease moon 5 tank2@a 17\n");
    free(text);
}

static void long_lists_are_split_below_100_kilobytes(void **state)
{
    const char **list = calloc(3001, sizeof *list);
    char *text, *line;
    unsigned count = 0, lines = 0, arguments, bytes;
    (void)state;
    for (int i = 0; i < 3000; i++) {
        char *name = malloc(128);
        (void)snprintf(name, 128, "tank/a/rather/long/name/of/a/dataset/that/exists/%d@and-a-snapshot-too-20260101", i);
        list[i] = name;
    }
    fake_zfs("exit 0");
    expect(MP_OK, mp_hold, list, NULL);
    text = called();
    for (line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"), lines++) {
        assert_int_equal(sscanf(line, "hold moon %u %*s %u", &arguments, &bytes), 2);
        assert_true(bytes < 100 * 1024);
        count += arguments - 3;
    }
    assert_int_equal(count, 3000);
    assert_int_equal(lines, 3);
    free(text);
    for (int i = 0; i < 3000; i++)
        free((void *)(uintptr_t)list[i]);
    free(list);
}

static void a_tag_that_is_there_already_is_no_failure(void **state)
{
    (void)state;
    fake_zfs("echo \"cannot hold snapshot '$1': tag already exists on this dataset\" >&2; exit 1");
    expect(MP_OK, mp_hold, ARGV("tank@a"), NULL);
    expect(MP_OK, mp_hold, ARGV("tank@a", "tank@b"), NULL);
    expect(MP_EXIT, mp_release, ARGV("tank@a"), "tag already exists");
}

static void a_tag_that_is_gone_already_is_no_failure(void **state)
{
    (void)state;
    fake_zfs("echo \"cannot release hold from snapshot '$1': no such tag on this dataset\" >&2; exit 1");
    expect(MP_OK, mp_release, ARGV("tank@a", "tank@b"), NULL);
    expect(MP_EXIT, mp_hold, ARGV("tank@a"), "no such tag");
}

static void one_snapshots_settled_complaint_does_not_hide_anothers_real_one(void **state)
{
    char *text;
    (void)state;
    fake_zfs("case $*-$# in *\" \"*) echo 'tag already exists' >&2; exit 1;; tank@a-*) echo 'tag already exists' >&2; "
             "exit 1;;\n"
             "tank@b-*) echo \"cannot hold 'tank@b': dataset does not exist\" >&2; exit 1;; esac");
    expect(MP_EXIT, mp_hold, ARGV("tank@a", "tank@b", "tank@c"), "dataset does not exist");
    text = called();
    assert_mentions(text, "hold moon 4 tank@c 6\n"); /* the rest is still tried */
    free(text);
}

static void nothing_to_hold_is_a_success(void **state)
{
    char *text;
    (void)state;
    fake_zfs("exit 0");
    expect(MP_OK, mp_hold, (const char *const[]){NULL}, NULL);
    text = called();
    assert_string_equal(text, "");
    free(text);
}

static void what_is_no_snapshot_is_refused_before_anything_runs(void **state)
{
    char *text;
    (void)state;
    fake_zfs("exit 0");
    expect(MP_INVALID, mp_hold, ARGV("tank@a", "tank"), "not a snapshot: 'tank'");
    expect(MP_INVALID, mp_release, ARGV("-r@a"), "not a snapshot: '-r@a'");
    text = called();
    assert_string_equal(text, "");
    free(text);
}

static void a_dry_host_holds_nothing(void **state)
{
    mp_host *host = here(true);
    mp_result *r;
    char *text;
    (void)state;
    fake_zfs("exit 0");
    assert_int_equal(mp_hold(&r, host, "moon", ARGV("tank@a")), MP_DRY);
    mp_result_free(r);
    mp_host_close(host);
    text = called();
    assert_string_equal(text, "");
    free(text);
}

static void token_is(const char *body, const char *expected)
{
    mp_host *host = here(false);
    mp_result *r;
    fake_zfs(body);
    assert_int_equal(mp_resume_token(&r, host, "tank/x"), MP_OK);
    assert_string_equal(r->out, expected);
    assert_int_equal(r->out_len, strlen(expected));
    mp_result_free(r);
    mp_host_close(host);
}

static void a_resume_token_comes_without_its_newline(void **state)
{
    (void)state;
    token_is("echo 1-abc-def", "1-abc-def");
    token_is("echo -", "");
    token_is("echo", "");
}

static void a_dataset_that_is_not_there_has_no_token_but_a_failure(void **state)
{
    mp_host *host = here(false);
    mp_result *r;
    (void)state;
    fake_zfs("echo \"cannot open 'tank/x': dataset does not exist\" >&2; exit 1");
    assert_int_equal(mp_resume_token(&r, host, "tank/x"), MP_EXIT);
    assert_string_equal(r->message, "local: zfs get: exit 1: cannot open 'tank/x': dataset does not exist");
    mp_result_free(r);
    mp_host_close(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(snapshots_of_one_pool_are_held_by_one_command),
        TEST(each_pool_has_a_command_of_its_own),
        TEST(long_lists_are_split_below_100_kilobytes),
        TEST(a_tag_that_is_there_already_is_no_failure),
        TEST(a_tag_that_is_gone_already_is_no_failure),
        TEST(one_snapshots_settled_complaint_does_not_hide_anothers_real_one),
        TEST(nothing_to_hold_is_a_success),
        TEST(what_is_no_snapshot_is_refused_before_anything_runs),
        TEST(a_dry_host_holds_nothing),
        TEST(a_resume_token_comes_without_its_newline),
        TEST(a_dataset_that_is_not_there_has_no_token_but_a_failure),
    };
    char path[4096], name[64];
    int failed;

    (void)signal(SIGPIPE, SIG_IGN);
    if (mkdtemp(dir) == NULL)
        return 1;
    (void)snprintf(calls, sizeof calls, "%s/calls", dir);
    (void)snprintf(path, sizeof path, "%s:%s", dir, getenv("PATH"));
    (void)setenv("PATH", path, 1);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)snprintf(name, sizeof name, "%s/zfs", dir);
    (void)unlink(name);
    (void)unlink(calls);
    (void)rmdir(dir);
    return failed;
}
