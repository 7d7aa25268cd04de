/*
 * Writes JSON into a buffer, commas and escapes included (RFC 8259).
 *
 * Failures stick in the buffer (buffer_error). The writer holds no memory of its own.
 * Strings that are not UTF-8 have their bad bytes replaced by U+FFFD: the database is UTF-8, so
 * this only guards text that came from outside, such as a provider's message.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"
#include "base/uuid.h"

struct json_writer {
    struct buffer *out;
    bool need_comma;
};

void json_writer_init(struct json_writer *json, struct buffer *out);

void json_begin_object(struct json_writer *json);
void json_end_object(struct json_writer *json);
void json_begin_array(struct json_writer *json);
void json_end_array(struct json_writer *json);

/* The name of the next value. name: plain ASCII without quotes, backslashes or control characters.
 */
void json_key(struct json_writer *json, const char *name);

void json_null(struct json_writer *json);
void json_boolean(struct json_writer *json, bool value);
void json_int(struct json_writer *json, int64_t value);
/* An absent text is null. */
void json_text(struct json_writer *json, struct text value);
void json_uuid(struct json_writer *json, const struct uuid *value);
/* Microseconds since 1970, as ISO 8601 in UTC. */
void json_time(struct json_writer *json, int64_t unix_us);
/* Days since 1970-01-01, as YYYY-MM-DD. */
void json_date(struct json_writer *json, int32_t days);

/* A key and its value. */
void json_member_null(struct json_writer *json, const char *name);
void json_member_boolean(struct json_writer *json, const char *name, bool value);
void json_member_int(struct json_writer *json, const char *name, int64_t value);
void json_member_text(struct json_writer *json, const char *name, struct text value);
void json_member_string(struct json_writer *json, const char *name, const char *value);
void json_member_uuid(struct json_writer *json, const char *name, const struct uuid *value);
void json_member_time(struct json_writer *json, const char *name, int64_t unix_us);
void json_member_date(struct json_writer *json, const char *name, int32_t days);
