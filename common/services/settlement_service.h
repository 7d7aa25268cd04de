/*
 * Settles the provider's state of a payment or refund in our rows and ledger. Every path that
 * fetched the object ends here: the request that made it, a notification, the reconciler. Only
 * objects that came from the provider's own API are passed in, and app->yookassa is there.
 * Thread-safe; every call can be repeated.
 */
#pragma once

#include "base/app.h"
#include "base/error.h"
#include "base/uuid.h"
#include "outbound/yookassa.h"

enum settlement {
    SETTLEMENT_DONE,       /* something changed */
    SETTLEMENT_KNOWN,      /* nothing did: we knew */
    SETTLEMENT_DIFFERENCE, /* recorded for the operator; the reconciler looks again */
    SETTLEMENT_IGNORED,    /* of a notification: about an object that is not used here */
};

/*
 * Asks the provider how a payment or refund stands and settles what it says. provider_id: of it.
 * ERROR_NOT_FOUND: the provider has none of this id. ERROR_PAYMENT_UNCONFIRMED: it cannot be asked
 * now. ERROR_INVALID_PARAMETER: this can be no id. Else as the functions below.
 */
enum error settlement_service_fetch_payment(struct app *app, struct text provider_id,
                                            enum settlement *ret_settlement) MUST_CHECK;
enum error settlement_service_fetch_refund(struct app *app, struct text provider_id,
                                           enum settlement *ret_settlement) MUST_CHECK;

/*
 * Status, tokens or subscription period; captures a payment that waits for it. Errors are those of
 * the database layer, and ERROR_OVERLOADED when the account was being linked all the while.
 */
enum error settlement_service_payment(struct app *app, const struct yookassa_payment *payment,
                                      enum settlement *ret_settlement) MUST_CHECK;

/*
 * Status and tokens taken back. Asks the provider for the payment first, where we do not know yet
 * that it was paid: ERROR_PAYMENT_UNCONFIRMED when that cannot be asked now.
 */
enum error settlement_service_refund(struct app *app, const struct yookassa_refund *refund,
                                     enum settlement *ret_settlement) MUST_CHECK;
