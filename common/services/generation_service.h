/* The history of generated images of the calling account. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/app.h"
#include "base/error.h"
#include "repositories/generation_repository.h"
#include "services/account_service.h"
#include "base/operation.h"

/*
 * Stores a generation the client made, counted against the generation limit.
 * draft: id is filled in here. ret_generation: texts are borrowed from draft.
 * key may be NULL. ERROR_RATE_LIMITED with ret_usage filled when the limit is reached, and
 * ERROR_IDEMPOTENCY_KEY_REUSED; nothing is stored then.
 */
enum error generation_service_record(struct app *app, struct account *account,
                                     struct new_generation *draft, const struct operation_key *key,
                                     struct generation *ret_generation,
                                     struct usage_outcome *ret_usage) MUST_CHECK;

/*
 * A page, newest first, older than (before_created_at, before_id). ret_total: generations of the
 * account, counted only when it comes in negative, so that deep pages cost what the first costs.
 */
enum error generation_service_list(struct app *app, const struct account *account,
                                   int64_t before_created_at, const struct uuid *before_id,
                                   int32_t limit, struct generation_list *ret_list,
                                   int64_t *ret_total) MUST_CHECK;

/* ERROR_NOT_FOUND: the account has none with this id. */
enum error generation_service_delete(struct app *app, const struct account *account,
                                     const struct uuid *id) MUST_CHECK;
