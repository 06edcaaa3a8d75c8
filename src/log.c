/*
 * log.c - floor 0: words for codes, and foreign bytes made fit for a line of a log or a terminal.
 */
#include "base.h"

const char *mp_code_name(int code)
{
    static const char *const names[] = {
        "ok",   "exit",       "signal", "timeout", "stalled", "cancelled", "spawn", "connect", "hostkey",
        "auth", "disconnect", "config", "dry",     "limit",   "invalid",   "parse", "locked",  "system",
    };
    if (code > 0 || code < -(int)(sizeof names / sizeof names[0]) + 1)
        return "unknown";
    return names[-code];
}

/* Bytes of the well-formed UTF-8 character at s (1 to 4), or 0: malformed, overlong, a surrogate, or a control. */
static size_t utf8_len(const unsigned char *s, size_t n)
{
    unsigned c = s[0];
    size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (len == 0 || len > n)
        return 0;
    if (len == 1)
        return c >= 0x20 && c != 0x7f;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if (c == 0xc2 && s[1] < 0xa0) /* U+0080 to U+009F: some terminals obey them */
        return 0;
    if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) ||
        (c == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

char *mp_printable(const char *bytes, size_t n)
{
    const unsigned char *s = (const unsigned char *)bytes;
    buf b = {0};
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0;) {
        size_t len = utf8_len(s + i, n - i);
        if (len > 0)
            rc = buf_add(&b, s + i, len);
        else if (s[i] == '\n' || s[i] == '\t')
            rc = buf_str(&b, s[i] == '\n' ? "\\n" : "\\t");
        else
            rc = buf_fmt(&b, "\\x%02x", s[i]);
        i += len > 0 ? len : 1;
    }
    if (rc != 0) {
        buf_free(&b);
        return NULL;
    }
    return buf_take(&b);
}
