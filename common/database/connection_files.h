/* The files libpq reads when it connects: certificates, keys, passwords. For the sandbox. */
#pragma once

#include <stdbool.h>

/*
 * Calls each(context, path) for every file that the connection string, the environment
 * (PGSSLROOTCERT and the like) or libpq's own defaults below HOME name. url: may be empty. path:
 * absolute, borrowed for the call; need not exist. Returns false when memory is out.
 */
bool connection_files(const char *url, void (*each)(void *context, const char *path), void *context)
    __attribute__((warn_unused_result));
