/*
 * sshconf.c - floor 1: a reader of ssh_config(5) for what libssh drops or gets wrong. It follows Host, Include and
 * Match by names (libssh compares Host with the name that an earlier HostName gave); the first value of a keyword
 * counts, as for ssh.
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
static const char served[] =
    " include hostname port user identityfile identityagent identitiesonly ciphers macs kexalgorithms "
    "hostkeyalgorithms pubkeyacceptedalgorithms pubkeyacceptedkeytypes compression connecttimeout "
    "stricthostkeychecking userknownhostsfile globalknownhostsfile proxycommand proxyjump loglevel "
    "rekeylimit pubkeyauthentication addressfamily ";

/* Those without a meaning for programs that are run by a program, or whose work is done here in another way. */
static const char harmless[] =
    " addkeystoagent batchmode challengeresponseauthentication checkhostip clearallforwardings controlmaster "
    "controlpath controlpersist dynamicforward enableescapecommandline enablesshkeysign escapechar "
    "exitonforwardfailure fingerprinthash forkafterauthentication forwardagent forwardx11 forwardx11timeout "
    "forwardx11trusted gatewayports gssapiauthentication gssapidelegatecredentials hashknownhosts "
    "hostbasedauthentication ignoreunknown ipqos kbdinteractiveauthentication localcommand localforward logverbose "
    "numberofpasswordprompts obscurekeystroketiming passwordauthentication permitlocalcommand permitremoteopen "
    "remoteforward requesttty sendenv serveralivecountmax serveraliveinterval sessiontype setenv stdinnull "
    "streamlocalbindmask streamlocalbindunlink syslogfacility tcpkeepalive tunnel tunneldevice updatehostkeys "
    "visualhostkey xauthlocation ";

/* Those that are read here: libssh alone can't make them act. */
static const char taken[] =
    " stricthostkeychecking identitiesonly ciphers addressfamily connecttimeout identityfile userknownhostsfile "
    "globalknownhostsfile ";

typedef struct reader {
    sshconf *conf;
    const char *file;      /* the one that was named, or NULL */
    const char *host;      /* as it was given */
    char *user, *hostname; /* what counts so far, or NULL */
    const char *me;
    const char *home;
    bool of_system; /* relative includes are those of /etc/ssh */
    buf *warnings;
    buf flat;
    bool in_match; /* in a section whose Match line libssh must judge */
    buf warned;    /* keywords that were named already: "|a|b|" */
    bool has_strict, has_only, has_user_hosts, has_global_hosts;
    int rc;
} reader;

/* Whether the word is in a list that has a space before and behind each. */
static bool is_in(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = list; n > 0 && (at = strstr(at, word)) != NULL; at++)
        if (at[-1] == ' ' && at[n] == ' ')
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

static const char *either(const char *said, const char *otherwise)
{
    return said != NULL ? said : otherwise;
}

/* What a percent sign with this letter stands for; NULL: nothing that is known here. */
static const char *token(const reader *r, char letter)
{
    static const char letters[] = "dhnru%";
    const char *const values[] = {r->home, either(r->hostname, r->host), r->host, either(r->user, r->me), r->me, "%"};
    const char *at = letter != '\0' ? strchr(letters, letter) : NULL;

    return at != NULL ? values[at - letters] : NULL;
}

