/*
 * Movements of tokens, holds, and what verifies them. One function a statement; errors are those of
 * database_run. Where ret_found is false, there is no such account, or it was closed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"
#include "repositories/flight.h"

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
    struct uuid id; /* of the entry; the operation id */
    int32_t amount; /* tokens, negative when spent */
    struct text type;
    struct text description; /* absent: none */
    bool keyed;
    int64_t request_hash; /* when keyed */
};

/* The answer to a movement or a capture. */
struct movement_answer {
    enum ledger_outcome outcome;
    int32_t balance;
};

/* A movement on its way. err ERROR_CONFLICT: its id exists; see ledger_repository_entry. */
struct movement_item {
    struct flight_item flight;
    struct movement movement;
    struct movement_answer answer; /* result */
};
extern const struct flight_kind ledger_repository_movements;

/* The answer an entry was made with. */
enum error ledger_repository_entry(struct database *database, const struct uuid *user_id,
                                   const struct uuid *id, int32_t *ret_balance,
                                   bool *ret_found) MUST_CHECK;

struct reversal {
    struct uuid user_id;       /* whose balance */
    struct uuid entry_user_id; /* whose entry: the same, or a device linked to it */
    struct uuid entry_id;
    struct uuid operation_id;
    bool keyed;
    int64_t request_hash;
};

enum error ledger_repository_reverse(struct database *database, const struct reversal *reversal,
                                     enum ledger_outcome *ret_outcome, int32_t *ret_balance,
                                     struct uuid *ret_reversal_id, bool *ret_found) MUST_CHECK;

struct new_hold {
    struct uuid user_id;
    struct uuid id;
    int32_t amount;
    int32_t ttl_seconds;
    struct text description;
    bool keyed;
    int64_t request_hash;
};

struct hold_answer {
    enum ledger_outcome outcome;
    int32_t balance, held;
    int64_t expires_at; /* microseconds since 1970 */
};

enum error ledger_repository_hold(struct database *database, const struct new_hold *hold,
                                  struct hold_answer *ret_answer, bool *ret_found) MUST_CHECK;

struct capture {
    struct uuid user_id;
    struct uuid hold_id;
    bool whole; /* else amount */
    int32_t amount;
    struct uuid operation_id;
    bool keyed;
    int64_t request_hash;
};

struct capture_item {
    struct flight_item flight;
    struct capture capture;
    struct movement_answer answer; /* result */
};
extern const struct flight_kind ledger_repository_captures;

enum error ledger_repository_release(struct database *database, const struct uuid *user_id,
                                     const struct uuid *hold_id, enum ledger_outcome *ret_outcome,
                                     int32_t *ret_balance, bool *ret_found) MUST_CHECK;

/* Releases expired holds of up to limit accounts. */
enum error ledger_repository_sweep(struct database *database, int32_t limit) MUST_CHECK;

struct ledger_account {
    int32_t balance; /* tokens that can be spent */
    int32_t held;
};

enum error ledger_repository_account(struct database *database, const struct uuid *user_id,
                                     struct ledger_account *ret_account,
                                     bool *ret_found) MUST_CHECK;
/* at: microseconds since 1970. */
enum error ledger_repository_account_at(struct database *database, const struct uuid *user_id,
                                        int64_t at, struct ledger_account *ret_account,
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
