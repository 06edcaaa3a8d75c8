/*
 * sshconf.c - floor 1: a reader of ssh_config(5) for what libssh drops or gets wrong. It follows Host, Include and
 * `Match all` (libssh compares Host with the name that an earlier HostName gave); the first value of a keyword counts,
 * as for ssh.
 */
#include "sshconf.h"

#include <ctype.h>
#include <fnmatch.h>
#include <glob.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_DEPTH 16 /* of Include, as in ssh */

/* Those that act, in libssh or here. */
static const char *const served[] = {"include",
                                     "hostname",
                                     "port",
                                     "user",
                                     "identityfile",
                                     "identityagent",
                                     "identitiesonly",
                                     "ciphers",
                                     "macs",
                                     "kexalgorithms",
                                     "hostkeyalgorithms",
                                     "pubkeyacceptedalgorithms",
                                     "pubkeyacceptedkeytypes",
                                     "compression",
                                     "connecttimeout",
                                     "stricthostkeychecking",
                                     "userknownhostsfile",
                                     "globalknownhostsfile",
                                     "proxycommand",
                                     "proxyjump",
                                     "bindaddress",
                                     "loglevel",
                                     "rekeylimit",
                                     "pubkeyauthentication",
                                     "addressfamily",
                                     NULL};

/* Those without a meaning for programs that are run by a program, or whose work is done here in another way. */
static const char *const harmless[] = {"addkeystoagent",
                                       "batchmode",
                                       "checkhostip",
                                       "challengeresponseauthentication",
                                       "clearallforwardings",
                                       "controlmaster",
                                       "controlpath",
                                       "controlpersist",
                                       "dynamicforward",
                                       "enablesshkeysign",
                                       "escapechar",
                                       "exitonforwardfailure",
                                       "fingerprinthash",
                                       "forkafterauthentication",
                                       "forwardagent",
                                       "forwardx11",
                                       "forwardx11timeout",
                                       "forwardx11trusted",
                                       "gatewayports",
                                       "gssapiauthentication",
                                       "gssapidelegatecredentials",
                                       "hashknownhosts",
                                       "hostbasedauthentication",
                                       "ignoreunknown",
                                       "ipqos",
                                       "kbdinteractiveauthentication",
                                       "localcommand",
                                       "localforward",
                                       "logverbose",
                                       "numberofpasswordprompts",
                                       "passwordauthentication",
                                       "permitlocalcommand",
                                       "permitremoteopen",
                                       "remoteforward",
                                       "requesttty",
                                       "sendenv",
                                       "serveralivecountmax",
                                       "serveraliveinterval",
                                       "sessiontype",
                                       "setenv",
                                       "stdinnull",
                                       "streamlocalbindmask",
                                       "streamlocalbindunlink",
                                       "tcpkeepalive",
                                       "tunnel",
                                       "tunneldevice",
                                       "updatehostkeys",
                                       "visualhostkey",
                                       "xauthlocation",
                                       NULL};

typedef struct reader {
    sshconf *conf;
    const char *host;
    const char *home;
    bool of_system; /* relative includes are those of /etc/ssh */
    buf *warnings;
    buf flat;
    bool in_match; /* in a section whose Match line libssh must judge */
    buf warned;    /* keywords that were named already: "|a|b|" */
    bool has_strict, has_only, has_user_hosts, has_global_hosts;
    int rc;
} reader;

static bool is_in(const char *const list[], const char *word)
{
    for (size_t i = 0; list[i] != NULL; i++)
        if (strcmp(list[i], word) == 0)
            return true;
    return false;
}

/* ---- words --------------------------------------------------------------------------------------------- */

/* The next word of a line, which is cut up; quotes hold spaces together. NULL at the end or at a comment. */
static char *next_word(char **line)
{
    char *s = *line, *word;

    s += strspn(s, " \t=");
    if (*s == '\0' || *s == '#')
        return NULL;
    if (*s == '"') {
        word = ++s;
        s += strcspn(s, "\"");
    } else {
        word = s;
        s += strcspn(s, " \t");
    }
    if (*s != '\0')
        *s++ = '\0';
    *line = s;
    return word;
}

static int append_word(char ***list, char *word)
{
    size_t n = 0;
    char **more;

    while (*list != NULL && (*list)[n] != NULL)
        n++;
    more = word != NULL ? realloc(*list, (n + 2) * sizeof *more) : NULL;
    if (more == NULL) {
        free(word);
        return MP_SYSTEM;
    }
    more[n] = word;
    more[n + 1] = NULL;
    *list = more;
    return MP_OK;
}

