/* Balance, daily bonus and ledger entries of the calling account. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/app.h"
#include "base/error.h"
#include "repositories/token_repository.h"
#include "services/account_service.h"
#include "base/operation.h"

/* Plain data without pointers, because it lives in the shared cache. */
struct token_status {
    int32_t balance; /* tokens that can be spent now */
    int32_t held;
    int32_t last_bonus_date; /* days since 1970-01-01; meaningless unless has_last_bonus_date */
    int32_t server_date;     /* the database's UTC date */
    int64_t as_of;           /* when the database said so, microseconds since 1970 */
    int64_t valid_until;     /* of the database's clock: a hold expires then; INT64_MAX for none */
    int64_t clock_offset;    /* the database's clock less this host's, microseconds */
    int32_t free_total;      /* free generations a day; meaningless when unlimited */
    int32_t free_remaining;
    bool has_last_bonus_date;
    bool can_claim_bonus;
    bool unlimited;
    char plan[20];
    char max_quality[8];
};

/* From the cache when it is there and of today, else from the database. */
enum error token_service_status(struct app *app, struct account *account,
                                struct token_status *ret_status) MUST_CHECK;

/*
 * ERROR_BONUS_ALREADY_CLAIMED when it was claimed today; ret_bonus is then untouched. key may be
 * NULL.
 */
enum error token_service_claim_bonus(struct app *app, struct account *account,
                                     const struct operation_key *key,
                                     struct token_bonus *ret_bonus) MUST_CHECK;

/* A page of entries, newest first. transaction_list_done when finished. */
enum error token_service_transactions(struct app *app, const struct account *account,
                                      const struct transaction_filter *filter,
                                      struct transaction_list *ret_list) MUST_CHECK;
