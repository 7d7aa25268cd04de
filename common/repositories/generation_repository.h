/* Generated images. One function a statement; errors are those of database_run. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"
#include "repositories/usage_repository.h"

struct database;
struct rows;

struct generation {
    struct uuid id;
    struct uuid user_id;
    struct text image_url;
    struct text prompt_used;
    struct text trend;
    struct text quality;
    struct text status; /* pending, processing, completed or failed */
    struct text error_message;
    int64_t created_at; /* microseconds since 1970 */
    int64_t updated_at;
};

/* What the client sends of a generation that is finished; absent texts are NULL. */
struct new_generation {
    struct uuid id; /* also the operation id */
    struct text image_url;
    struct text prompt_used;
    struct text trend;
    struct text quality;
    struct text ip_address;
    bool by_address; /* generations from the address count against the limit as well */
    bool keyed;
    int64_t request_hash; /* when keyed */
};

/*
 * Stores it, counted against the generation limit, unless ret_usage->result is USAGE_LIMITED or
 * USAGE_REUSED.
 * ret_created_at: microseconds since 1970, when stored. ret_found false: no such user.
 */
enum error generation_repository_record(struct database *database, const struct uuid *user_id,
                                        const struct new_generation *generation,
                                        struct usage_outcome *ret_usage, int64_t *ret_created_at,
                                        bool *ret_found) MUST_CHECK;

struct generation_list {
    struct generation *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};

/* Newest first, older than (before_created_at, before_id). limit: rows. */
enum error generation_repository_list(struct database *database, const struct uuid *user_id,
                                      int64_t before_created_at, const struct uuid *before_id,
                                      int32_t limit, struct generation_list *ret_list) MUST_CHECK;
void generation_list_done(struct generation_list *list);

enum error generation_repository_count(struct database *database, const struct uuid *user_id,
                                       int64_t *ret_total) MUST_CHECK;

/* ret_deleted false: the user has none with this id. */
enum error generation_repository_delete(struct database *database, const struct uuid *user_id,
                                        const struct uuid *id, bool *ret_deleted) MUST_CHECK;
