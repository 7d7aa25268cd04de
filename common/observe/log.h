/*
 * Structured logs: one JSON object a line on file descriptor 2, each line one write(2), so that
 * lines of several threads and processes never mix (POSIX: atomic on a pipe up to PIPE_BUF; with
 * O_APPEND on a file).
 *
 * Fields: time, level, handler, pid, request_id (when one is set), message, then the caller's own.
 * Never logged: credentials, connection strings, query strings, bodies, statement values.
 */
#pragma once

#include <stdint.h>

#include "base/text.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_LEVEL_COUNT };

struct log;

/* A named value of a log line: a text (data != NULL) or else a number. */
struct log_field {
    const char *name; /* plain ASCII */
    struct text text;
    int64_t number;
};

#define LOG_TEXT(field_name, value) ((struct log_field){.name = (field_name), .text = (value)})
#define LOG_STRING(field_name, value) \
    ((struct log_field){.name = (field_name), .text = text_from(value)})
#define LOG_NUMBER(field_name, value) ((struct log_field){.name = (field_name), .number = (value)})

/* handler: kept by pointer, lives as long as the log. Returns NULL when memory is out. */
struct log *log_new(const char *handler, enum log_level level);
void log_free(struct log *log);

/*
 * The request id that this thread's lines carry from now on; empty or absent for none. Copied.
 * Thread-local on purpose: it names the work of the thread. The router sets it, and so does a
 * thread that goes on with a request that another one began.
 */
void log_set_request_id(struct text request_id);

/*
 * Writes a line unless level is below the log's. log may be NULL (then nothing is written).
 * Thread-safe. Text is capped at LOG_LINE_BYTES_MAX (base/limits.h).
 */
void log_write(struct log *log, enum log_level level, const char *message,
               const struct log_field *fields, size_t field_count);

#define LOG_FIELDS(...)        \
    (const struct log_field[]) \
    {                          \
        __VA_ARGS__            \
    }
#define log_event(log, level, message, ...)                       \
    log_write((log), (level), (message), LOG_FIELDS(__VA_ARGS__), \
              sizeof(LOG_FIELDS(__VA_ARGS__)) / sizeof(struct log_field))
