/* The history of generated images of the calling account. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/app.h"
#include "base/error.h"
#include "base/operation.h"
#include "repositories/generation_repository.h"
#include "services/account_service.h"

/* A generation the client made. */
struct generation_draft {
    struct new_generation generation; /* its operation is made by the service */
    const struct operation_key *key;  /* may be NULL */
};

struct generation_recorded {
    struct generation generation; /* its texts are borrowed from the draft */
    struct usage_outcome usage;
};

/*
 * Stores a generation the client made, counted against the generation limit. ERROR_RATE_LIMITED
 * with ret_recorded->usage filled when the limit is reached, ERROR_IDEMPOTENCY_KEY_REUSED,
 * ERROR_IDEMPOTENCY_IN_PROGRESS; nothing is stored then.
 */
enum error generation_service_record(struct app *app, struct account *account,
                                     const struct generation_draft *draft,
                                     struct generation_recorded *ret_recorded) MUST_CHECK;

/* A page, newest first. generation_list_done when finished. */
enum error generation_service_list(struct app *app, const struct account *account,
                                   const struct row_page *page,
                                   struct generation_list *ret_list) MUST_CHECK;

/* Generations of the account; costs what there are, so only the first page tells it. */
enum error generation_service_count(struct app *app, const struct account *account,
                                    int64_t *ret_total) MUST_CHECK;

/* ERROR_NOT_FOUND: the account has none with this id. */
enum error generation_service_delete(struct app *app, const struct account *account,
                                     const struct uuid *id) MUST_CHECK;
