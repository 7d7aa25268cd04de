/*
 * Payments, refunds and what reconciling them needs. One function a statement; errors are those of
 * database_run. Every write can be repeated with the same arguments.
 *
 * A payment belongs to the account that opened it and moves with it when that is linked to another;
 * payment_repository_locate finds it again by its id.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"

struct database;
struct rows;

/* What is sold, from token_packages or plans. Texts live until rows_free(rows). */
struct price {
    struct text amount; /* decimal, "99.00" */
    struct text currency;
    int32_t tokens;    /* 0 for a plan */
    struct rows *rows; /* owned; price_done */
};
void price_done(struct price *price);
/* ret_found false: no such package, or a plan that costs nothing. */
enum error payment_repository_package(struct database *database, struct text package,
                                      struct price *ret_price, bool *ret_found) MUST_CHECK;
enum error payment_repository_plan(struct database *database, struct text plan,
                                   struct price *ret_price, bool *ret_found) MUST_CHECK;

struct payment {
    struct uuid user_id;
    struct uuid id;
    struct text provider_id; /* absent until the provider has answered */
    struct text purpose;     /* "tokens", "subscription" (the first payment) or "renewal" */
    struct text amount;      /* decimal, "99.00" */
    struct text currency;
    struct text status;        /* pending, waiting_for_capture, succeeded, refunded, canceled */
    struct text token_package; /* absent for a subscription */
    struct text plan;          /* absent for tokens */
    bool has_tokens_amount;
    int32_t tokens_amount;
    struct text refunded_amount;  /* decimal, "0.00" */
    struct text confirmation_url; /* absent when there is none */
    struct text cancellation_reason;
    struct text request_body; /* what the provider was or is to be asked; absent once it answered */
    int64_t created_at;       /* microseconds since 1970 */
};

struct payment_list {
    struct payment *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};
void payment_list_done(struct payment_list *list);

struct new_payment {
    struct uuid user_id;
    struct uuid id; /* the operation id; also the provider's idempotence key */
    struct text purpose, token_package, plan;
    struct text amount, currency; /* as payment_repository_package or _plan gave them */
    bool has_tokens_amount;
    int32_t tokens_amount;
    bool has_subscription_id;
    struct uuid subscription_id; /* that it starts or renews */
    struct text request_body;
    bool keyed;
    int64_t request_hash;
};

enum payment_open_outcome {
    PAYMENT_OPEN_DONE,        /* ask the provider, with the request_body of ret_payment */
    PAYMENT_OPEN_REPLAYED,    /* the provider has answered before */
    PAYMENT_OPEN_REUSED,      /* the idempotency key came with another request */
    PAYMENT_OPEN_IN_PROGRESS, /* somebody else is asking the provider now */
    PAYMENT_OPEN_NO_ACCOUNT,
};
/*
 * Writes the payment before the provider is asked, and claims it for lease_seconds: nobody else
 * asks the provider meanwhile. An existing one that nobody holds is claimed again (DONE, with the
 * body of the first time). ret_list: one payment unless REUSED, IN_PROGRESS or NO_ACCOUNT.
 */
enum error payment_repository_open(struct database *database, const struct new_payment *payment,
                                   int32_t lease_seconds, enum payment_open_outcome *ret_outcome,
                                   struct payment_list *ret_list) MUST_CHECK;

/*
 * The provider was asked and it may have happened: the next attempt follows the schedule of
 * docs/payments.md, and is not before retry_seconds.
 */
enum error payment_repository_uncertain(struct database *database, const struct uuid *user_id,
                                        const struct uuid *id, int32_t retry_seconds) MUST_CHECK;
/*
 * The provider refused for good. A payment no earlier attempt of which may have happened is
 * removed, so that its key can be used again (ret_removed); another one stays as it is, for the
 * reconciler.
 */
enum error payment_repository_refused(struct database *database, const struct uuid *user_id,
                                      const struct uuid *id, bool *ret_removed) MUST_CHECK;

