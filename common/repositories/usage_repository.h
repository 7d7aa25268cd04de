/* The usage log, which rate limits count. One function a statement; errors are database_run's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/operation.h"
#include "base/text.h"
#include "base/uuid.h"
#include "repositories/row_page.h"

struct database;
struct rows;

/* Whether an action was within its limit of the last 60 seconds; if so it is recorded. */
enum usage_result {
    USAGE_DONE,
    USAGE_LIMITED,
    USAGE_REPLAYED,    /* recorded by the same request before; the answer is the first one */
    USAGE_REUSED,      /* the idempotency key came with another request */
    USAGE_IN_PROGRESS, /* the first request with the idempotency key is not through */
    USAGE_NO_ACCOUNT,  /* there is no such open account */
};

struct usage_outcome {
    enum usage_result result;
    int32_t used;        /* in the window, this one included when allowed */
    int32_t usage_limit; /* actions in 60 seconds */
    int64_t reset_at;    /* when the oldest leaves the window, microseconds since 1970 */
    int64_t retry_at;    /* when it may be tried again, if limited: perhaps by its address */
};

/* An action to record. */
struct new_usage {
    struct operation operation; /* its id is the entry's: repeating it counts once */
    struct text action;         /* "generation" or "download" */
    struct text ip_address;
};

enum error usage_repository_record(struct database *database, const struct uuid *user_id,
                                   const struct new_usage *usage,
                                   struct usage_outcome *ret_outcome) MUST_CHECK;

/* The word a statement tells its result by. ERROR_INTERNAL: not one of them. */
enum error usage_result_read(struct text word, enum usage_result *ret_result) MUST_CHECK;

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

/* For the export. */
enum error usage_repository_list(struct database *database, const struct uuid *user_id,
                                 const struct row_range *range,
                                 struct usage_list *ret_list) MUST_CHECK;
void usage_list_done(struct usage_list *list);
