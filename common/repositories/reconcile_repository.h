/*
 * What reconciling with the payment provider leaves behind: differences for the operator, and up to
 * where the provider's lists were read. One function a statement; errors are those of database_run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"

struct database;
struct rows;

enum { DIFFERENCE_KIND_SIZE = 32 }; /* and terminator */

struct payment_difference {
    struct text kind;        /* "unknown_payment", "unknown_refund", "other_amount", ... */
    struct text provider_id; /* with kind: what it is counted by */
    bool has_payment;
    struct uuid user_id, payment_id;
    struct text details; /* one line for the operator */
};
/* ret_is_new: false when the same one is known; its time of being last seen is set then. */
enum error reconcile_repository_record_difference(struct database *database,
                                                  const struct payment_difference *difference,
                                                  bool *ret_is_new) MUST_CHECK;

/* What the provider refuses the shop as a whole until the operator does something. */
#define DIFFERENCE_SHOP "shop" /* the provider_id of such a difference */
struct shop_difference {
    struct text details; /* what to do, a sentence */
    struct rows *rows;   /* owned */
};
enum error reconcile_repository_shop(struct database *database,
                                     struct shop_difference *ret_difference,
                                     bool *ret_found) MUST_CHECK;
void shop_difference_done(struct shop_difference *difference);

/* The reading of one of the provider's lists. */
struct listing_claim {
    struct text name;      /* "payments" or "refunds" */
    int32_t every_seconds; /* at least, between the end of one reading and the next */
    int32_t lease_seconds; /* nobody else reads it meanwhile */
};
/*
 * ret_claimed false: it is not due, or another one reads it. ret_since: up to where the last
 * reading came, microseconds since 1970.
 */
enum error reconcile_repository_claim_window(struct database *database,
                                             const struct listing_claim *claim, int64_t *ret_since,
                                             bool *ret_claimed) MUST_CHECK;
/* The list was read to its end; until: up to where it need not be read again. */
enum error reconcile_repository_finish_window(struct database *database, struct text name,
                                              int64_t until) MUST_CHECK;
