/*
 * verbs_test.c - which commands a dry host lets pass.
 */
#include "helper.h"
#include "verbs.h"

#define READS(...) assert_true(mp_verb_reads(ARGV(__VA_ARGS__)))
#define WRITES(...) assert_false(mp_verb_reads(ARGV(__VA_ARGS__)))

static void listings_and_sends_read(void **state)
{
    (void)state;
    READS("zfs", "list", "-Hp", "-o", "name");
    READS("zfs", "get", "all", "tank");
    READS("zfs", "holds", "-H", "tank@a");
    READS("zfs", "version");
    READS("zfs", "send", "-w", "tank@a");
    READS("zpool", "list");
    READS("zpool", "get", "all");
    READS("zpool", "status", "-v", "tank");
    READS("zpool", "history", "tank");
    READS("zpool", "iostat", "-v", "5", "1");
}

static void what_is_not_known_writes(void **state)
{
    (void)state;
    WRITES("zfs", "snapshot", "tank@a");
    WRITES("zfs", "diff", "tank@a");
    WRITES("zfs", "set", "a:b=c", "tank");
    WRITES("zfs", "hold", "tag", "tank@a");
    WRITES("zfs", "lists");
    WRITES("zfs");
    WRITES("zpool", "import", "tank");
    WRITES("zpool", "status", "-c", "script");
    WRITES("sh", "-c", "zfs list");
    WRITES("env", "zfs", "list");
    WRITES("");
    assert_false(mp_verb_reads((const char *const[]){NULL}));
}

static void a_rehearsal_reads_and_the_real_thing_writes(void **state)
{
    (void)state;
    READS("zfs", "receive", "-n", "tank/a");
    READS("zfs", "recv", "-vnF", "tank/a");
    READS("zfs", "destroy", "-nvp", "tank@a");
    READS("zfs", "destroy", "-r", "-vn", "tank@a");
    READS("zfs", "program", "-n", "tank", "-");
    READS("zfs", "program", "-jn", "-t", "100", "tank", "-", "arg");
    WRITES("zfs", "receive", "tank/a");
    WRITES("zfs", "destroy", "-vp", "tank@a");
    WRITES("zfs", "program", "tank", "-");
}

static void only_an_option_named_n_is_a_rehearsal(void **state)
{
    (void)state;
    WRITES("zfs", "receive", "-o", "-n", "tank/a");
    WRITES("zfs", "receive", "-on", "tank/a");
    WRITES("zfs", "receive", "-x", "-n", "tank/a");
    WRITES("zfs", "destroy", "--", "-n");
    WRITES("zfs", "destroy", "tank@a", "-n");
    WRITES("zfs", "program", "tank", "-", "-n");
    WRITES("zfs", "program", "-t", "-n", "tank", "-");
    WRITES("zfs", "destroy", "-");
    READS("zfs", "receive", "-o", "a=b", "-n", "tank/a");
    READS("zfs", "receive", "-oa=b", "-nv", "--", "tank/a");
}

static void an_unknown_option_is_not_trusted(void **state)
{
    (void)state;
    WRITES("zfs", "receive", "-nZ", "tank/a");
    WRITES("zfs", "destroy", "-n", "--force", "tank@a");
    WRITES("zfs", "receive", "-nA", "tank/a");
    WRITES("zfs", "receive", "-n", "tank/a", "-A");
}

static void allow_reads_only_when_it_shows(void **state)
{
    (void)state;
    READS("zfs", "allow", "tank");
    WRITES("zfs", "allow", "user", "send", "tank");
    WRITES("zfs", "allow", "-s", "@set", "tank");
    WRITES("zfs", "allow", "-u");
    WRITES("zfs", "allow");
}

static void harmless_tools_read_but_not_with_what_makes_them_write(void **state)
{
    (void)state;
    READS("true");
    READS("false");
    READS("echo", "-n", "x");
    READS("printf", "%s", "x");
    READS("uname", "-a");
    WRITES("uname", "-S", "name");
    READS("hostname");
    READS("hostname", "-f");
    WRITES("hostname", "newname");
    READS("date", "+%s");
    READS("date", "-u", "-d", "yesterday", "+%s");
    WRITES("date", "010112002026");
    WRITES("date", "-s", "yesterday");
    READS("cat", "/etc/hostname");
    READS("test", "-e", "/x");
    READS("command", "-v", "zstd");
    WRITES("command", "rm", "-v", "x");
}

static void directories_and_sudo_are_seen_through(void **state)
{
    (void)state;
    READS("/sbin/zfs", "list");
    READS("sudo", "-n", "zfs", "list");
    READS("/usr/bin/sudo", "-n", "--", "/sbin/zfs", "list");
    READS("doas", "-n", "zfs", "list");
    WRITES("sudo", "-n", "zfs", "destroy", "tank@a");
    WRITES("sudo", "-u", "root", "zfs", "list");
    WRITES("sudo");
    WRITES("sudo", "-n", "X=y", "zfs", "list");
    WRITES("bin/zfs", "list");
}

static void a_title_is_the_program_and_its_verb(void **state)
{
    buf b = {0};
    (void)state;
    assert_int_equal(verb_title(&b, ARGV("sudo", "-n", "/sbin/zfs", "receive", "-s", "x")), MP_OK);
    assert_int_equal(buf_str(&b, "|"), MP_OK);
    assert_int_equal(verb_title(&b, ARGV("/bin/cat", "file")), MP_OK);
    assert_string_equal(b.data, "zfs receive|cat");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(listings_and_sends_read),
        TEST(what_is_not_known_writes),
        TEST(a_rehearsal_reads_and_the_real_thing_writes),
        TEST(only_an_option_named_n_is_a_rehearsal),
        TEST(an_unknown_option_is_not_trusted),
        TEST(allow_reads_only_when_it_shows),
        TEST(harmless_tools_read_but_not_with_what_makes_them_write),
        TEST(directories_and_sudo_are_seen_through),
        TEST(a_title_is_the_program_and_its_verb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
