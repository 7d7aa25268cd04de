/*
 * Subscriptions. One function a statement; errors are those of database_run. A subscription comes
 * to be when its first payment has succeeded (payment_repository_apply), and is renewed by others.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"
#include "repositories/row_key.h"
#include "repositories/row_page.h"

struct database;
struct rows;

struct subscription {
    struct uuid user_id;
    struct uuid id;
    struct text plan;
    struct text status; /* active, cancelled or expired */
    bool has_current_period_start;
    int64_t current_period_start; /* microseconds since 1970 */
    bool has_current_period_end;
    int64_t current_period_end;
    bool cancel_at_period_end;     /* active until then, not renewed */
    struct text payment_method_id; /* absent: it cannot be renewed */
    int32_t renewal_attempts;      /* failed ones of this period's renewal */
    bool has_next_check_at;
    int64_t next_check_at; /* when the renewal is tried next */
    bool has_grace_until;  /* active: the renewal was declined and is tried again until then */
    int64_t grace_until;
    bool late; /* of subscription_repository_claim_due: nobody had looked for a day */
    int64_t created_at;
};
struct subscription_list {
    struct subscription *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};
void subscription_list_done(struct subscription_list *list);

enum error subscription_repository_export(struct database *database, const struct uuid *user_id,
                                          const struct row_range *range,
                                          struct subscription_list *ret_list) MUST_CHECK;
/* The newest first, at most limit. */
enum error subscription_repository_list(struct database *database, const struct uuid *user_id,
                                        int32_t limit,
                                        struct subscription_list *ret_list) MUST_CHECK;
/* The active one, or none. */
enum error subscription_repository_current(struct database *database, const struct uuid *user_id,
                                           struct subscription_list *ret_list) MUST_CHECK;

struct subscription_cancellation {
    struct uuid user_id;
    const struct uuid *only_id; /* of the active one, or NULL for any */
    bool cancel;                /* set cancel_at_period_end, or clear it */
};
/*
 * Of the active subscription; one whose period is over ends at once. Setting what is set is fine,
 * also of one that ended so. ret_list: it as it is now; empty: there is none (or, clearing, it is
 * not paid any more or has no payment method).
 */
enum error subscription_repository_cancel(struct database *database,
                                          const struct subscription_cancellation *wanted,
                                          struct subscription_list *ret_list) MUST_CHECK;

/* Ends it now; what has ended stays as it is. ret_list: it, or none of this key. */
enum error subscription_repository_end(struct database *database, const struct row_key *key,
                                       struct subscription_list *ret_list) MUST_CHECK;
/* Where a subscription is that was known by this key: there, or with the account of a link. */
enum error subscription_repository_locate(struct database *database, const struct row_key *known,
                                          struct row_key *ret_key, bool *ret_found) MUST_CHECK;

/*
 * Claims up to limit active subscriptions that are due: the period is over and a renewal is to be
 * tried, or has failed for the last time, or is not wanted. Those that are not to be renewed become
 * cancelled (wanted by the person) or expired (no method, attempts used up, nothing came of it for
 * thirty days) in the same statement. They are returned only when late, which is recorded as the
 * difference renewal_late of the subscription's id.
 */
enum error subscription_repository_claim_due(struct database *database, int32_t limit,
                                             int32_t lease_seconds,
                                             struct subscription_list *ret_list) MUST_CHECK;
