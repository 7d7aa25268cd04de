/* What is known of an account's balance, and how long it holds. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "repositories/token_repository.h"

/* Plain data without pointers, because it lives in the shared cache. */
struct token_status {
    int32_t balance; /* tokens that can be spent now */
    int32_t held;
    int32_t last_bonus_date; /* days since 1970-01-01; meaningless unless has_last_bonus_date */
    int32_t server_date;     /* the database's UTC date */
    int64_t as_of;           /* when the database said so, microseconds since 1970 */
    int64_t valid_until;     /* of the database's clock: a hold expires then; INT64_MAX for none */
    int64_t clock_offset;    /* the database's clock less this host's, microseconds, or more */
    int32_t free_total;      /* free generations a day; meaningless when unlimited */
    int32_t free_remaining;
    bool has_last_bonus_date;
    bool can_claim_bonus;
    bool unlimited;
    char plan[20];
    char max_quality[8];
};

/*
 * From what the database said just now. asked_us: this host's clock before the database was asked,
 * microseconds since 1970: taken after a slow answer it would make that count as current for as
 * long again as the answer took. ERROR_INTERNAL: a name of a plan or a quality is longer than its
 * column was.
 */
enum error token_status_fill(const struct token_row *row, int64_t asked_us,
                             struct token_status *ret_status) MUST_CHECK;

/* Whether it still holds: the database's date is the same and no hold has expired. */
bool token_status_is_current(const struct token_status *status, int64_t now_us);
