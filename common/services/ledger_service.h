/*
 * Movements of tokens for trusted callers: exactly once, whatever is repeated. Payments are
 * credited in the statements that apply the provider's state, not here. Thread-safe.
 *
 * Accounts that were linked to another are followed: a service that remembers a device's user id
 * reaches the account its tokens are in now.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/app.h"
#include "base/error.h"
#include "base/operation.h"
#include "base/uuid.h"
#include "cache/cache.h"
#include "repositories/ledger_repository.h"
#include "repositories/token_repository.h"

/* What a movement answers. */
struct ledger_answer {
    struct uuid user_id; /* the account it happened in */
    struct uuid entry_id;
    int32_t balance; /* tokens that can be spent after it, or when refused for lack of them */
    bool replayed;
};

/* A spend (amount below zero), a grant, or what a hold sets aside (amount above zero). */
struct ledger_order {
    struct uuid user_id;
    int32_t amount;          /* tokens */
    struct text type;        /* purchase, bonus, generation or refund; absent for a hold */
    struct text description; /* absent: none */
};

/* A movement on its way. The first two are the caller's, the others the service's own. */
struct ledger_post {
    void (*done)(void *context);
    void *context;
    struct app *app;
    struct movement_item item;
    struct movement_request request;
    struct cache_write write;
    bool taken; /* the request's answer is in the item */
};

/*
 * Starts a movement and does not wait for it. post->done is called with its context once it was
 * tried, perhaps before the return and perhaps by a thread that serves others, which must not be
 * made to wait: it calls ledger_service_post_finish there only if ledger_service_post_waits says
 * that it does not. order, its texts, key and post: the caller's, kept until
 * ledger_service_post_finish returns; key may be NULL. An error: nothing was done and done is not
 * called.
 */
enum error ledger_service_post_start(struct app *app, const struct ledger_order *order,
                                     const struct operation_key *key,
                                     struct ledger_post *post) MUST_CHECK;
bool ledger_service_post_waits(struct ledger_post *post);

/*
 * Called once after done. ERROR_INSUFFICIENT_TOKENS (ret_answer->balance is filled),
 * ERROR_BALANCE_LIMIT, ERROR_USER_NOT_FOUND, ERROR_IDEMPOTENCY_KEY_REUSED,
 * ERROR_IDEMPOTENCY_IN_PROGRESS, or those of the database layer.
 */
enum error ledger_service_post_finish(struct ledger_post *post,
                                      struct ledger_answer *ret_answer) MUST_CHECK;

/* One of a batch: its own key, its own outcome. */
struct ledger_item {
    struct ledger_order order;
    struct operation_key key;
    enum error err; /* result: as ledger_service_post_finish */
    struct ledger_answer answer;
};

/* At most BATCH_OPERATIONS_MAX. An item that fails does not fail its neighbours. */
enum error ledger_service_post_many(struct app *app, struct ledger_item *items,
                                    size_t count) MUST_CHECK;

struct ledger_hold {
    struct uuid user_id, hold_id;
    int32_t balance, held;
    int64_t expires_at; /* microseconds since 1970 */
    bool replayed;
};

struct ledger_hold_order {
    struct ledger_order order; /* without a type */
    int32_t ttl_seconds;
};

/* Errors as ledger_service_post_finish; ret_hold->balance is filled for ERROR_INSUFFICIENT_TOKENS.
 */
enum error ledger_service_hold(struct app *app, const struct ledger_hold_order *hold_order,
                               const struct operation_key *key,
                               struct ledger_hold *ret_hold) MUST_CHECK;

struct ledger_capture {
    struct row_key hold;
    const int32_t *amount; /* NULL: the whole hold */
};

/*
 * ERROR_HOLD_NOT_PENDING, ERROR_NOT_FOUND, ERROR_INVALID_FIELD (more than the hold),
 * ERROR_IDEMPOTENCY_KEY_REUSED.
 */
enum error ledger_service_capture(struct app *app, const struct ledger_capture *capture,
                                  const struct operation_key *key,
                                  struct ledger_answer *ret_answer) MUST_CHECK;

/* Releasing twice is fine. ERROR_HOLD_NOT_PENDING: it was captured. ERROR_NOT_FOUND. */
enum error ledger_service_release(struct app *app, const struct row_key *hold,
                                  struct ledger_answer *ret_answer) MUST_CHECK;

/* ERROR_ALREADY_REVERSED, ERROR_NOT_FOUND, else as ledger_service_post_finish. */
enum error ledger_service_reverse(struct app *app, const struct row_key *entry,
                                  const struct operation_key *key,
                                  struct ledger_answer *ret_answer) MUST_CHECK;

/* at: microseconds since 1970, or NULL for now. ERROR_USER_NOT_FOUND. */
enum error ledger_service_account(struct app *app, const struct uuid *user_id, const int64_t *at,
                                  struct ledger_account *ret_account) MUST_CHECK;

enum error ledger_service_verify(struct app *app, struct ledger_totals *ret_totals,
                                 struct ledger_mismatch_list *ret_list) MUST_CHECK;

/* Releases holds that have expired; they count as released already. */
enum error ledger_service_sweep(struct app *app) MUST_CHECK;
