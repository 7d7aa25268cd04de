#include "base/text.h"

#include <assert.h>
#include <strings.h>

bool text_equal(struct text a, struct text b)
{
    if (!a.data || !b.data)
        return a.data == b.data;
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

bool text_equal_nocase(struct text a, const char *b)
{
    return a.data && a.len == strlen(b) && strncasecmp(a.data, b, a.len) == 0;
}

bool text_starts_nocase(struct text a, const char *prefix)
{
    size_t len = strlen(prefix);
    return a.data && a.len >= len && strncasecmp(a.data, prefix, len) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct text text_trim(struct text a)
{
    while (a.len > 0 && is_blank(a.data[0])) {
        a.data++;
        a.len--;
    }
    while (a.len > 0 && is_blank(a.data[a.len - 1]))
        a.len--;
    return a;
}

bool text_next_item(struct text *rest, char separator, struct text *ret_item)
{
    if (!rest->data)
        return false;
    const char *end = memchr(rest->data, separator, rest->len);
    size_t len = end ? (size_t)(end - rest->data) : rest->len;
    *ret_item = text_trim((struct text){rest->data, len});
    if (end)
        *rest = (struct text){end + 1, rest->len - len - 1};
    else
        *rest = (struct text){NULL, 0};
    return true;
}

bool text_equal_secret(struct text a, struct text b)
{
    if (!a.data || !b.data)
        return false;
    unsigned difference = a.len != b.len;
    for (size_t i = 0; i < a.len; i++) {
        unsigned char other = b.len > 0 ? (unsigned char)b.data[i % b.len] : 0;
        difference |= (unsigned)((unsigned char)a.data[i] ^ other);
    }
    return difference == 0;
}

int text_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Length of the UTF-8 sequence at p, or 0 when it is ill-formed. RFC 3629, section 4. */
static size_t utf8_sequence(const unsigned char *p, size_t len)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    size_t want = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (len < want)
        return 0;
    for (size_t i = 1; i < want; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
        (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return want;
}

bool text_is_utf8(struct text a)
{
    const unsigned char *p = (const unsigned char *)a.data;
    size_t left = a.len;
    while (left > 0) {
        size_t n = utf8_sequence(p, left);
        if (n == 0)
            return false;
        p += n;
        left -= n;
    }
    return true;
}

bool text_to_int64(struct text a, int64_t *ret_value)
{
    bool negative = a.len > 0 && a.data[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == a.len)
        return false;
    int64_t value = 0;
    for (; i < a.len; i++) {
        if (a.data[i] < '0' || a.data[i] > '9')
            return false;
        int digit = a.data[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *ret_value = value;
    return true;
}

bool text_copy(struct text a, char *buffer, size_t size)
{
    assert(size > 0);
    buffer[0] = '\0';
    if (a.len >= size)
        return false;
    if (a.len > 0)
        memcpy(buffer, a.data, a.len);
    buffer[a.len] = '\0';
    return true;
}
