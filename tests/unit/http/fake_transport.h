/*
 * A transport in memory for the tests of this folder: parameters from a list, a body served in
 * pieces that breaks off where it is told to, and the answer kept as it was written.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/buffer.h"
#include "http/transport.h"

struct fake_param {
    const char *name, *value;
};

struct fake_transport {
    struct transport transport;
    struct fake_param params[16]; /* up to a NULL name */
    struct text body;
    size_t piece;     /* bytes a read gives at most; 0: as many as fit */
    size_t body_read; /* so far */
    bool body_fails;  /* the read after the last byte fails instead of ending */
    size_t reads;
    int writes_left;    /* writes that succeed; negative: all */
    struct buffer sent; /* everything written */
};

static inline const char *fake_param(void *context, const char *name)
{
    const struct fake_transport *fake = context;
    for (size_t i = 0; i < 16 && fake->params[i].name; i++)
        if (strcmp(fake->params[i].name, name) == 0)
            return fake->params[i].value;
    return NULL;
}

static inline bool fake_param_repeated(void *context, const char *name)
{
    const struct fake_transport *fake = context;
    int count = 0;
    for (size_t i = 0; i < 16 && fake->params[i].name; i++)
        count += strcmp(fake->params[i].name, name) == 0;
    return count > 1;
}

static inline long fake_read(void *context, char *buffer, size_t size)
{
    struct fake_transport *fake = context;
    size_t left = fake->body.len - fake->body_read;
    size_t n = size < left ? size : left;
    fake->reads++;
    if (fake->piece > 0 && n > fake->piece)
        n = fake->piece;
    if (n == 0)
        return fake->body_fails ? -1 : 0;
    memcpy(buffer, fake->body.data + fake->body_read, n);
    fake->body_read += n;
    return (long)n;
}

static inline bool fake_write(void *context, const char *data, size_t len)
{
    struct fake_transport *fake = context;
    if (fake->writes_left == 0)
        return false;
    if (fake->writes_left > 0)
        fake->writes_left--;
    buffer_append(&fake->sent, data, len);
    return buffer_error(&fake->sent) == ERROR_OK;
}

static inline void fake_init(struct fake_transport *fake)
{
    *fake = (struct fake_transport){.writes_left = -1};
    fake->transport = (struct transport){.context = fake,
                                         .param = fake_param,
                                         .param_repeated = fake_param_repeated,
                                         .read = fake_read,
                                         .write = fake_write};
    buffer_init(&fake->sent, (size_t)64 << 20);
}

static inline void fake_done(struct fake_transport *fake)
{
    buffer_done(&fake->sent);
}

static inline const char *fake_sent(const struct fake_transport *fake)
{
    return buffer_text(&fake->sent).data;
}