/*
 * The same of a renewal that the provider will never make: it counts as a failed attempt, so that
 * the next one follows in days and not at once.
 */
enum error payment_repository_renewal_refused(struct database *database, const struct uuid *user_id,
                                              const struct uuid *id) MUST_CHECK;

/* What the provider says of a payment, checked by the caller as far as shop and form go. */
struct payment_truth {
    struct uuid user_id, id; /* ours */
    struct text provider_id;
    struct text status; /* pending, waiting_for_capture, succeeded, canceled */
    struct text amount, currency;
    bool test, test_accepted; /* a test payment; whether those count here */
    struct text confirmation_url;
    struct text payment_method_id; /* absent unless the method was saved */
    struct text cancellation_reason;
};
enum payment_apply_outcome {
    PAYMENT_APPLIED, /* the status went forward; on succeeded the tokens or period are there now */
    PAYMENT_UNCHANGED,  /* it had this status, or a later one that may follow it */
    PAYMENT_CONFLICT,   /* another amount, currency or provider id, a test payment, or a way back:
                           nothing changed and the difference is recorded */
    PAYMENT_UNCREDITED, /* taken, but the account is erased or at its limit: recorded */
    PAYMENT_NOT_THERE,  /* no such payment of this user: see payment_repository_locate */
};
enum { PAYMENT_KIND_SIZE = 32 }; /* of a difference, and terminator */
/*
 * Status, credit (a ledger entry whose operation_id is the payment's id; its own id is made of
 * that) or subscription period, provider id and reference in one statement. ret_kind: of the
 * difference that was recorded, empty without.
 */
enum error payment_repository_apply(struct database *database, const struct payment_truth *truth,
                                    enum payment_apply_outcome *ret_outcome,
                                    char ret_kind[static PAYMENT_KIND_SIZE]) MUST_CHECK;

/* ret_list: empty or one. user_id of the caller: somebody else's is not found. */
enum error payment_repository_get(struct database *database, const struct uuid *user_id,
                                  const struct uuid *id, struct payment_list *ret_list) MUST_CHECK;
/* Newest first, from before a position (SQL_TIMESTAMP_MAX and any id for the first page). */
enum error payment_repository_page(struct database *database, const struct uuid *user_id,
                                   int64_t before_created_at, const struct uuid *before_id,
                                   int32_t limit, struct payment_list *ret_list) MUST_CHECK;
/* In key order after an id, for the export. */
enum error payment_repository_export(struct database *database, const struct uuid *user_id,
                                     const struct uuid *after_id, int32_t limit,
                                     struct payment_list *ret_list) MUST_CHECK;

/* Where a payment is: by the provider's id, else (provider_id absent) by ours, following links. */
enum error payment_repository_locate_provider(struct database *database, struct text provider_id,
                                              struct uuid *ret_user_id, struct uuid *ret_id,
                                              bool *ret_found) MUST_CHECK;
enum error payment_repository_locate(struct database *database, const struct uuid *user_id,
                                     const struct uuid *id, struct uuid *ret_user_id,
                                     bool *ret_found) MUST_CHECK;

/*
 * Claims up to limit payments that are due for a look (not final, next_check_at passed), oldest
 * first, for lease_seconds. Each then counts as looked at: the next look follows the schedule of
 * docs/payments.md by the payment's age, should nobody say otherwise.
 */
enum error payment_repository_claim_due(struct database *database, int32_t limit,
                                        int32_t lease_seconds,
                                        struct payment_list *ret_list) MUST_CHECK;

