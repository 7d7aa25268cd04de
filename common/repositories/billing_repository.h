/* Subscriptions and payments, as far as the export reads them. Errors are database_run's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"

struct database;
struct rows;

struct subscription {
    struct uuid id;
    struct text plan;
    struct text status; /* active, cancelled or expired */
    bool has_current_period_start;
    int64_t current_period_start; /* microseconds since 1970 */
    bool has_current_period_end;
    int64_t current_period_end;
    int64_t created_at;
};

struct subscription_list {
    struct subscription *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};

/* A page in key order after an id. */
enum error billing_repository_subscriptions(struct database *database, const struct uuid *user_id,
                                            const struct uuid *after_id, int32_t limit,
                                            struct subscription_list *ret_list) MUST_CHECK;
void subscription_list_done(struct subscription_list *list);

struct payment {
    struct uuid id;
    struct text amount; /* decimal, two places, such as "99.00" */
    struct text currency;
    struct text status;
    struct text token_package;
    bool has_tokens_amount;
    int32_t tokens_amount;
    int64_t created_at;
};

struct payment_list {
    struct payment *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};

enum error billing_repository_payments(struct database *database, const struct uuid *user_id,
                                       const struct uuid *after_id, int32_t limit,
                                       struct payment_list *ret_list) MUST_CHECK;
void payment_list_done(struct payment_list *list);
