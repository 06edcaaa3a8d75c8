/*
 * verbs.c - the commands that are known to only read; everything else writes, and is refused on a dry host.
 *
 * When in doubt a command is not known: an option that the table does not have, an option behind the operands, a
 * program that is not given by its plain name or an absolute path.
 */
#include "verbs.h"

#include <string.h>

enum rule {
    READS,         /* whatever its arguments */
    READS_WITH,    /* only if the options have this one, before the operands */
    READS_WITHOUT, /* unless the options have one of these */
    READS_OPERAND, /* with exactly one operand and no option */
};

struct verb {
    const char *program, *sub; /* sub NULL: a program without subcommands */
    enum rule rule;
    const char *letters; /* the options that the rule is about */
    const char *options; /* all options as for getopt(3); needed by READS_WITH and READS_WITHOUT */
    const char *operand; /* how every operand must begin, NULL: as it likes, "": there may be none */
    const char *never;   /* options with which it writes, whatever else there is */
};

static const struct verb verbs[] = {
    {"zfs", "list", READS, NULL, NULL, NULL, NULL},
    {"zfs", "get", READS, NULL, NULL, NULL, NULL},
    {"zfs", "holds", READS, NULL, NULL, NULL, NULL},
    {"zfs", "version", READS, NULL, NULL, NULL, NULL},
    {"zfs", "userspace", READS, NULL, NULL, NULL, NULL},
    {"zfs", "groupspace", READS, NULL, NULL, NULL, NULL},
    {"zfs", "projectspace", READS, NULL, NULL, NULL, NULL},
    {"zfs", "send", READS, NULL, NULL, NULL, NULL},
    {"zfs", "allow", READS_OPERAND, NULL, NULL, NULL, NULL},
    {"zfs", "receive", READS_WITH, "n", "dehnsuvAcFMo:x:", NULL, "A"},
    {"zfs", "recv", READS_WITH, "n", "dehnsuvAcFMo:x:", NULL, "A"},
    {"zfs", "destroy", READS_WITH, "n", "dfnprvR", NULL, NULL},
    {"zfs", "program", READS_WITH, "n", "jnt:m:", NULL, NULL},
    {"zpool", "list", READS, NULL, NULL, NULL, NULL},
    {"zpool", "get", READS, NULL, NULL, NULL, NULL},
    {"zpool", "version", READS, NULL, NULL, NULL, NULL},
    {"zpool", "history", READS, NULL, NULL, NULL, NULL},
    {"zpool", "status", READS_WITHOUT, "", "degijpstvxDLPT:", NULL, NULL}, /* -c runs scripts */
    {"zpool", "iostat", READS_WITHOUT, "", "ghlnpqrvwyHLPT:", NULL, NULL},
    {"true", NULL, READS, NULL, NULL, NULL, NULL},
    {"false", NULL, READS, NULL, NULL, NULL, NULL},
    {"echo", NULL, READS, NULL, NULL, NULL, NULL},
    {"printf", NULL, READS, NULL, NULL, NULL, NULL},
    {"id", NULL, READS, NULL, NULL, NULL, NULL},
    {"sleep", NULL, READS, NULL, NULL, NULL, NULL},
    {"cat", NULL, READS, NULL, NULL, NULL, NULL},
    {"test", NULL, READS, NULL, NULL, NULL, NULL},
    {"[", NULL, READS, NULL, NULL, NULL, NULL},
    {"uname", NULL, READS_WITHOUT, "S", "aimnoprsvS:", NULL, NULL}, /* -S sets the name on illumos */
    {"hostname", NULL, READS_WITHOUT, "", "fsiId", "", NULL},       /* an operand is the new name */
    {"date", NULL, READS_WITHOUT, "", "uRd:r:", "+", NULL},         /* an operand without + sets the clock */
    {"command", NULL, READS_WITH, "vV", "pvV", NULL, NULL},
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* The command behind `sudo -n` or `doas -n`, options of sudo other than that being none of ours. */
static const char *const *see_through(const char *const argv[])
{
    while (argv[0] != NULL && (strcmp(base_name(argv[0]), "sudo") == 0 || strcmp(base_name(argv[0]), "doas") == 0)) {
        argv++;
        while (argv[0] != NULL && strcmp(argv[0], "-n") == 0)
            argv++;
        if (argv[0] != NULL && strcmp(argv[0], "--") == 0)
            argv++;
    }
    return argv;
}

/* What a scan of a command's arguments found. */
struct seen {
    bool unknown; /* an option that the table does not have */
    bool rule;    /* one of the rule's letters, before the operands */
    bool never;   /* one of those that always write, anywhere */
    size_t options, operands;
    bool bad_operand;
};

/* One word of short options. True if the last one's argument is the next word. */
static bool scan_letters(struct seen *s, const struct verb *v, const char *letters)
{
    for (; *letters != '\0'; letters++) {
        const char *known = *letters != ':' ? strchr(v->options, *letters) : NULL;
        s->options++;
        s->unknown = s->unknown || known == NULL;
        s->rule = s->rule || (s->operands == 0 && v->letters != NULL && strchr(v->letters, *letters) != NULL);
        s->never = s->never || (v->never != NULL && strchr(v->never, *letters) != NULL);
        if (known != NULL && known[1] == ':')
            return letters[1] == '\0';
    }
    return false;
}

/* Options behind operands count, as GNU's getopt takes them, but only against the command. */
static struct seen scan(const struct verb *v, const char *const args[])
{
    struct seen s = {0};
    bool options = v->options != NULL;

    for (; *args != NULL; args++) {
        if (options && strcmp(*args, "--") == 0) {
            options = false;
        } else if (options && (*args)[0] == '-' && (*args)[1] != '\0') {
            if (scan_letters(&s, v, *args + 1) && args[1] != NULL)
                args++;
        } else {
            s.operands++;
            s.bad_operand = s.bad_operand || (v->operand != NULL && (v->operand[0] == '\0' || **args != v->operand[0]));
        }
    }
    return s;
}

static bool obeys(const struct verb *v, const char *const args[])
{
    struct seen s;

    if (v->rule == READS)
        return true;
    if (v->rule == READS_OPERAND)
        return args[0] != NULL && args[0][0] != '-' && args[1] == NULL;
    s = scan(v, args);
    if (s.unknown || s.never || s.bad_operand)
        return false;
    return v->rule == READS_WITH ? s.rule : !s.rule;
}

bool mp_verb_reads(const char *const argv[])
{
    const char *program;

    argv = see_through(argv);
    if (argv[0] == NULL || (strchr(argv[0], '/') != NULL && argv[0][0] != '/'))
        return false;
    program = base_name(argv[0]);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        const struct verb *v = &verbs[i];
        if (strcmp(v->program, program) != 0)
            continue;
        if (v->sub == NULL)
            return obeys(v, argv + 1);
        if (argv[1] != NULL && strcmp(v->sub, argv[1]) == 0)
            return obeys(v, argv + 2);
    }
    return false;
}

int verb_title(buf *b, const char *const argv[])
{
    const char *const *inner = see_through(argv);
    const char *program;
    int rc;

    if (inner[0] == NULL)
        inner = argv;
    program = base_name(inner[0]);
    rc = buf_str(b, program);
    if (rc == MP_OK && inner[1] != NULL && (strcmp(program, "zfs") == 0 || strcmp(program, "zpool") == 0))
        rc = buf_fmt(b, " %s", inner[1]);
    return rc;
}