/* ---- refunds ---- */

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
    struct uuid user_id, id, payment_id;
    struct text amount; /* decimal */
    struct text request_body;
    bool keyed;
    int64_t request_hash;
};
enum refund_open_outcome {
    REFUND_OPEN_DONE,
    REFUND_OPEN_REPLAYED,
    REFUND_OPEN_REUSED,
    REFUND_OPEN_IN_PROGRESS,
    REFUND_OPEN_NOT_PAID, /* the payment has not succeeded, or does not exist */
    REFUND_OPEN_TOO_MUCH, /* refunds together would pass the payment's amount */
};
/* Like payment_repository_open; pending refunds count against the amount. */
enum error payment_repository_refund_open(struct database *database,
                                          const struct new_refund *refund, int32_t lease_seconds,
                                          enum refund_open_outcome *ret_outcome,
                                          struct refund_list *ret_list) MUST_CHECK;
enum error payment_repository_refund_uncertain(struct database *database,
                                               const struct uuid *user_id, const struct uuid *id,
                                               int32_t retry_seconds) MUST_CHECK;
enum error payment_repository_refund_refused(struct database *database, const struct uuid *user_id,
                                             const struct uuid *id, bool *ret_removed) MUST_CHECK;

struct refund_truth {
    struct uuid user_id, id,
        payment_id; /* ours; id of one made elsewhere: derived from provider_id */
    struct text provider_id, provider_payment_id;
    struct text status; /* pending, succeeded, canceled */
    struct text amount, currency;
};
/*
 * Status, tokens taken back (in proportion, all with the last kopeck; at most what can be spent) as
 * a ledger entry whose operation_id is the refund's id, and the payment's refunded amount and
 * status, in one statement. A refund that was made in the provider's own pages is written down
 * here. Outcomes as payment_repository_apply; UNCREDITED: not all tokens could be taken
 * (tokens_owed).
 */
enum error payment_repository_refund_apply(struct database *database,
                                           const struct refund_truth *truth,
                                           enum payment_apply_outcome *ret_outcome,
                                           char ret_kind[static PAYMENT_KIND_SIZE]) MUST_CHECK;
enum error payment_repository_refund_get(struct database *database, const struct uuid *user_id,
                                         const struct uuid *id,
                                         struct refund_list *ret_list) MUST_CHECK;
/* In key order after an id, for the export. */
enum error payment_repository_refund_export(struct database *database, const struct uuid *user_id,
                                            const struct uuid *after_id, int32_t limit,
                                            struct refund_list *ret_list) MUST_CHECK;
enum error payment_repository_refund_claim_due(struct database *database, int32_t limit,
                                               int32_t lease_seconds,
                                               struct refund_list *ret_list) MUST_CHECK;

/* ---- differences and windows of the reconciler ---- */

struct payment_difference {
    struct text kind;        /* "unknown_payment", "unknown_refund", "other_amount", ... */
    struct text provider_id; /* with kind: what it is counted by */
    bool has_payment;
    struct uuid user_id, payment_id;
    struct text details; /* one line for the operator */
};
/* ret_is_new: false when the same one is known; its time of being last seen is set then. */
enum error payment_repository_difference(struct database *database,
                                         const struct payment_difference *difference,
                                         bool *ret_is_new) MUST_CHECK;

/*
 * Claims the listing of name ("payments", "refunds") for lease_seconds when the last one was at
 * least every_seconds ago. ret_since: up to where the last one came, microseconds since 1970.
 */
enum error payment_repository_window_claim(struct database *database, struct text name,
                                           int32_t every_seconds, int32_t lease_seconds,
                                           int64_t *ret_since, bool *ret_claimed) MUST_CHECK;
/* The listing came through up to until. */
enum error payment_repository_window_done(struct database *database, struct text name,
                                          int64_t until) MUST_CHECK;

/* A payment or refund whose tokens are not in the ledger as they should be. */
struct payment_mismatch {
    struct uuid user_id, id;
    int32_t expected; /* tokens; negative for a refund */
    int64_t found;    /* the sum of its entries */
    int64_t entries;
};
struct payment_mismatch_list {
    struct payment_mismatch *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};
/* At most 1,000. Reads everything: for an audit. */
enum error payment_repository_verify(struct database *database,
                                     struct payment_mismatch_list *ret_list) MUST_CHECK;
void payment_mismatch_list_done(struct payment_mismatch_list *list);
