#include "base/json_writer.h"

#include "base/clock.h"

void json_writer_init(struct json_writer *json, struct buffer *out)
{
    *json = (struct json_writer){.out = out};
}

static void separate(struct json_writer *json)
{
    if (json->need_comma)
        buffer_append_char(json->out, ',');
    json->need_comma = true;
}

static void open_scope(struct json_writer *json, char c)
{
    separate(json);
    buffer_append_char(json->out, c);
    json->need_comma = false;
}

static void close_scope(struct json_writer *json, char c)
{
    buffer_append_char(json->out, c);
    json->need_comma = true;
}

void json_begin_object(struct json_writer *json)
{
    open_scope(json, '{');
}

void json_end_object(struct json_writer *json)
{
    close_scope(json, '}');
}

void json_begin_array(struct json_writer *json)
{
    open_scope(json, '[');
}

void json_end_array(struct json_writer *json)
{
    close_scope(json, ']');
}

void json_key(struct json_writer *json, const char *name)
{
    separate(json);
    size_t len = strlen(name);
    char *to = buffer_reserve(json->out, len + 3);
    if (!to)
        return;
    to[0] = '"';
    memcpy(to + 1, name, len);
    to[len + 1] = '"';
    to[len + 2] = ':';
    buffer_commit(json->out, len + 3);
    json->need_comma = false;
}

void json_null(struct json_writer *json)
{
    separate(json);
    buffer_append_string(json->out, "null");
}

void json_boolean(struct json_writer *json, bool value)
{
    separate(json);
    buffer_append_string(json->out, value ? "true" : "false");
}

void json_int(struct json_writer *json, int64_t value)
{
    separate(json);
    buffer_append_int(json->out, value);
}

static void append_escaped(struct buffer *out, unsigned char c)
{
    switch (c) {
    case '"':
        buffer_append_string(out, "\\\"");
        break;
    case '\\':
        buffer_append_string(out, "\\\\");
        break;
    case '\n':
        buffer_append_string(out, "\\n");
        break;
    case '\r':
        buffer_append_string(out, "\\r");
        break;
    case '\t':
        buffer_append_string(out, "\\t");
        break;
    default:
        buffer_append_format(out, "\\u%04x", c);
    }
}

/* The bytes of value, each ill-formed one replaced, into a quoted string. */
static void append_repaired(struct buffer *out, struct text value)
{
    for (size_t i = 0; i < value.len; i++) {
        size_t len = 1;
        while (len <= 4 && i + len <= value.len &&
               !text_is_utf8((struct text){value.data + i, len}))
            len++;
        if (len > 4 || i + len > value.len) {
            buffer_append_string(out, "\xEF\xBF\xBD");
            continue;
        }
        unsigned char c = (unsigned char)value.data[i];
        if (len == 1 && (c < 0x20 || c == '"' || c == '\\'))
            append_escaped(out, c);
        else
            buffer_append(out, value.data + i, len);
        i += len - 1;
    }
}

/* A string of characters that stand for themselves. */
static void append_plain(struct json_writer *json, const char *value, size_t len)
{
    separate(json);
    char *to = buffer_reserve(json->out, len + 2);
    if (!to)
        return;
    to[0] = '"';
    memcpy(to + 1, value, len);
    to[len + 1] = '"';
    buffer_commit(json->out, len + 2);
}

static bool is_plain(struct text value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            return false;
    }
    return true;
}

void json_text(struct json_writer *json, struct text value)
{
    if (!value.data) {
        json_null(json);
        return;
    }
    if (is_plain(value)) {
        append_plain(json, value.data, value.len);
        return;
    }
    separate(json);
    struct buffer *out = json->out;
    buffer_append_char(out, '"');
    if (!text_is_utf8(value)) {
        append_repaired(out, value);
        buffer_append_char(out, '"');
        return;
    }
    size_t start = 0;
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buffer_append(out, value.data + start, i - start);
        append_escaped(out, c);
        start = i + 1;
    }
    buffer_append(out, value.data + start, value.len - start);
    buffer_append_char(out, '"');
}

void json_uuid(struct json_writer *json, const struct uuid *value)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(value, text);
    append_plain(json, text, UUID_TEXT_SIZE - 1);
}

void json_time(struct json_writer *json, int64_t unix_us)
{
    char text[CLOCK_TIME_SIZE];
    size_t len = clock_format_time(unix_us, text);
    append_plain(json, text, len);
}

void json_date(struct json_writer *json, int32_t days)
{
    char text[CLOCK_DATE_SIZE];
    size_t len = clock_format_date(days, text);
    append_plain(json, text, len);
}

void json_member_null(struct json_writer *json, const char *name)
{
    json_key(json, name);
    json_null(json);
}

void json_member_boolean(struct json_writer *json, const char *name, bool value)
{
    json_key(json, name);
    json_boolean(json, value);
}

void json_member_int(struct json_writer *json, const char *name, int64_t value)
{
    json_key(json, name);
    json_int(json, value);
}

void json_member_text(struct json_writer *json, const char *name, struct text value)
{
    json_key(json, name);
    json_text(json, value);
}

void json_member_string(struct json_writer *json, const char *name, const char *value)
{
    json_member_text(json, name, text_from(value));
}

void json_member_uuid(struct json_writer *json, const char *name, const struct uuid *value)
{
    json_key(json, name);
    json_uuid(json, value);
}

void json_member_time(struct json_writer *json, const char *name, int64_t unix_us)
{
    json_key(json, name);
    json_time(json, unix_us);
}

void json_member_date(struct json_writer *json, const char *name, int32_t days)
{
    json_key(json, name);
    json_date(json, days);
}
