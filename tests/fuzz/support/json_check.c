#include "support/json_check.h"

enum { DEPTH_MAX = 64, NAMES_MAX = 64 };

struct reader {
    const char *p;
    const char *end;
    struct json_facts facts;
};

static bool value(struct reader *reader, int depth);

static void blanks(struct reader *reader)
{
    while (reader->p < reader->end && memchr(" \t\r\n", *reader->p, 4))
        reader->p++;
}

static bool take(struct reader *reader, char c)
{
    if (reader->p == reader->end || *reader->p != c)
        return false;
    reader->p++;
    return true;
}

static bool take_word(struct reader *reader, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(reader->end - reader->p) < len || memcmp(reader->p, word, len) != 0)
        return false;
    reader->p += len;
    return true;
}

static bool digits(struct reader *reader)
{
    const char *first = reader->p;
    while (reader->p < reader->end && *reader->p >= '0' && *reader->p <= '9')
        reader->p++;
    return reader->p > first;
}

static bool number(struct reader *reader)
{
    take(reader, '-');
    if (!take(reader, '0') && !digits(reader))
        return false;
    if (take(reader, '.') && !digits(reader))
        return false;
    if (take(reader, 'e') || take(reader, 'E')) {
        if (!take(reader, '+'))
            take(reader, '-');
        return digits(reader);
    }
    return true;
}

static bool escape(struct reader *reader)
{
    if (reader->p == reader->end)
        return false;
    char c = *reader->p++;
    if (c != 'u')
        return c != '\0' && strchr("\"\\/bfnrt", c);
    for (int i = 0; i < 4; i++, reader->p++)
        if (reader->p == reader->end || *reader->p == '\0' ||
            !strchr("0123456789abcdefABCDEF", *reader->p))
            return false;
    return true;
}

/* ret_content: what stands between the quotes. */
static bool string(struct reader *reader, struct text *ret_content)
{
    if (!take(reader, '"'))
        return false;
    const char *first = reader->p;
    while (reader->p < reader->end && *reader->p != '"') {
        if ((unsigned char)*reader->p < 0x20)
            return false;
        if (take(reader, '\\')) {
            if (!escape(reader))
                return false;
        } else {
            reader->p++;
        }
    }
    *ret_content = (struct text){first, (size_t)(reader->p - first)};
    return take(reader, '"');
}

static void note_name(struct reader *reader, struct text name, struct text *names, size_t count)
{
    if (memchr(name.data, '\\', name.len))
        reader->facts.escaped_name = true;
    for (size_t i = 0; i + 6 <= name.len; i++) {
        if (name.data[i] != '\\')
            continue;
        if (memcmp(name.data + i, "\\u0000", 6) == 0)
            reader->facts.nul_name = true;
        i++; /* the letter behind the backslash is no backslash that escapes */
    }
    for (size_t i = 0; i < count; i++)
        if (text_equal(names[i], name))
            reader->facts.duplicate_name = true;
    if (count == NAMES_MAX)
        reader->facts.crowded = true;
    else
        names[count] = name;
}

static bool object(struct reader *reader, int depth)
{
    struct text names[NAMES_MAX];
    size_t count = 0;
    blanks(reader);
    if (take(reader, '}'))
        return true;
    do {
        struct text name;
        blanks(reader);
        if (!string(reader, &name))
            return false;
        note_name(reader, name, names, count);
        count += count < NAMES_MAX;
        blanks(reader);
        if (!take(reader, ':') || !value(reader, depth))
            return false;
    } while (take(reader, ','));
    return take(reader, '}');
}

static bool array(struct reader *reader, int depth)
{
    blanks(reader);
    if (take(reader, ']'))
        return true;
    do {
        if (!value(reader, depth))
            return false;
    } while (take(reader, ','));
    return take(reader, ']');
}

static bool container(struct reader *reader, int depth, bool is_object)
{
    if (depth >= DEPTH_MAX)
        return false;
    if (depth + 1 > reader->facts.depth)
        reader->facts.depth = depth + 1;
    if (depth == 0)
        reader->facts.object = is_object;
    return is_object ? object(reader, depth + 1) : array(reader, depth + 1);
}

/* With the blanks around it. */
static bool value(struct reader *reader, int depth)
{
    struct text content;
    bool valid;
    blanks(reader);
    if (reader->p == reader->end)
        return false;
    if (*reader->p == '"')
        valid = string(reader, &content);
    else if (take(reader, '{'))
        valid = container(reader, depth, true);
    else if (take(reader, '['))
        valid = container(reader, depth, false);
    else
        valid = take_word(reader, "true") || take_word(reader, "false") ||
                take_word(reader, "null") || number(reader);
    blanks(reader);
    return valid;
}

/* By code points, where the library under test goes by byte patterns (RFC 3629). */
static bool is_utf8(struct text text)
{
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < text.len;) {
        unsigned char lead = (unsigned char)text.data[i++];
        size_t len = lead < 0x80       ? 1
                     : lead >> 5 == 6  ? 2
                     : lead >> 4 == 14 ? 3
                     : lead >> 3 == 30 ? 4
                                       : 0;
        if (len == 0 || text.len - i < len - 1)
            return false;
        uint32_t code = len == 1 ? lead : lead & (0x7FU >> len);
        for (size_t k = 1; k < len; k++, i++) {
            if (((unsigned char)text.data[i] & 0xC0) != 0x80)
                return false;
            code = code << 6 | ((unsigned char)text.data[i] & 0x3F);
        }
        if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF) || code < LEAST[len])
            return false;
    }
    return true;
}

bool json_check(struct text text, struct json_facts *ret_facts)
{
    struct reader reader = {.p = text.data, .end = text.data + text.len};
    if (!is_utf8(text) || !value(&reader, 0) || reader.p != reader.end)
        return false;
    *ret_facts = reader.facts;
    return true;
}