/* "~/x" and %d are below the home directory, %h is the host, %% a percent sign; others stay as they are. malloc'd. */
static char *expand(const reader *r, const char *path)
{
    buf b = {0};
    int rc = MP_OK;

    if (path[0] == '~' && path[1] == '/') {
        rc = buf_str(&b, r->home);
        path++;
    }
    for (; *path != '\0' && rc == MP_OK; path++) {
        if (path[0] == '%' && path[1] == 'd')
            rc = buf_str(&b, r->home), path++;
        else if (path[0] == '%' && path[1] == 'h')
            rc = buf_str(&b, r->host), path++;
        else if (path[0] == '%' && path[1] == '%')
            rc = buf_str(&b, "%"), path++;
        else
            rc = buf_add(&b, path, 1);
    }
    if (rc != MP_OK) {
        buf_free(&b);
        return NULL;
    }
    return buf_take(&b);
}

static void append_paths(reader *r, char ***list, char *rest)
{
    for (char *word; r->rc == MP_OK && (word = next_word(&rest)) != NULL;)
        if (strcasecmp(word, "none") != 0)
            r->rc = append_word(list, expand(r, word));
}

/* ---- lines --------------------------------------------------------------------------------------------- */

/* Whether a line of Host patterns is for this host: one of them fits, and none that is negated. */
static bool host_fits(const reader *r, char *rest)
{
    bool fits = false;

    for (char *word; (word = next_word(&rest)) != NULL;) {
        bool negated = *word == '!';
        if (fnmatch(word + negated, r->host, 0) == 0) {
            if (negated)
                return false;
            fits = true;
        }
    }
    return fits;
}

static void warn(reader *r, const char *file, int line, const char *keyword, const char *as_written)
{
    buf mark = {0};

    if (buf_fmt(&mark, "|%s|", keyword) == MP_OK &&
        (r->warned.data == NULL || strstr(r->warned.data, mark.data) == NULL)) {
        (void)buf_str(&r->warned, mark.data);
        (void)buf_fmt(r->warnings, "%s:%d: %s has no effect here; --ssh-program ssh would follow it\n", file, line,
                      as_written);
    }
    buf_free(&mark);
}

static void take_strict(reader *r, const char *word)
{
    if (r->has_strict)
        return;
    r->has_strict = true;
    if (strcasecmp(word, "no") == 0 || strcasecmp(word, "off") == 0)
        r->conf->strict = STRICT_NO;
    else if (strcasecmp(word, "accept-new") == 0)
        r->conf->strict = STRICT_ACCEPT_NEW;
}

/* The keywords that are read here; `rest` is cut up. */
static void take(reader *r, const char *keyword, char *rest)
{
    char *first =
        strcmp(keyword, "userknownhostsfile") == 0 || strcmp(keyword, "globalknownhostsfile") == 0 ? NULL : rest;
    const char *word = first != NULL ? next_word(&first) : "";

    if (word == NULL)
        return;
    if (strcmp(keyword, "stricthostkeychecking") == 0) {
        take_strict(r, word);
    } else if (strcmp(keyword, "identitiesonly") == 0 && !r->has_only) {
        r->has_only = true;
        r->conf->identities_only = strcasecmp(word, "yes") == 0 || strcasecmp(word, "true") == 0;
    } else if (strcmp(keyword, "ciphers") == 0) {
        r->conf->names_ciphers = true;
    } else if (strcmp(keyword, "addressfamily") == 0 && r->conf->family == AF_UNSPEC) {
        r->conf->family = strcasecmp(word, "inet") == 0    ? AF_INET
                          : strcasecmp(word, "inet6") == 0 ? AF_INET6
                                                           : AF_UNSPEC;
    } else if (strcmp(keyword, "connecttimeout") == 0 && r->conf->connect_timeout <= 0) {
        r->conf->connect_timeout = strtod(word, NULL);
    } else if (strcmp(keyword, "identityfile") == 0) {
        r->rc = strcasecmp(word, "none") == 0 ? MP_OK : append_word(&r->conf->identities, expand(r, word));
    } else if (strcmp(keyword, "userknownhostsfile") == 0 && !r->has_user_hosts) {
        r->has_user_hosts = true;
        append_paths(r, &r->conf->known_hosts, rest);
    } else if (strcmp(keyword, "globalknownhostsfile") == 0 && !r->has_global_hosts) {
        r->has_global_hosts = true;
        append_paths(r, &r->conf->known_hosts, rest);
    }
}

static void read_file(reader *r, const char *file, int depth);

static void include(reader *r, char *rest, int depth)
{
    for (char *word; r->rc == MP_OK && (word = next_word(&rest)) != NULL;) {
        char *path = expand(r, word);
        buf full = {0};
        glob_t found = {0};

        if (path == NULL)
            return;
        if (path[0] == '/')
            r->rc = buf_str(&full, path);
        else
            r->rc = r->of_system ? buf_fmt(&full, "/etc/ssh/%s", path) : buf_fmt(&full, "%s/.ssh/%s", r->home, path);
        if (r->rc == MP_OK && glob(full.data, 0, NULL, &found) == 0)
            for (size_t i = 0; i < found.gl_pathc && r->rc == MP_OK; i++)
                read_file(r, found.gl_pathv[i], depth + 1);
        globfree(&found);
        buf_free(&full);
        free(path);
    }
}

