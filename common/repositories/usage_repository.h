/* The usage log, which rate limits count. One function a statement; errors are database_run's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"

struct database;
struct rows;

/* Whether an action was within its limit of the last 60 seconds; if so it is recorded. */
struct usage_outcome {
    bool allowed;
    int32_t used;        /* in the window, this one included when allowed */
    int32_t usage_limit; /* actions in 60 seconds */
    int64_t reset_at;    /* when the oldest leaves the window, microseconds since 1970 */
};

/*
 * action: "generation" or "download". usage_id: new; repeating it counts once.
 * ret_found false: no such user.
 */
enum error usage_repository_record(struct database *database, const struct uuid *user_id,
                                   const struct uuid *usage_id, struct text action,
                                   struct text ip_address, struct usage_outcome *ret_outcome,
                                   bool *ret_found) MUST_CHECK;

struct usage_today {
    int32_t generations, downloads;
    int32_t generations_per_minute, downloads_per_minute;
};

enum error usage_repository_today(struct database *database, const struct uuid *user_id,
                                  struct usage_today *ret_today) MUST_CHECK;

struct usage_entry {
    struct uuid id;
    struct text action;
    struct text ip_address;
    int64_t created_at; /* microseconds since 1970 */
};

struct usage_list {
    struct usage_entry *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};

/* A page in key order after an id, for the export. */
enum error usage_repository_list(struct database *database, const struct uuid *user_id,
                                 const struct uuid *after_id, int32_t limit,
                                 struct usage_list *ret_list) MUST_CHECK;
void usage_list_done(struct usage_list *list);
