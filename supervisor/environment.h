/*
 * The environment of a process that is about to start. It is read anew for each, so that a changed
 * setting reaches the programs by a restart that drops nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum {
    ENVIRONMENT_BYTES_MAX = 256 * 1024,
    ENVIRONMENT_ENTRIES_MAX = 1024,
    ENVIRONMENT_NOTIFY_BYTES_MAX = 512,
};

struct environment {
    char *text;                                 /* owned: what the entries point into, or NULL */
    char *entries[ENVIRONMENT_ENTRIES_MAX + 2]; /* with NOTIFY_SOCKET, closed by NULL */
    char notify[ENVIRONMENT_NOTIFY_BYTES_MAX];
};

/*
 * Reads path, a file of NAME=VALUE each ended by NUL; with path NULL, our own environment.
 * NOTIFY_SOCKET is always state/notify.sock. Returns false, with errno where a call failed, when
 * the file cannot be read or does not fit. environment_done is right in both cases.
 */
bool environment_load(const char *path, const char *state,
                      struct environment *environment) MUST_CHECK;

void environment_done(struct environment *environment);
