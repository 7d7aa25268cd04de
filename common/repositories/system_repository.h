/* The database itself: whether it answers, and the version of its schema. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct database;

struct system_state {
    bool writable;
    int32_t max_connections;
};

enum error system_repository_ping(struct database *database,
                                  struct system_state *ret_state) MUST_CHECK;

/* What bringing the schema up to date did. */
struct schema_report {
    int version;     /* of the schema now */
    int applied[64]; /* versions applied by this call, ascending */
    size_t applied_count;
};

/* Applies what is missing. Safe at any time and in any number of processes. */
enum error system_repository_migrate(struct database *database,
                                     struct schema_report *ret_report) MUST_CHECK;
