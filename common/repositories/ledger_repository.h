/*
 * Movements of tokens, holds, and what verifies them. One function a statement; errors are those of
 * database_run. Where the outcome is LEDGER_NO_ACCOUNT or ret_found is false, there is no such
 * account, or it was closed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/operation.h"
#include "base/text.h"
#include "base/uuid.h"
#include "database/flight.h"
#include "repositories/row_key.h"

struct database;
struct rows;

/* What became of a movement. */
enum ledger_outcome {
    LEDGER_DONE,
    LEDGER_REPLAYED,     /* done before by the same request; the answer is the first one */
    LEDGER_INSUFFICIENT, /* balance says what could be spent */
    LEDGER_LIMIT,        /* the balance would pass 2^31 - 1 */
    LEDGER_REUSED,       /* the idempotency key came with another request */
    LEDGER_IN_PROGRESS,  /* the first request with the key is not through */
    LEDGER_NOT_FOUND,    /* no such hold or entry */
    LEDGER_NOT_PENDING,  /* the hold was captured, released or has expired */
    LEDGER_TOO_MUCH,     /* more than the hold */
    LEDGER_ALREADY_REVERSED,
    LEDGER_OF_PAYMENT, /* a refund takes it back */
    LEDGER_NO_ACCOUNT,
};

struct movement {
    struct uuid user_id;
    struct operation operation; /* its id is the entry's */
    int32_t amount;             /* tokens, negative when spent */
    struct text type;
    struct text description; /* absent: none */
};

/* What a movement or a capture answers. */
struct movement_answer {
    enum ledger_outcome outcome;
    int32_t balance;
};

enum { MOVEMENT_PARAMS = 6 };

/* A movement on its way. The first two are the caller's, the others the repository's own. */
struct movement_request {
    void (*done)(void *context);
    void *context;
    struct flight_item item;
    struct param params[MOVEMENT_PARAMS];
};

/*
 * Starts a movement and does not wait for it: request->done is called with its context once it was
 * tried, perhaps before the return and perhaps by a thread that must not be made to wait. The
 * texts of movement and request are kept until _finish returns. An error: nothing was sent and done
 * is not called.
 */
enum error ledger_repository_post_start(struct database *database, const struct movement *movement,
                                        struct movement_request *request) MUST_CHECK;
/* After done: whether _finish has to wait for the database. */
bool ledger_repository_post_waits(const struct movement_request *request);
/* ERROR_CONFLICT: its id exists; see ledger_repository_entry. */
enum error ledger_repository_post_finish(struct database *database,
                                         struct movement_request *request,
                                         struct movement_answer *ret_answer) MUST_CHECK;

/* A movement by itself, waited for. Errors as ledger_repository_post_finish. */
enum error ledger_repository_post(struct database *database, const struct movement *movement,
                                  struct movement_answer *ret_answer) MUST_CHECK;

/* One of many. */
struct movement_item {
    struct movement movement;
    struct movement_answer answer; /* result */
    enum error err;                /* result, as ledger_repository_post_finish */
};

/* At most BATCH_OPERATIONS_MAX. An error: it may have happened, or not at all. */
enum error ledger_repository_post_many(struct database *database, struct movement_item *items,
                                       size_t count) MUST_CHECK;

/* The answer an entry was made with: balance. ret_found false: there is no such entry. */
enum error ledger_repository_entry(struct database *database, const struct row_key *entry,
                                   int32_t *ret_balance, bool *ret_found) MUST_CHECK;

struct reversal {
    struct uuid user_id;       /* whose balance */
    struct uuid entry_user_id; /* whose entry: the same, or a device linked to it */
    struct uuid entry_id;
    struct operation operation;
};

struct reversal_answer {
    enum ledger_outcome outcome;
    int32_t balance;
    struct uuid reversal_id; /* of the entry that reverses */
};

enum error ledger_repository_reverse(struct database *database, const struct reversal *reversal,
                                     struct reversal_answer *ret_answer) MUST_CHECK;

struct new_hold {
    struct uuid user_id;
    struct operation operation; /* its id is the hold's */
    int32_t amount;
    int32_t ttl_seconds;
    struct text description;
};

struct hold_answer {
    enum ledger_outcome outcome;
    int32_t balance, held;
    int64_t expires_at; /* microseconds since 1970 */
};

enum error ledger_repository_hold(struct database *database, const struct new_hold *hold,
                                  struct hold_answer *ret_answer) MUST_CHECK;

struct capture {
    struct row_key hold;
    bool whole; /* else amount */
    int32_t amount;
    struct operation operation;
};

enum error ledger_repository_capture(struct database *database, const struct capture *capture,
                                     struct movement_answer *ret_answer) MUST_CHECK;

enum error ledger_repository_release(struct database *database, const struct row_key *hold,
                                     struct movement_answer *ret_answer) MUST_CHECK;

/* Releases expired holds of up to limit accounts. */
enum error ledger_repository_sweep(struct database *database, int32_t limit) MUST_CHECK;

struct ledger_account {
    int32_t balance; /* tokens that can be spent */
    int32_t held;
};

enum error ledger_repository_account(struct database *database, const struct uuid *user_id,
                                     struct ledger_account *ret_account,
                                     bool *ret_found) MUST_CHECK;
/* As it was: what happened at at or before it, microseconds since 1970. */
struct account_moment {
    struct uuid user_id;
    int64_t at;
};
enum error ledger_repository_account_at(struct database *database,
                                        const struct account_moment *moment,
                                        struct ledger_account *ret_account,
                                        bool *ret_found) MUST_CHECK;

/* An account whose books do not agree. */
struct ledger_mismatch {
    struct uuid user_id;
    int32_t balance;
    int64_t entries_sum;
    int64_t chain_breaks; /* entries whose balance after is not the one before plus the amount */
    int32_t held;
    int64_t holds_sum;
};

struct ledger_mismatch_list {
    struct ledger_mismatch *items; /* owned; at most VERIFY_MISMATCHES_MAX */
    size_t count;
    struct rows *rows; /* owned */
};

enum error ledger_repository_verify(struct database *database,
                                    struct ledger_mismatch_list *ret_list) MUST_CHECK;
void ledger_mismatch_list_done(struct ledger_mismatch_list *list);

struct ledger_totals {
    int64_t accounts, entries;
};
enum error ledger_repository_totals(struct database *database,
                                    struct ledger_totals *ret_totals) MUST_CHECK;

/* Where a linked account's tokens are now. ret_found false: it was not linked. */
enum error ledger_repository_merged_into(struct database *database, const struct uuid *user_id,
                                         struct uuid *ret_user_id, bool *ret_found) MUST_CHECK;
