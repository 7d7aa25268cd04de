/* Which rows of one user a list statement returns: a page of them. */
#pragma once

#include <stdint.h>

#include "base/uuid.h"

/* Newest first: what is older than (before_created_at, before_id). */
struct row_page {
    int64_t before_created_at; /* microseconds since 1970 */
    struct uuid before_id;
    int32_t limit; /* rows */
};

/* In key order, for the export: what comes after an id. */
struct row_range {
    struct uuid after_id;
    int32_t limit; /* rows */
};
