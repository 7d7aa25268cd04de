#include "observe/log.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

struct log {
    const char *handler;
    enum log_level level;
};

/*
 * One line under construction. What does not fit is left out as whole characters and whole
 * members, and the end is kept free, so that the line is valid JSON at every moment.
 */
struct line {
    char bytes[LOG_LINE_BYTES_MAX];
    size_t len;
    bool truncated;
};

static const char TRUNCATED_END[] = ",\"truncated\":true}\n";

enum {
    LINE_ROOM = LOG_LINE_BYTES_MAX - (int)sizeof(TRUNCATED_END),
    NUMBER_SIZE = 24, /* -9223372036854775808 and terminator */
};

static __thread char request_id[REQUEST_ID_BYTES_MAX];
static __thread size_t request_id_len;

static const char *const LEVEL_NAMES[LOG_LEVEL_COUNT] = {"debug", "info", "warning", "error"};

struct log *log_new(const char *handler, enum log_level level)
{
    assert(level >= LOG_DEBUG && level < LOG_LEVEL_COUNT);
    struct log *log = malloc(sizeof(*log));
    if (log)
        *log = (struct log){.handler = handler, .level = level};
    return log;
}

void log_free(struct log *log)
{
    free(log);
}

void log_set_request_id(struct text id)
{
    request_id_len = id.len < sizeof(request_id) ? id.len : sizeof(request_id);
    if (request_id_len > 0)
        memcpy(request_id, id.data, request_id_len);
}

static bool append(struct line *line, const char *bytes, size_t len)
{
    if (len > LINE_ROOM - line->len) {
        line->truncated = true;
        return false;
    }
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
    return true;
}

/* The comma, the name and the colon of a member. */
static bool append_name(struct line *line, const char *name)
{
    return (line->len <= 1 || append(line, ",", 1)) && append(line, "\"", 1) &&
           append(line, name, strlen(name)) && append(line, "\":", 2);
}

/* How many bytes the well-formed character at the start of text has; 0 when it is ill-formed. */
static size_t character_len(struct text text)
{
    for (size_t len = 1; len <= 4 && len <= text.len; len++)
        if (text_is_utf8((struct text){text.data, len}))
            return len;
    return 0;
}

/* Writes the escaped form of a character (RFC 8259, section 7). Returns its length. */
static size_t escape(const char *character, size_t len, char out[static 8])
{
    unsigned char c = (unsigned char)character[0];
    if (len == 0) {
        memcpy(out, "\xEF\xBF\xBD", 3);
        return 3;
    }
    if (c < 0x20 || c == 0x7F)
        return (size_t)(c == '\n' ? snprintf(out, 8, "\\n") : snprintf(out, 8, "\\u%04x", c));
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    memcpy(out, character, len);
    return len;
}

static void append_text_member(struct line *line, const char *name, struct text value)
{
    size_t before = line->len;
    /* The quotes take two bytes; a value of which nothing fits is left out with its name. */
    if (!append_name(line, name) || LINE_ROOM - line->len < 2) {
        line->len = before;
        line->truncated = true;
        return;
    }
    append(line, "\"", 1);
    size_t room = LINE_ROOM - line->len - 1;
    if (room > LOG_TEXT_BYTES_MAX)
        room = LOG_TEXT_BYTES_MAX;
    while (value.len > 0) {
        char escaped[8];
        size_t taken = character_len(value);
        size_t len = escape(value.data, taken, escaped);
        if (len > room) {
            line->truncated = true;
            break;
        }
        append(line, escaped, len);
        room -= len;
        taken = taken > 0 ? taken : 1;
        value = (struct text){value.data + taken, value.len - taken};
    }
    append(line, "\"", 1);
}

static void append_number_member(struct line *line, const char *name, int64_t value)
{
    char digits[NUMBER_SIZE];
    size_t before = line->len;
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)value);
    if (!append_name(line, name) || !append(line, digits, (size_t)len))
        line->len = before;
}

/* A line that could not be written is lost: there is nowhere left to say so. */
static void write_line(const struct line *line)
{
    while (write(STDERR_FILENO, line->bytes, line->len) < 0 && errno == EINTR)
        ;
}

void log_write(struct log *log, enum log_level level, const char *message,
               const struct log_field *fields, size_t field_count)
{
    if (!log || level < log->level)
        return;
    int saved_errno = errno;
    char time[CLOCK_TIME_SIZE];
    size_t time_len = clock_format_time(clock_unix_us(), time);
    struct line line;
    line.len = 0;
    line.truncated = false;
    append(&line, "{", 1);
    append_text_member(&line, "time", (struct text){time, time_len});
    append_text_member(&line, "level", text_from(LEVEL_NAMES[level]));
    append_text_member(&line, "handler", text_from(log->handler));
    append_number_member(&line, "pid", getpid());
    if (request_id_len > 0)
        append_text_member(&line, "request_id", (struct text){request_id, request_id_len});
    append_text_member(&line, "message", text_from(message));
    for (size_t i = 0; i < field_count; i++) {
        if (fields[i].text.data)
            append_text_member(&line, fields[i].name, fields[i].text);
        else
            append_number_member(&line, fields[i].name, fields[i].number);
    }
    /* LINE_ROOM keeps this much free. */
    const char *end = line.truncated ? TRUNCATED_END : "}\n";
    size_t end_len = strlen(end);
    assert(line.len + end_len <= sizeof(line.bytes));
    memcpy(line.bytes + line.len, end, end_len);
    line.len += end_len;
    write_line(&line);
    errno = saved_errno;
}
