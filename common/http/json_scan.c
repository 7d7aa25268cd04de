#include "http/json_scan.h"

#include "base/limits.h"

/* Moves over a string; p is at its opening quote. Returns what follows the closing one, or end. */
static const char *skip_string(const char *p, const char *end, struct text *ret_content)
{
    const char *start = ++p;
    while (p < end && *p != '"')
        p += *p == '\\' && p + 1 < end ? 2 : 1;
    *ret_content = (struct text){start, (size_t)(p - start)};
    return p < end ? p + 1 : end;
}

/* A string that is followed by a colon is a member's name. */
static bool is_name(const char *after, const char *end)
{
    while (after < end && (*after == ' ' || *after == '\t' || *after == '\n' || *after == '\r'))
        after++;
    return after < end && *after == ':';
}

/* Finds the next member name at or after *p and moves behind it. Depth follows the braces. */
static bool next_name(const char **p, const char *end, int *depth, struct text *ret_name)
{
    while (*p < end) {
        if (**p == '"') {
            struct text content;
            *p = skip_string(*p, end, &content);
            if (is_name(*p, end)) {
                *ret_name = content;
                return true;
            }
            continue;
        }
        if (**p == '{')
            (*depth)++;
        else if (**p == '}')
            (*depth)--;
        (*p)++;
    }
    return false;
}

size_t json_scan_count_members(struct text json)
{
    const char *p = json.data;
    size_t count = 0;
    int depth = 0;
    struct text name;
    while (next_name(&p, json.data + json.len, &depth, &name))
        count++;
    return count;
}

struct text json_scan_member_at(struct text json, size_t offset)
{
    const char *p = json.data;
    struct text last = {NULL, 0};
    struct text name;
    int depth = 0;
    while (next_name(&p, json.data + json.len, &depth, &name) &&
           (size_t)(name.data - json.data) <= offset)
        last = name;
    return last;
}

/* Behind the closing brace of the object that opens at p, or end. */
static const char *object_end(const char *p, const char *end)
{
    int depth = 0;
    while (p < end) {
        if (*p == '"') {
            struct text content;
            p = skip_string(p, end, &content);
            continue;
        }
        if (*p == '{')
            depth++;
        else if (*p == '}' && --depth == 0)
            return p + 1;
        p++;
    }
    return end;
}

/* The names of the object that opens at p, compared with one another. */
static bool duplicate_in_object(const char *p, const char *end, struct text *ret_name)
{
    enum { NAMES_MAX = 256 };
    struct text seen[NAMES_MAX];
    size_t count = 0;
    int depth = 0;
    struct text name;
    end = object_end(p, end); /* names of the objects behind it are no duplicates */
    while (count < NAMES_MAX && next_name(&p, end, &depth, &name)) {
        if (depth > 1)
            continue;
        for (size_t i = 0; i < count; i++) {
            if (text_equal(seen[i], name)) {
                *ret_name = name;
                return true;
            }
        }
        seen[count++] = name;
    }
    return false;
}

bool json_scan_find_duplicate(struct text json, struct text *ret_name)
{
    const char *end = json.data + json.len;
    enum { OBJECTS_MAX = 64 };
    int objects = 0;
    for (const char *p = json.data; p < end && objects < OBJECTS_MAX;) {
        if (*p == '"') {
            struct text content;
            p = skip_string(p, end, &content);
            continue;
        }
        if (*p == '{') {
            objects++;
            if (duplicate_in_object(p, end, ret_name))
                return true;
        }
        p++;
    }
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* RFC 8259, section 6: an optional minus, no leading zeros, digits on both sides of a point. */
static bool is_number(const char *p, const char *end)
{
    const char *start;
    if (p < end && *p == '-')
        p++;
    start = p;
    p = skip_digits(p, end);
    if (p == start || (*start == '0' && p - start > 1))
        return false;
    if (p < end && *p == '.') {
        start = ++p;
        p = skip_digits(p, end);
        if (p == start)
            return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        start = p;
        p = skip_digits(p, end);
        if (p == start)
            return false;
    }
    return p == end;
}

/* The first character of a string's content, between its quotes, that may not be there, or NULL. */
static const char *find_string_fault(struct text content, bool name)
{
    for (size_t i = 0; i < content.len; i++) {
        const char *p = content.data + i;
        if ((unsigned char)*p < 0x20)
            return p;
        if (*p != '\\')
            continue;
        if (name && content.len - i >= 6 && memcmp(p, "\\u0000", 6) == 0)
            return p;
        i++;
    }
    return NULL;
}

bool json_scan_find_fault(struct text json, size_t *ret_offset)
{
    const char *end = json.data + json.len;
    const char *fault = NULL;
    for (const char *p = json.data; p < end && !fault;) {
        if (*p == '"') {
            struct text content;
            p = skip_string(p, end, &content);
            fault = text_is_utf8(content) ? find_string_fault(content, is_name(p, end))
                                          : content.data;
            continue;
        }
        if (memchr("{}[],: \t\r\n", *p, 10)) {
            p++;
            continue;
        }
        const char *start = p;
        while (p < end && !memchr("{}[],: \t\r\n\"", *p, 11))
            p++;
        struct text word = {start, (size_t)(p - start)};
        if (!text_equal(word, TEXT_LITERAL("true")) && !text_equal(word, TEXT_LITERAL("false")) &&
            !text_equal(word, TEXT_LITERAL("null")) && !is_number(start, p))
            fault = start;
    }
    if (fault)
        *ret_offset = (size_t)(fault - json.data);
    return fault != NULL;
}
