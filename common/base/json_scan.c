#include "base/json_scan.h"

#include <string.h>

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

/* The four hexadecimal digits at p, whatever they are. */
static uint32_t code_unit(const char *p)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++)
        unit = unit << 4 | (((unsigned char)p[i] & 0xFU) + (p[i] > '9' ? 9U : 0U));
    return unit & 0xFFFF;
}

/* The character an escape stands for (RFC 8259, section 7), and the escape's length. */
static size_t read_escape(struct text text, uint32_t *ret_character)
{
    static const char PAIRS[] = "b\bf\fn\nr\rt\t";
    if (text.data[1] != 'u' || text.len < 6) {
        *ret_character = (unsigned char)text.data[1];
        for (const char *pair = PAIRS; *pair; pair += 2)
            if (*pair == text.data[1])
                *ret_character = (unsigned char)pair[1];
        return 2;
    }
    uint32_t unit = code_unit(text.data + 2);
    *ret_character = unit;
    if (unit < 0xD800 || unit > 0xDFFF)
        return 6;
    bool escape_follows = text.len >= 12 && memcmp(text.data + 6, "\\u", 2) == 0;
    uint32_t low = escape_follows ? code_unit(text.data + 8) : 0;
    if (unit < 0xDC00 && low >= 0xDC00 && low <= 0xDFFF) {
        *ret_character = 0x10000 + ((unit & 0x3FF) << 10) + (low & 0x3FF);
        return 12;
    }
    /* Half of a pair, which json-c takes for this one. */
    *ret_character = 0xFFFD;
    return 6;
}

/* Takes the first character of a name, however it is spelled. A malformed one is its bytes. */
static uint32_t next_character(struct text *rest)
{
    unsigned char first = (unsigned char)rest->data[0];
    uint32_t character = first;
    size_t len = first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (first == '\\' && rest->len >= 2) {
        len = read_escape(*rest, &character);
    } else if (len > 1 && len <= rest->len) {
        character = first & (0x7FU >> len);
        for (size_t i = 1; i < len; i++)
            character = character << 6 | ((unsigned char)rest->data[i] & 0x3FU);
    } else {
        len = 1;
    }
    *rest = (struct text){rest->data + len, rest->len - len};
    return character;
}

/* Whether two spellings are one name. */
static bool same_name(struct text a, struct text b)
{
    while (a.len > 0 && b.len > 0)
        if (next_character(&a) != next_character(&b))
            return false;
    return a.len == 0 && b.len == 0;
}

/* The names of the object that opens at p, compared with one another. */
static enum json_scan_duplicate duplicate_in_object(const char *p, const char *end,
                                                    struct text *ret_name)
{
    enum { NAMES_MAX = 256 };
    struct text seen[NAMES_MAX];
    size_t count = 0;
    int depth = 0;
    struct text name;
    end = object_end(p, end); /* names of the objects behind it are no duplicates */
    while (next_name(&p, end, &depth, &name)) {
        if (depth > 1)
            continue;
        if (count == NAMES_MAX)
            return JSON_SCAN_UNKNOWN;
        for (size_t i = 0; i < count; i++) {
            if (same_name(seen[i], name)) {
                /* The plainer spelling of the two. */
                *ret_name = seen[i].len < name.len ? seen[i] : name;
                return JSON_SCAN_FOUND;
            }
        }
        seen[count++] = name;
    }
    return JSON_SCAN_NONE;
}

enum json_scan_duplicate json_scan_find_duplicate(struct text json, struct text *ret_name)
{
    enum json_scan_duplicate result = JSON_SCAN_NONE;
    const char *end = json.data + json.len;
    enum { OBJECTS_MAX = 64 };
    int objects = 0;
    for (const char *p = json.data; p < end;) {
        if (*p == '"') {
            struct text content;
            p = skip_string(p, end, &content);
            continue;
        }
        if (*p == '{') {
            if (objects++ == OBJECTS_MAX)
                return JSON_SCAN_UNKNOWN;
            enum json_scan_duplicate here = duplicate_in_object(p, end, ret_name);
            if (here == JSON_SCAN_FOUND)
                return here;
            if (here == JSON_SCAN_UNKNOWN)
                result = here;
        }
        p++;
    }
    return result;
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
            fault =
                text_is_utf8(content) ? find_string_fault(content, is_name(p, end)) : content.data;
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
