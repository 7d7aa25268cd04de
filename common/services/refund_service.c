#include "services/refund_service.h"

#include "base/buffer.h"
#include "base/config.h"
#include "outbound/yookassa.h"
#include "services/payment_provider.h"
#include "services/settlement_service.h"

static enum error open_error(enum refund_open_outcome outcome)
{
    switch (outcome) {
    case REFUND_OPEN_DONE:
    case REFUND_OPEN_REPLAYED:
        return ERROR_OK;
    case REFUND_OPEN_REUSED:
        return ERROR_IDEMPOTENCY_KEY_REUSED;
    case REFUND_OPEN_IN_PROGRESS:
        return ERROR_IDEMPOTENCY_IN_PROGRESS;
    case REFUND_OPEN_NOT_PAID:
        return ERROR_PAYMENT_NOT_PAID;
    case REFUND_OPEN_TOO_MUCH:
        return ERROR_REFUND_EXCEEDS_PAYMENT;
    }
    return ERROR_INTERNAL;
}

enum error refund_service_ask(struct app *app, const struct refund *refund)
{
    struct yookassa_answer answer = {.count = 0};
    enum settlement settlement;
    char key[UUID_TEXT_SIZE];
    bool removed;
    uuid_format(&refund->id, key);
    enum error err = yookassa_create_refund(app->yookassa, key, refund->request_body, &answer);
    if (err)
        goto out;
    payment_provider_report(app, "create_refund", &answer);
    switch (answer.result) {
    case YOOKASSA_DONE:
        /* Our key says whose answer it is, also where what we sent with it is not repeated. */
        answer.refunds[0].metadata_refund_id = text_from(key);
        err = settlement_service_refund(app, &answer.refunds[0], &settlement);
        break;
    case YOOKASSA_UNKNOWN:
        err = payment_repository_refund_uncertain(app->database, &refund->user_id, &refund->id, 0);
        err = err ? err : ERROR_PAYMENT_PROVIDER_UNAVAILABLE;
        break;
    case YOOKASSA_REFUSED:
    case YOOKASSA_DENIED:
    case YOOKASSA_NOT_FOUND:
    case YOOKASSA_LATER:
        err = payment_repository_refund_refused(app->database, &refund->user_id, &refund->id,
                                                &removed);
        err = err ? err : ERROR_PAYMENT_PROVIDER_UNAVAILABLE;
        break;
    }
out:
    yookassa_answer_done(&answer);
    return err;
}

/*
 * How much: what was asked for, else what is left. When nothing is left, all of it, which is
 * refused unless it is the repetition of a refund that was made.
 */
static enum error read_amount(const struct payment *payment, struct text wanted,
                              struct money *ret_amount)
{
    struct money paid;
    struct money refunded;
    if (!money_parse(payment->amount, payment->currency, &paid) ||
        !money_parse(payment->refunded_amount, payment->currency, &refunded))
        return ERROR_INTERNAL;
    if (wanted.data) {
        bool valid = money_parse(wanted, payment->currency, ret_amount);
        return valid && ret_amount->minor > 0 ? ERROR_OK : ERROR_INVALID_PARAMETER;
    }
    *ret_amount = paid;
    if (refunded.minor < paid.minor)
        ret_amount->minor -= refunded.minor;
    return ERROR_OK;
}

static enum error write_request(struct app *app, const struct payment *payment,
                                const struct yookassa_refund_order *order, struct text wanted,
                                struct buffer *ret_body)
{
    char email[EMAIL_BYTES_MAX + 1];
    struct yookassa_refund_order whole = *order;
    enum error err =
        payment_service_receipt(app, &payment->user_id, wanted, email, &whole.receipt_email);
    return err ? err : yookassa_refund_body(&whole, ret_body);
}

/* Opens the refund of a payment and asks for it; read_back fills the rest of the answer. */
static enum error open_and_ask(struct app *app, const struct payment *payment,
                               const struct refund_order *order, const struct operation *operation,
                               struct refund_answer *ret_answer)
{
    struct buffer body;
    struct refund_list list = {.count = 0};
    enum refund_open_outcome outcome = REFUND_OPEN_NOT_PAID;
    struct money amount;
    buffer_init(&body, PAYMENT_REQUEST_BYTES_MAX);
    enum error err = read_amount(payment, order->amount, &amount);
    if (err)
        return err;
    money_format(&amount, ret_answer->amount);
    struct yookassa_refund_order request = {
        .provider_payment_id = payment->provider_id,
        .refund_id = operation->id,
        .amount = amount,
        .description = TEXT_LITERAL("Возврат DreamLens"),
        .vat_code = app->config->yookassa_vat_code,
    };
    err = write_request(app, payment, &request, order->receipt_email, &body);
    struct new_refund refund = {
        .user_id = payment->user_id,
        .id = operation->id,
        .payment_id = payment->id,
        .amount = text_from(ret_answer->amount),
        .request_body = buffer_text(&body),
        .keyed = operation->keyed,
        .request_hash = operation->request_hash,
    };
    if (!err)
        err = payment_repository_refund_open(
            app->database, &refund, payment_provider_lease_seconds(app, 2), &outcome, &list);
    if (!err)
        err = open_error(outcome);
    if (!err && outcome == REFUND_OPEN_DONE)
        err = refund_service_ask(app, &list.items[0]);
    ret_answer->replayed = outcome == REFUND_OPEN_REPLAYED;
    refund_list_done(&list);
    buffer_done(&body);
    return err;
}

static enum error read_back(struct app *app, const struct uuid *user_id, const struct uuid *id,
                            struct refund_answer *answer)
{
    struct refund_list list = {.count = 0};
    enum error err = payment_repository_refund_get(app->database, user_id, id, &list);
    if (!err && list.count == 0)
        err = ERROR_CONFLICT; /* linked to another account this very moment */
    if (!err) {
        const struct refund *refund = &list.items[0];
        answer->user_id = *user_id;
        answer->id = *id;
        answer->tokens_taken = refund->tokens_taken;
        answer->tokens_owed = refund->tokens_owed;
        (void)text_copy(refund->status, answer->status, sizeof(answer->status));
        (void)text_copy(refund->amount, answer->amount, sizeof(answer->amount));
        (void)text_copy(refund->currency, answer->currency, sizeof(answer->currency));
    }
    refund_list_done(&list);
    return err;
}

enum error refund_service_create(struct app *app, const struct refund_order *order,
                                 const struct operation_key *key, struct refund_answer *ret_answer)
{
    /* Of the id that was sent, so that it stays the same when the payment moves by a link. */
    struct operation operation = operation_make(key, &order->user_id);
    struct payment_list list = {.count = 0};
    struct uuid owner;
    bool found = false;
    *ret_answer = (struct refund_answer){.tokens_taken = 0};
    if (!app->yookassa)
        return ERROR_PAYMENTS_NOT_CONFIGURED;
    enum error err = payment_repository_locate(app->database, &order->user_id, &order->payment_id,
                                               &owner, &found);
    if (!err && found)
        err = payment_repository_get(app->database, &owner, &order->payment_id, &list);
    if (!err && list.count == 0)
        err = ERROR_NOT_FOUND;
    if (!err && list.items[0].provider_id.len == 0)
        err = ERROR_PAYMENT_NOT_PAID;
    if (!err)
        err = open_and_ask(app, &list.items[0], order, &operation, ret_answer);
    if (!err)
        err = read_back(app, &owner, &operation.id, ret_answer);
    payment_list_done(&list);
    return err;
}