/* The beginning of a section. */
static void begin_section(reader *r, const char *keyword, const char *line, char *rest, bool *applies)
{
    const char *what;

    if (r->in_match)
        r->rc = buf_str(&r->flat, "Match all\n");
    r->in_match = false;
    if (strcmp(keyword, "host") == 0) {
        *applies = host_fits(r, rest);
        return;
    }
    what = next_word(&rest);
    *applies = what != NULL && strcasecmp(what, "all") == 0;
    if (!*applies && r->rc == MP_OK) {
        r->in_match = true;
        r->rc = buf_fmt(&r->flat, "%s\n", line);
    }
}

/* One line; `applies` says whether the section that it stands in is for this host. */
static void read_line(reader *r, const char *file, int number, char *line, bool *applies, int depth)
{
    char *rest = line, keyword[64], *whole;
    const char *word;

    line[strcspn(line, "\r\n")] = '\0';
    whole = strdup(line); /* it is cut up */
    word = next_word(&rest);
    if (word == NULL || whole == NULL || strlen(word) >= sizeof keyword) {
        free(whole);
        return;
    }
    for (size_t i = 0; i <= strlen(word); i++)
        keyword[i] = (char)tolower((unsigned char)word[i]);
    if (strcmp(keyword, "host") == 0 || strcmp(keyword, "match") == 0) {
        begin_section(r, keyword, whole, rest, applies);
    } else if (*applies && strcmp(keyword, "include") == 0) {
        include(r, rest, depth);
    } else if ((*applies || r->in_match) && is_in(served, keyword)) {
        r->rc = buf_fmt(&r->flat, "%s\n", whole);
        if (*applies && r->rc == MP_OK)
            take(r, keyword, rest);
    } else if (*applies && !is_in(harmless, keyword)) {
        warn(r, file, number, keyword, word);
    }
    free(whole);
}

static void read_file(reader *r, const char *file, int depth)
{
    FILE *f = depth < MAX_DEPTH ? fopen(file, "re") : NULL;
    char *line = NULL;
    size_t size = 0;
    bool applies = true;

    if (f == NULL)
        return;
    for (int number = 1; r->rc == MP_OK && getline(&line, &size, f) >= 0; number++)
        read_line(r, file, number, line, &applies, depth);
    if (r->in_match && r->rc == MP_OK)
        r->rc = buf_str(&r->flat, "Match all\n");
    r->in_match = false;
    free(line);
    (void)fclose(f);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static const char *home_directory(void)
{
    const char *home = getenv("HOME");
    const struct passwd *me;

    if (home != NULL && *home != '\0')
        return home;
    me = getpwuid(getuid());
    return me != NULL ? me->pw_dir : "/";
}

/* What ssh does where nothing is said. */
static void add_defaults(reader *r)
{
    static const char *const keys[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
    char user_hosts[] = "~/.ssh/known_hosts ~/.ssh/known_hosts2";
    char global_hosts[] = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2";
    bool has_keys = r->conf->identities != NULL;

    for (size_t i = 0; !has_keys && i < sizeof keys / sizeof keys[0] && r->rc == MP_OK; i++) {
        buf path = {0};
        r->rc = buf_fmt(&path, "%s/.ssh/%s", r->home, keys[i]);
        if (r->rc == MP_OK)
            r->rc = append_word(&r->conf->identities, buf_take(&path));
    }
    if (!r->has_user_hosts)
        append_paths(r, &r->conf->known_hosts, user_hosts);
    if (!r->has_global_hosts)
        append_paths(r, &r->conf->known_hosts, global_hosts);
}

int sshconf_read(sshconf *conf, const char *file, const char *host, buf *warnings)
{
    reader r = {.conf = conf, .host = host, .home = home_directory(), .warnings = warnings, .rc = MP_OK};
    buf own = {0};

    *conf = (sshconf){.family = AF_UNSPEC, .strict = STRICT_YES};
    if (file != NULL) {
        read_file(&r, file, 0);
    } else {
        if (buf_fmt(&own, "%s/.ssh/config", r.home) == MP_OK)
            read_file(&r, own.data, 0);
        r.of_system = true;
        read_file(&r, "/etc/ssh/ssh_config", 0);
    }
    if (r.rc == MP_OK)
        add_defaults(&r);
    conf->flat = buf_take(&r.flat);
    if (conf->flat == NULL)
        r.rc = MP_SYSTEM;
    buf_free(&own);
    buf_free(&r.warned);
    if (r.rc != MP_OK)
        sshconf_free(conf);
    return r.rc;
}

static void free_words(char **list)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++)
        free(list[i]);
    free(list);
}

void sshconf_free(sshconf *conf)
{
    free_words(conf->identities);
    free_words(conf->known_hosts);
    free(conf->flat);
    conf->identities = conf->known_hosts = NULL;
    conf->flat = NULL;
}
