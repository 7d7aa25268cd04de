/*
 * Payments. One function a statement; errors are those of database_run. Every write can be repeated
 * with the same arguments.
 *
 * A payment belongs to the account that opened it and moves with it when that is linked to another;
 * payment_repository_locate finds it again by its id.
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
#include "repositories/row_key.h"
#include "repositories/row_page.h"

struct database;
struct rows;

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
    bool renews;              /* of a subscription: the person wants the next months as well */
    int32_t credit_days;      /* what is left of another plan, in days of this one */
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
    struct operation operation; /* its id is the payment's and the provider's idempotence key */
    struct text purpose, token_package, plan;
    struct text amount, currency; /* as price_repository gave them */
    bool has_tokens_amount;
    int32_t tokens_amount;
    bool has_subscription_id;
    struct uuid subscription_id; /* that it starts or renews */
    bool renews;
    struct text request_body;
    int32_t lease_seconds; /* nobody else asks the provider meanwhile */
};

enum payment_open_outcome {
    PAYMENT_OPEN_DONE,        /* ask the provider, with the request_body of ret_list */
    PAYMENT_OPEN_REPLAYED,    /* the provider has answered before */
    PAYMENT_OPEN_REUSED,      /* the idempotency key came with another request */
    PAYMENT_OPEN_IN_PROGRESS, /* somebody else is asking the provider now */
    PAYMENT_OPEN_NO_ACCOUNT,
};
/*
 * Writes the payment before the provider is asked, and claims it. An existing one that nobody holds
 * is claimed again (DONE, with the body of the first time). ret_list: one payment unless REUSED,
 * IN_PROGRESS or NO_ACCOUNT.
 */
enum error payment_repository_open(struct database *database, const struct new_payment *payment,
                                   enum payment_open_outcome *ret_outcome,
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

/* The provider's state of a payment, checked by the caller as far as shop and form go. */
struct payment_state {
    struct uuid user_id, id; /* ours */
    struct text provider_id;
    struct text status; /* pending, waiting_for_capture, succeeded, canceled */
    struct text amount, currency;
    bool test, test_accepted; /* a test payment; whether those count here */
    struct text confirmation_url;
    struct text payment_method_id; /* absent unless the method was saved */
    struct text cancellation_reason;
};
/*
 * Status, credit (a ledger entry whose operation_id is the payment's id; its own id is made of
 * that) or subscription period, provider id and reference in one statement.
 */
enum error payment_repository_apply(struct database *database, const struct payment_state *state,
                                    struct applied *ret_applied) MUST_CHECK;

/* ret_list: empty or one. user_id of the caller: somebody else's is not found. */
enum error payment_repository_get(struct database *database, const struct uuid *user_id,
                                  const struct uuid *id, struct payment_list *ret_list) MUST_CHECK;

enum error payment_repository_page(struct database *database, const struct uuid *user_id,
                                   const struct row_page *page,
                                   struct payment_list *ret_list) MUST_CHECK;
enum error payment_repository_export(struct database *database, const struct uuid *user_id,
                                     const struct row_range *range,
                                     struct payment_list *ret_list) MUST_CHECK;

/* Where a payment is, by the provider's id. */
enum error payment_repository_locate_provider(struct database *database, struct text provider_id,
                                              struct row_key *ret_key, bool *ret_found) MUST_CHECK;
/* Where a payment is that was opened under this key: there, or with the account of a link. */
enum error payment_repository_locate(struct database *database, const struct row_key *opened,
                                     struct row_key *ret_key, bool *ret_found) MUST_CHECK;

/*
 * Claims up to limit payments that are due for a look (not final, next_check_at passed), oldest
 * first, for lease_seconds. Each then counts as looked at: the next look follows the schedule of
 * docs/payments.md by the payment's age, should nobody say otherwise.
 */
enum error payment_repository_claim_due(struct database *database, int32_t limit,
                                        int32_t lease_seconds,
                                        struct payment_list *ret_list) MUST_CHECK;

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
