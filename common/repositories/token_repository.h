/* Balances and the ledger. One function a statement; errors are those of database_run. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/operation.h"
#include "base/text.h"
#include "base/uuid.h"

struct database;
struct rows;

struct token_row {
    int32_t balance; /* tokens that can be spent now: holds are taken off */
    int32_t held;
    bool has_last_bonus_date;
    int32_t last_bonus_date; /* days since 1970-01-01 */
    int32_t server_date;     /* the database's UTC date, days since 1970-01-01 */
    int64_t as_of;           /* the database's clock, microseconds since 1970 */
    struct text plan;
    struct text plan_quality;
    bool has_daily_generations; /* false: unlimited */
    int32_t daily_generations;
    int32_t generations_today;
    bool has_next_hold_expiry;
    int64_t next_hold_expiry; /* microseconds since 1970: held changes by itself then */
    struct rows *rows;        /* owned; what the texts are borrowed from */
};

/* ret_found false: there is no such open account. token_row_done when found. */
enum error token_repository_status(struct database *database, const struct uuid *user_id,
                                   struct token_row *ret_row, bool *ret_found) MUST_CHECK;
void token_row_done(struct token_row *row);

enum bonus_outcome {
    BONUS_DONE,
    BONUS_REPLAYED,    /* by this operation before; the answer is the first one */
    BONUS_CLAIMED,     /* by another one, today */
    BONUS_REUSED,      /* the idempotency key came with another request */
    BONUS_IN_PROGRESS, /* the first request with the idempotency key is not through */
    BONUS_NO_ACCOUNT,  /* there is no such open account */
};

struct token_bonus {
    enum bonus_outcome outcome;
    int32_t tokens_awarded;
    int32_t balance; /* tokens that can be spent now */
};

/* operation: the same gives the same answer. */
enum error token_repository_claim_bonus(struct database *database, const struct uuid *user_id,
                                        const struct operation *operation,
                                        struct token_bonus *ret_bonus) MUST_CHECK;

/* Which entries of a user's ledger: a page of them, newest first. */
struct transaction_filter {
    int64_t before_created_at; /* microseconds since 1970 */
    struct uuid before_id;
    int32_t limit;
    struct text type; /* absent: every type */
    int64_t from;     /* inclusive; SQL_TIMESTAMP_MIN for none */
    int64_t to;       /* exclusive; SQL_TIMESTAMP_MAX for none */
};

struct transaction {
    struct uuid user_id; /* the account's, or that of a device linked to it */
    struct uuid id;
    int32_t amount; /* tokens, negative when spent */
    struct text type;
    struct text description;
    int32_t balance_after;
    int64_t created_at; /* microseconds since 1970 */
};

struct transaction_list {
    struct transaction *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};

enum error token_repository_transactions(struct database *database, const struct uuid *user_id,
                                         const struct transaction_filter *filter,
                                         struct transaction_list *ret_list) MUST_CHECK;
void transaction_list_done(struct transaction_list *list);
