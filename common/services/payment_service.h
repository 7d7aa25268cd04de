/*
 * Payments of the calling account: opened here, confirmed by notifications and by the reconciler.
 * Our row is written before the provider is asked, so a crash at any point leaves one that the
 * reconciler finishes. Thread-safe. No database connection is held while the provider is asked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/app.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/uuid.h"
#include "repositories/payment_repository.h"
#include "repositories/price_repository.h"
#include "services/account_service.h"
#include "base/operation.h"

enum { PAYMENT_STATUS_BYTES_MAX = 32 }; /* the longest is waiting_for_capture */

/* What the person wants and where to send the browser afterwards. Texts are borrowed. */
struct payment_order {
    struct text package; /* of token_packages */
    struct text return_url;
    struct text receipt_email;       /* absent: the account's, else the configured one */
    const struct operation_key *key; /* or NULL */
};

struct payment_answer {
    struct uuid user_id, id;
    char status[PAYMENT_STATUS_BYTES_MAX];
    char confirmation_url[URL_BYTES_MAX + 1]; /* where the person pays, or empty */
    int32_t credit_days; /* of a subscription: what is left of another plan, in days of this one */
    bool replayed;
};

/*
 * Opens a payment for a package and asks the provider.
 * ERROR_PAYMENTS_NOT_CONFIGURED, ERROR_INVALID_PACKAGE, ERROR_INVALID_FIELD (a receipt is wanted
 * and there is no address for it), ERROR_IDEMPOTENCY_KEY_REUSED, ERROR_IDEMPOTENCY_IN_PROGRESS,
 * ERROR_PAYMENT_PROVIDER_UNAVAILABLE: the same key may be used again, whatever came of it.
 * ERROR_PAYMENT_REFUSED: the provider never will; the key may be used again.
 */
enum error payment_service_create(struct app *app, struct account *account,
                                  const struct payment_order *order,
                                  struct payment_answer *ret_answer) MUST_CHECK;

/* ret_list: one. ERROR_NOT_FOUND: the account has none with this id. */
enum error payment_service_get(struct app *app, const struct account *account,
                               const struct uuid *id, struct payment_list *ret_list) MUST_CHECK;

/* A page, newest first. */
enum error payment_service_list(struct app *app, const struct account *account,
                                const struct row_page *page,
                                struct payment_list *ret_list) MUST_CHECK;

/* Payments and refunds whose tokens are not in the ledger as they should be; reads everything. */
enum error payment_service_verify(struct app *app,
                                  struct payment_mismatch_list *ret_list) MUST_CHECK;

/* --- for the services of subscriptions and of the reconciler --- */

/* Any payment: what the row and the provider's request are made of. Texts are borrowed. */
struct payment_request {
    struct uuid user_id;
    struct operation operation;
    struct text purpose;             /* "tokens", "subscription" or "renewal" */
    struct text token_package, plan; /* one of them */
    const struct price *price;
    const struct uuid *subscription_id; /* that it starts or renews, or NULL */
    bool renews;                        /* a subscription whose next months are wanted as well */
    struct text description;            /* what the person reads while paying */
    struct text return_url;             /* absent for a payment by a saved method */
    struct text payment_method_id;      /* a saved method, or absent */
    struct text receipt_email;          /* as payment_order */
};

/*
 * As payment_service_create; ERROR_SAVING_NOT_ALLOWED: the provider does not let the shop save how
 * a subscription that renews is paid; ERROR_USER_NOT_FOUND: the account is closed or gone.
 */
enum error payment_service_open(struct app *app, const struct payment_request *request,
                                struct payment_answer *ret_answer) MUST_CHECK;

/*
 * Asks the provider for a payment that it has not answered for yet, with its key and its body, and
 * settles what comes. The caller has claimed the payment. Errors as payment_service_create.
 */
enum error payment_service_ask(struct app *app, const struct payment *payment,
                               struct payment_answer *ret_answer) MUST_CHECK;

struct receipt_address {
    struct text email; /* borrows of_account, what was wanted or the configuration */
    char of_account[EMAIL_BYTES_MAX + 1];
};
/*
 * The address for a receipt: absent when none is to be sent, else the account's, else wanted, else
 * the configured one. ERROR_INVALID_FIELD: there is none. ret_address must not be moved.
 */
enum error payment_service_receipt(struct app *app, const struct uuid *user_id, struct text wanted,
                                   struct receipt_address *ret_address) MUST_CHECK;
