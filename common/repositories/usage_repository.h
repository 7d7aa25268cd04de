/* The usage log, which rate limits count. One function a statement; errors are database_run's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"
#include "repositories/flight.h"

struct database;
struct rows;

/* Whether an action was within its limit of the last 60 seconds; if so it is recorded. */
enum usage_result {
    USAGE_DONE,
    USAGE_LIMITED,
    USAGE_REPLAYED,    /* recorded by the same request before; the answer is the first one */
    USAGE_REUSED,      /* the idempotency key came with another request */
    USAGE_IN_PROGRESS, /* the first request with the idempotency key is not through */
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
    struct uuid id;     /* also the operation id: repeating it counts once */
    struct text action; /* "generation" or "download" */
    struct text ip_address;
    bool keyed;
    int64_t request_hash; /* when keyed */
};

/* A record on its way. */
struct usage_item {
    struct flight_item flight;
    struct uuid user_id;
    struct new_usage usage;
    struct usage_outcome outcome; /* result, if found */
    bool found;                   /* result: there is such an open account */
};
extern const struct flight_kind usage_repository_records;

/* The word a statement tells its outcome by. */
enum usage_result usage_result_read(struct text word);

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
