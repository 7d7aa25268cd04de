/*
 * Refunds by the operator: money back to the one who paid, tokens back from the balance.
 * Thread-safe; as with payments, our row comes first.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/app.h"
#include "base/error.h"
#include "base/money.h"
#include "base/operation.h"
#include "repositories/refund_repository.h"
#include "repositories/row_key.h"
#include "services/payment_service.h"

struct refund_order {
    struct row_key payment;          /* as its public id has it */
    struct text amount;              /* decimal; absent: what is left of the payment */
    struct text receipt_email;       /* absent: the account's, else the configured one */
    const struct operation_key *key; /* or NULL */
};

struct refund_answer {
    struct uuid user_id, id;
    char status[PAYMENT_STATUS_BYTES_MAX];
    char amount[MONEY_TEXT_SIZE];
    char currency[CURRENCY_SIZE];
    int32_t tokens_taken, tokens_owed;
    bool replayed;
};

/*
 * ERROR_PAYMENTS_NOT_CONFIGURED, ERROR_NOT_FOUND (no such payment), ERROR_PAYMENT_NOT_PAID,
 * ERROR_PAYMENT_NOT_OURS (an adopted one, of another provider), ERROR_REFUND_EXCEEDS_PAYMENT,
 * ERROR_INVALID_PARAMETER (amount is no amount of money), ERROR_INVALID_FIELD (a receipt is wanted
 * and there is no address for it), ERROR_IDEMPOTENCY_KEY_REUSED, ERROR_IDEMPOTENCY_IN_PROGRESS,
 * ERROR_PAYMENT_PROVIDER_UNAVAILABLE, ERROR_PAYMENT_REFUSED (by the provider, for good).
 */
enum error refund_service_create(struct app *app, const struct refund_order *order,
                                 struct refund_answer *ret_answer) MUST_CHECK;

/* As payment_service_ask. */
enum error refund_service_ask(struct app *app, const struct refund *refund) MUST_CHECK;
