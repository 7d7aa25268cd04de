/*
 * A growing byte buffer with a cap.
 *
 * The first failure sticks: later appends do nothing and buffer_error tells what went wrong, so a
 * writer appends a whole document and checks once. Not thread-safe.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct buffer {
    char *data;      /* owned; always NUL-terminated once anything was appended */
    size_t len;      /* bytes in use, the terminator not counted */
    size_t capacity; /* bytes allocated */
    size_t max;      /* bytes the content may take */
    enum error err;  /* ERROR_OK, ERROR_NO_MEMORY or ERROR_BODY_TOO_LARGE */
};

/* max: cap of the content in bytes. Allocates nothing. */
void buffer_init(struct buffer *buffer, size_t max);

/* Frees the bytes. Safe on a zeroed struct. */
void buffer_done(struct buffer *buffer);

/* Empties it and clears the error. Memory above keep_bytes goes back to the allocator. */
void buffer_reset(struct buffer *buffer, size_t keep_bytes);

void buffer_append(struct buffer *buffer, const void *data, size_t len);
void buffer_append_char(struct buffer *buffer, char c);
void buffer_append_text(struct buffer *buffer, struct text text);
void buffer_append_string(struct buffer *buffer, const char *string);
void buffer_append_int(struct buffer *buffer, int64_t value);
void buffer_append_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Makes room for len more bytes and returns where they go, or NULL after a failure.
 * The caller writes up to len bytes there and then calls buffer_commit with what it wrote.
 */
char *buffer_reserve(struct buffer *buffer, size_t len);
void buffer_commit(struct buffer *buffer, size_t len);

static inline enum error buffer_error(const struct buffer *buffer)
{
    return buffer->err;
}

/* The content, borrowed until the next change. */
static inline struct text buffer_text(const struct buffer *buffer)
{
    return (struct text){buffer->data ? buffer->data : "", buffer->len};
}
