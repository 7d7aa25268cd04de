/* Generated images. One function a statement; errors are those of database_run. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"
#include "repositories/row_page.h"
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
    struct operation operation; /* its id is the generation's */
    struct text image_url;
    struct text prompt_used;
    struct text trend;
    struct text quality;
    struct text ip_address;
    bool by_address; /* generations from the address count against the limit as well */
};

struct generation_answer {
    struct usage_outcome usage;
    int64_t created_at; /* microseconds since 1970, when stored */
};

/*
 * Stores it, counted against the generation limit, when the answer's usage is USAGE_DONE;
 * USAGE_REPLAYED: it was stored by the same operation before.
 */
enum error generation_repository_record(struct database *database, const struct uuid *user_id,
                                        const struct new_generation *generation,
                                        struct generation_answer *ret_answer) MUST_CHECK;

struct generation_list {
    struct generation *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};

enum error generation_repository_list(struct database *database, const struct uuid *user_id,
                                      const struct row_page *page,
                                      struct generation_list *ret_list) MUST_CHECK;
void generation_list_done(struct generation_list *list);

enum error generation_repository_count(struct database *database, const struct uuid *user_id,
                                       int64_t *ret_total) MUST_CHECK;

/* ret_deleted false: the user has none with this id. */
enum error generation_repository_delete(struct database *database, const struct uuid *user_id,
                                        const struct uuid *id, bool *ret_deleted) MUST_CHECK;
