/*
 * Refunds of payments, stored with the payment's user. One function a statement; errors are those
 * of database_run. Every write can be repeated with the same arguments. What has the name of
 * something in payment_repository.h means the same.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/operation.h"
#include "base/text.h"
#include "base/uuid.h"
#include "repositories/provider_state.h"
#include "repositories/row_page.h"

struct database;
struct rows;

struct refund {
    struct uuid user_id, id, payment_id;
    struct text provider_id; /* absent until the provider has answered */
    struct text provider_payment_id;
    struct text amount, currency;
    struct text status;   /* pending, succeeded, canceled */
    int32_t tokens_taken; /* off the balance, when succeeded */
    int32_t tokens_owed;  /* what the balance did not allow to take */
    struct text request_body;
    int64_t created_at;
};
struct refund_list {
    struct refund *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};
void refund_list_done(struct refund_list *list);

struct new_refund {
    struct uuid user_id, payment_id;
    struct operation operation; /* its id is the refund's */
    struct text amount;         /* decimal */
    struct text request_body;
    int32_t lease_seconds; /* nobody else asks the provider meanwhile */
};
enum refund_open_outcome {
    REFUND_OPEN_DONE,
    REFUND_OPEN_REPLAYED,
    REFUND_OPEN_REUSED,
    REFUND_OPEN_IN_PROGRESS,
    REFUND_OPEN_NOT_PAID, /* the payment has not succeeded, or does not exist */
    REFUND_OPEN_TOO_MUCH, /* refunds together would pass the payment's amount */
};
/* As payment_repository_open; pending refunds count against the amount. */
enum error refund_repository_open(struct database *database, const struct new_refund *refund,
                                  enum refund_open_outcome *ret_outcome,
                                  struct refund_list *ret_list) MUST_CHECK;
enum error refund_repository_uncertain(struct database *database, const struct uuid *user_id,
                                       const struct uuid *id, int32_t retry_seconds) MUST_CHECK;
enum error refund_repository_refused(struct database *database, const struct uuid *user_id,
                                     const struct uuid *id, bool *ret_removed) MUST_CHECK;

/* The provider's state of a refund. */
struct refund_state {
    struct uuid user_id, payment_id; /* ours */
    struct uuid id;                  /* ours; of one made elsewhere: derived from provider_id */
    struct text provider_id, provider_payment_id;
    struct text status; /* pending, succeeded, canceled */
    struct text amount, currency;
};
/*
 * Status, tokens taken back (in proportion, all with the last kopeck; at most what can be spent) as
 * a ledger entry whose operation_id is the refund's id, and the payment's refunded amount and
 * status, in one statement. A refund that was made in the provider's own pages is written down
 * here. APPLY_UNCREDITED: not all tokens could be taken (tokens_owed).
 */
enum error refund_repository_apply(struct database *database, const struct refund_state *state,
                                   struct applied *ret_applied) MUST_CHECK;
enum error refund_repository_get(struct database *database, const struct uuid *user_id,
                                 const struct uuid *id, struct refund_list *ret_list) MUST_CHECK;
enum error refund_repository_export(struct database *database, const struct uuid *user_id,
                                    const struct row_range *range,
                                    struct refund_list *ret_list) MUST_CHECK;
enum error refund_repository_claim_due(struct database *database, int32_t limit,
                                       int32_t lease_seconds,
                                       struct refund_list *ret_list) MUST_CHECK;
