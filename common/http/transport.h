/*
 * Where a request comes from and its answer goes: FastCGI (transport_fastcgi.h) or plain CGI
 * (transport_cgi.h). Used by one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct transport {
    void *context;
    /* A parameter of the request, or NULL. Borrowed until the request is finished. */
    const char *(*param)(void *context, const char *name);
    /* Whether it came more than once; param gives the first. NULL where that cannot be. */
    bool (*param_repeated)(void *context, const char *name);
    /* Reads up to size bytes of the body. 0 at its end, -1 when it broke off. */
    long (*read)(void *context, char *buffer, size_t size);
    /* Writes part of the answer: header lines, an empty line, the body. */
    bool (*write)(void *context, const char *data, size_t len);
    /*
     * Gives the answer up: what was written so far must not be taken for a whole one. NULL where
     * the way it ends cannot say so.
     */
    void (*abandon)(void *context);
};