/* "~/x" is below the home directory; percent signs are replaced. malloc'd. */
static char *expand(const reader *r, const char *path)
{
    buf b = {0};
    int rc = MP_OK;

    if (path[0] == '~' && path[1] == '/') {
        rc = buf_str(&b, r->home);
        path++;
    }
    for (; *path != '\0' && rc == MP_OK; path++) {
        const char *value = path[0] == '%' ? token(r, path[1]) : NULL;
        rc = value != NULL ? buf_str(&b, value) : buf_add(&b, path, 1);
        path += value != NULL;
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

/* The same for a list with commas. */
static bool list_fits(char *patterns, const char *subject)
{
    bool fits = false;

    for (char *at = patterns, *end; *at != '\0'; at = end) {
        bool negated = *at == '!';
        end = at + strcspn(at, ",");
        if (*end != '\0')
            *end++ = '\0';
        if (fnmatch(at + negated, subject, 0) == 0) {
            if (negated)
                return false;
            fits = true;
        }
    }
    return fits;
}

/* What a criterion of Match is about; NULL: libssh must judge it. */
static const char *subject_of(const reader *r, const char *criterion)
{
    return strcasecmp(criterion, "host") == 0           ? either(r->hostname, r->host)
           : strcasecmp(criterion, "originalhost") == 0 ? r->host
           : strcasecmp(criterion, "user") == 0         ? either(r->user, r->me)
           : strcasecmp(criterion, "localuser") == 0    ? r->me
                                                        : NULL;
}

/* Whether all criteria of a Match line hold: 1, 0, or -1 if that can't be judged here. */
static int match_fits(const reader *r, char *rest)
{
    int fits = 1;

    for (char *word; (word = next_word(&rest)) != NULL;) {
        bool negated = *word == '!', holds = true;
        const char *criterion = word + negated, *subject = subject_of(r, criterion);
        if (subject != NULL) {
            char *patterns = next_word(&rest);
            holds = patterns != NULL && list_fits(patterns, subject);
        } else if (strcasecmp(criterion, "all") != 0) {
            fits = -1;
            if (strcasecmp(criterion, "final") != 0 && strcasecmp(criterion, "canonical") != 0)
                (void)next_word(&rest);
            continue;
        }
        if (holds == negated)
            return 0;
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
    bool hosts = strcmp(keyword, "userknownhostsfile") == 0 || strcmp(keyword, "globalknownhostsfile") == 0;
    const char *word = hosts ? "" : next_word(&rest);

    if (word == NULL)
        return;
    if (strcmp(keyword, "hostname") == 0 && r->hostname == NULL) {
        r->hostname = expand(r, word);
    } else if (strcmp(keyword, "user") == 0 && r->user == NULL) {
        r->user = strdup(word);
    } else if (strcmp(keyword, "stricthostkeychecking") == 0) {
        take_strict(r, word);
    } else if (strcmp(keyword, "identitiesonly") == 0 && !r->has_only) {
        r->has_only = true;
        r->conf->identities_only = strcasecmp(word, "yes") == 0 || strcasecmp(word, "true") == 0;
    } else if (strcmp(keyword, "ciphers") == 0) {
        r->conf->names_ciphers = true;
    } else if (strcmp(keyword, "identityagent") == 0 && r->conf->agent == NULL) {
        r->conf->agent = expand(r, word);
    } else if (strcmp(keyword, "addressfamily") == 0 && r->conf->family == AF_UNSPEC) {
        r->conf->family = strcasecmp(word, "inet") == 0    ? AF_INET
                          : strcasecmp(word, "inet6") == 0 ? AF_INET6
                                                           : AF_UNSPEC;
    } else if (strcmp(keyword, "connecttimeout") == 0 && r->conf->connect_timeout <= 0) {
        r->conf->connect_timeout = strtod(word, NULL);
    } else if (strcmp(keyword, "identityfile") == 0) {
        r->rc = strcasecmp(word, "none") == 0 ? MP_OK : append_word(&r->conf->identities, expand(r, word));
    } else if (hosts) {
        bool *has = keyword[0] == 'u' ? &r->has_user_hosts : &r->has_global_hosts;
        if (!*has)
            append_paths(r, &r->conf->known_hosts, rest);
        *has = true;
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

/*
 * ProxyJump as a ProxyCommand: what libssh makes of it does not know which configuration was named, and may ask for
 * passwords.
 */
static int add_jump(reader *r, char *rest)
{
    char *jump = next_word(&rest), *last = jump != NULL ? strrchr(jump, ',') : NULL;
    int rc;

    if (jump == NULL || strcasecmp(jump, "none") == 0)
        return buf_str(&r->flat, "ProxyCommand none\n");
    rc = buf_str(&r->flat, "ProxyCommand ssh -o BatchMode=yes ");
    if (r->file != NULL && rc == MP_OK)
        rc = argv_quote(&r->flat, (const char *const[]){"-F", r->file, NULL});
    if (last != NULL && rc == MP_OK) {
        *last++ = '\0';
        rc = buf_fmt(&r->flat, " -J %s", jump);
    }
    last = last != NULL ? last : jump;
    if (rc == MP_OK)
        rc = buf_fmt(&r->flat, " -W '[%%h]:%%p' %s%s\n", strncmp(last, "ssh://", 6) == 0 ? "" : "ssh://", last);
    return rc;
}

/* The beginning of a section. */
static void begin_section(reader *r, const char *keyword, const char *line, char *rest, bool *applies)
{
    int fits;

    if (r->in_match)
        r->rc = buf_str(&r->flat, "Match all\n");
    r->in_match = false;
    fits = strcmp(keyword, "host") == 0 ? host_fits(r, rest) : match_fits(r, rest);
    *applies = fits == 1;
    if (fits < 0 && r->rc == MP_OK) {
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
    rest += strspn(rest, " \t");
    rest += strcspn(rest, " \t=");
    if (*rest == '=')
        *rest = ' '; /* keyword=value */
    rest = line;
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
        bool jump = *applies && strcmp(keyword, "proxyjump") == 0;
        r->rc = jump ? add_jump(r, rest) : buf_fmt(&r->flat, "%s\n", whole);
        if (*applies && r->rc == MP_OK)
            take(r, keyword, rest);
        else if (r->in_match && is_in(taken, keyword))
            warn(r, file, number, keyword, word);
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

static const char *home_directory(const struct passwd *me)
{
    const char *home = getenv("HOME");

    if (home != NULL && *home != '\0')
        return home;
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

int sshconf_read(sshconf *conf, const char *file, const char *user, const char *host, buf *warnings)
{
    char text[4096];
    struct passwd entry, *me = NULL;
    reader r = {.conf = conf, .file = file, .host = host, .me = "", .warnings = warnings};
    buf own = {0};

    (void)getpwuid_r(getuid(), &entry, text, sizeof text, &me);
    r.home = home_directory(me);
    if (me != NULL)
        r.me = me->pw_name;

    *conf = (sshconf){.family = AF_UNSPEC, .strict = STRICT_YES};
    if (user != NULL && (r.user = strdup(user)) == NULL) {
        r.rc = MP_SYSTEM;
    } else if (file != NULL) {
        read_file(&r, file, 0);
    } else {
        if (buf_fmt(&own, "%s/.ssh/config", r.home) == MP_OK)
            read_file(&r, own.data, 0);
        r.of_system = true;
        read_file(&r, "/etc/ssh/ssh_config", 0);
    }
    if (r.rc == MP_OK)
        add_defaults(&r);
    if ((conf->flat = buf_take(&r.flat)) == NULL)
        r.rc = MP_SYSTEM;
    buf_free(&own);
    buf_free(&r.warned);
    free(r.user);
    free(r.hostname);
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
    free(conf->agent);
    conf->agent = NULL;
    conf->identities = conf->known_hosts = NULL;
    conf->flat = NULL;
}
