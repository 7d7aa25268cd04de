#include "services/refund_service.h"

#include "base/buffer.h"
#include "base/config.h"
#include "outbound/yookassa.h"
#include "services/payment_provider.h"
#include "services/payment_rules.h"
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

/* The provider did nothing. One whose earlier attempt may have happened stays open. */
static enum error accept_failure(struct app *app, const struct refund *refund,
                                 enum yookassa_result result)
{
    bool removed;
    enum error err =
        refund_repository_refused(app->database, &refund->user_id, &refund->id, &removed);
    if (!err && result == YOOKASSA_DENIED)
        err = payment_provider_denied(app);
    if (err)
        return err;
    return result == YOOKASSA_REFUSED && removed ? ERROR_PAYMENT_REFUSED
                                                 : ERROR_PAYMENT_PROVIDER_UNAVAILABLE;
}

enum error refund_service_ask(struct app *app, const struct refund *refund)
{
    struct yookassa_answer answer = {.count = 0};
    enum settlement settlement;
    char key[UUID_TEXT_SIZE];
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
        err = refund_repository_uncertain(app->database, &refund->user_id, &refund->id, 0);
        err = err ? err : ERROR_PAYMENT_PROVIDER_UNAVAILABLE;
        break;
    case YOOKASSA_REFUSED:
    case YOOKASSA_DENIED:
    case YOOKASSA_NOT_FOUND:
    case YOOKASSA_LATER:
        err = accept_failure(app, refund, answer.result);
        break;
    }
out:
    yookassa_answer_done(&answer);
    return err;
}

/* A refund that is to be opened. */
struct request {
    const struct payment *payment;
    const struct refund_order *order;
    struct operation operation;
    struct money amount;
};

static enum error write_body(struct app *app, const struct request *request,
                             struct buffer *ret_body)
{
    struct receipt_address receipt;
    enum error err = payment_service_receipt(app, &request->payment->user_id,
                                             request->order->receipt_email, &receipt);
    if (err)
        return err;
    struct yookassa_refund_order order = {
        .provider_payment_id = request->payment->provider_id,
        .refund_id = request->operation.id,
        .amount = request->amount,
        .description = TEXT_LITERAL("Возврат DreamLens"),
        .receipt_email = receipt.email,
        .vat_code = app->config->yookassa_vat_code,
    };
    return yookassa_refund_body(&order, ret_body);
}

struct opened {
    enum refund_open_outcome outcome;
    struct refund_list list;
};

static enum error open_row(struct app *app, const struct request *request, struct text body,
                           struct opened *ret_opened)
{
    char amount[MONEY_TEXT_SIZE];
    money_format(&request->amount, amount);
    struct new_refund refund = {
        .user_id = request->payment->user_id,
        .operation = request->operation,
        .payment_id = request->payment->id,
        .amount = text_from(amount),
        .request_body = body,
        .lease_seconds = payment_provider_lease_seconds(app, 2),
    };
    enum error err =
        refund_repository_open(app->database, &refund, &ret_opened->outcome, &ret_opened->list);
    return err ? err : open_error(ret_opened->outcome);
}

/* Opens the refund and asks for it; read_back fills the answer. */
static enum error open_and_ask(struct app *app, const struct request *request, bool *ret_replayed)
{
    struct buffer body;
    struct opened opened = {.outcome = REFUND_OPEN_NOT_PAID};
    buffer_init(&body, PAYMENT_REQUEST_BYTES_MAX);
    enum error err = write_body(app, request, &body);
    if (!err)
        err = open_row(app, request, buffer_text(&body), &opened);
    if (!err && opened.outcome == REFUND_OPEN_DONE)
        err = refund_service_ask(app, &opened.list.items[0]);
    *ret_replayed = opened.outcome == REFUND_OPEN_REPLAYED;
    refund_list_done(&opened.list);
    buffer_done(&body);
    return err;
}

static enum error read_back(struct app *app, const struct uuid *user_id, const struct uuid *id,
                            struct refund_answer *answer)
{
    struct refund_list list = {.count = 0};
    enum error err = refund_repository_get(app->database, user_id, id, &list);
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
                                 struct refund_answer *ret_answer)
{
    struct payment_list list = {.count = 0};
    struct row_key owned;
    bool found = false;
    /* Of the id that was sent, so that it stays the same when the payment moves by a link. */
    struct request request = {
        .order = order,
        .operation = operation_make(order->key, &order->payment.user_id),
    };
    *ret_answer = (struct refund_answer){.tokens_taken = 0};
    if (!app->yookassa)
        return ERROR_PAYMENTS_NOT_CONFIGURED;
    enum error err = payment_repository_locate(app->database, &order->payment, &owned, &found);
    if (!err && found)
        err = payment_repository_get(app->database, &owned.user_id, &owned.id, &list);
    if (!err && list.count == 0)
        err = ERROR_NOT_FOUND;
    if (!err && list.items[0].provider_id.len == 0)
        err = ERROR_PAYMENT_NOT_PAID;
    if (!err && !payment_rules_is_ours(&list.items[0]))
        err = ERROR_PAYMENT_NOT_OURS;
    if (!err) {
        request.payment = &list.items[0];
        err = payment_rules_refund_amount(request.payment, order->amount, &request.amount);
    }
    if (!err)
        err = open_and_ask(app, &request, &ret_answer->replayed);
    if (!err)
        err = read_back(app, &owned.user_id, &request.operation.id, ret_answer);
    payment_list_done(&list);
    return err;
}
