/* Balances and the ledger. One function a statement; errors are those of database_run. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
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
    struct rows *rows; /* owned; token_row_done */
};

enum error token_repository_status(struct database *database, const struct uuid *user_id,
                                   struct token_row *ret_row, bool *ret_found) MUST_CHECK;
void token_row_done(struct token_row *row);

struct token_bonus {
    bool claimed; /* false: it was claimed before today */
    int32_t tokens_awarded;
    int32_t balance; /* tokens that can be spent now */
};

/* operation_id: of this claim; the same id gives the same answer. ret_found false: no such user. */
enum error token_repository_claim_bonus(struct database *database, const struct uuid *user_id,
                                        const struct uuid *operation_id,
                                        struct token_bonus *ret_bonus,
                                        bool *ret_found) MUST_CHECK;

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
