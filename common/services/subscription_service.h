/*
 * Subscriptions by the month. The first payment saves how it was paid; later months are paid by
 * that without the person. A subscription comes to be, is extended and ends in the statements that
 * settle payments (payment_repository_apply). Thread-safe.
 */
#pragma once

#include <stdbool.h>

#include "base/app.h"
#include "base/error.h"
#include "repositories/subscription_repository.h"
#include "services/payment_service.h"

struct subscription_order {
    struct text plan; /* of plans */
    bool renews;      /* else a month is bought and how it is paid is not saved */
    struct text return_url;
    struct text receipt_email;       /* as payment_order */
    const struct operation_key *key; /* or NULL */
};

struct subscription_answer {
    bool resumed;                  /* one that was cancelled goes on: nothing is paid */
    struct payment_answer payment; /* filled unless resumed */
};

/*
 * Opens the payment of a month of a plan; another plan than the active one replaces it when paid,
 * and what is left of that becomes days of this one. A subscription of this plan that was cancelled
 * but still runs is resumed.
 * ERROR_SUBSCRIPTION_ACTIVE: the month after this one is paid by itself. ERROR_INVALID_PARAMETER
 * (no plan of this name is sold), else as payment_service_create.
 */
enum error subscription_service_create(struct app *app, struct account *account,
                                       const struct subscription_order *order,
                                       struct subscription_answer *ret_answer) MUST_CHECK;

/*
 * Ends the active one with its period, at once when that is over. ERROR_NOT_FOUND: there is none.
 * Safe to repeat. ret_list: the one that ends, subscription_list_done when finished; so below.
 */
enum error subscription_service_cancel(struct app *app, const struct account *account,
                                       struct subscription_list *ret_list) MUST_CHECK;

/*
 * Ends any subscription now, for the operator. known: its id, and its user where the caller knows
 * that. Safe to repeat. ERROR_NOT_FOUND: there is none.
 */
enum error subscription_service_end(struct app *app, const struct row_key *known,
                                    struct subscription_list *ret_list) MUST_CHECK;

/* The newest first, at most SUBSCRIPTIONS_MAX. */
enum error subscription_service_list(struct app *app, const struct account *account,
                                     struct subscription_list *ret_list) MUST_CHECK;

/*
 * Pays the next month of one that was claimed (subscription_repository_claim_due), if it is active
 * and there is a provider, and reports one that is late. The payment's id is made of the
 * subscription, the period and the attempt: renewing twice pays once.
 */
enum error subscription_service_renew(struct app *app,
                                      const struct subscription *subscription) MUST_CHECK;
