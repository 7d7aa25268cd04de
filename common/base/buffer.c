#include "base/buffer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 512 };

void buffer_init(struct buffer *buffer, size_t max)
{
    *buffer = (struct buffer){.max = max};
}

void buffer_done(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){.max = buffer->max};
}

void buffer_reset(struct buffer *buffer, size_t keep_bytes)
{
    if (buffer->capacity > keep_bytes)
        buffer_done(buffer);
    buffer->len = 0;
    buffer->err = ERROR_OK;
    if (buffer->data)
        buffer->data[0] = '\0';
}

char *buffer_reserve(struct buffer *buffer, size_t len)
{
    if (buffer->err)
        return NULL;
    if (len > buffer->max - buffer->len) {
        buffer->err = ERROR_BODY_TOO_LARGE;
        return NULL;
    }
    size_t need = buffer->len + len + 1;
    if (need > buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity : FIRST_CAPACITY;
        while (capacity < need)
            capacity *= 2;
        char *data = realloc(buffer->data, capacity);
        if (!data) {
            buffer->err = ERROR_NO_MEMORY;
            return NULL;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->len;
}

void buffer_commit(struct buffer *buffer, size_t len)
{
    assert(buffer->len + len < buffer->capacity);
    buffer->len += len;
    buffer->data[buffer->len] = '\0';
}

void buffer_append(struct buffer *buffer, const void *data, size_t len)
{
    /* Most of what is appended is short and fits: no call for it. */
    bool fits = buffer->err == ERROR_OK && len <= buffer->max - buffer->len &&
                len < buffer->capacity - buffer->len;
    char *to = fits ? buffer->data + buffer->len : buffer_reserve(buffer, len);
    if (!to)
        return;
    if (len > 0)
        memcpy(to, data, len);
    buffer->len += len;
    to[len] = '\0';
}

void buffer_append_char(struct buffer *buffer, char c)
{
    buffer_append(buffer, &c, 1);
}

void buffer_append_text(struct buffer *buffer, struct text text)
{
    buffer_append(buffer, text.data, text.len);
}

void buffer_append_string(struct buffer *buffer, const char *string)
{
    buffer_append(buffer, string, strlen(string));
}

void buffer_append_int(struct buffer *buffer, int64_t value)
{
    char digits[24]; /* -9223372036854775808 is 20 characters */
    char *p = digits + sizeof(digits);
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        *--p = '-';
    buffer_append(buffer, p, (size_t)(digits + sizeof(digits) - p));
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(len >= 0);
    char *to = buffer_reserve(buffer, (size_t)len);
    if (!to)
        return;
    va_start(arguments, format);
    vsnprintf(to, (size_t)len + 1, format, arguments);
    va_end(arguments);
    buffer_commit(buffer, (size_t)len);
}
