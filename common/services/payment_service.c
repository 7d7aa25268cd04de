#include "services/payment_service.h"

#include <stdio.h>

#include "base/buffer.h"
#include "base/config.h"
#include "observe/log.h"
#include "outbound/yookassa.h"
#include "repositories/user_repository.h"
#include "services/payment_provider.h"
#include "services/settlement_service.h"

enum error payment_service_receipt(struct app *app, const struct uuid *user_id, struct text wanted,
                                   char buffer[static EMAIL_BYTES_MAX + 1], struct text *ret_email)
{
    struct user_export user = {.rows = NULL};
    bool found = false;
    *ret_email = (struct text){NULL, 0};
    if (app->config->yookassa_vat_code == 0)
        return ERROR_OK;
    enum error err = user_repository_export(app->database, user_id, &user, &found);
    if (err)
        return err;
    if (found && user.email.len > 0 && text_copy(user.email, buffer, EMAIL_BYTES_MAX + 1))
        *ret_email = text_from(buffer);
    else if (wanted.len > 0)
        *ret_email = wanted;
    else if (app->config->yookassa_receipt_email[0])
        *ret_email = text_from(app->config->yookassa_receipt_email);
    if (found)
        user_export_done(&user);
    return ret_email->data ? ERROR_OK : ERROR_INVALID_FIELD;
}

static enum error open_error(enum payment_open_outcome outcome)
{
    switch (outcome) {
    case PAYMENT_OPEN_DONE:
    case PAYMENT_OPEN_REPLAYED:
        return ERROR_OK;
    case PAYMENT_OPEN_REUSED:
        return ERROR_IDEMPOTENCY_KEY_REUSED;
    case PAYMENT_OPEN_IN_PROGRESS:
        return ERROR_IDEMPOTENCY_IN_PROGRESS;
    case PAYMENT_OPEN_NO_ACCOUNT:
        return ERROR_USER_NOT_FOUND;
    }
    return ERROR_INTERNAL;
}

static void fill_answer(const struct payment *payment, struct text status,
                        struct text confirmation_url, struct payment_answer *ret_answer)
{
    *ret_answer = (struct payment_answer){.user_id = payment->user_id, .id = payment->id};
    (void)text_copy(status, ret_answer->status, sizeof(ret_answer->status));
    (void)text_copy(confirmation_url, ret_answer->confirmation_url,
                    sizeof(ret_answer->confirmation_url));
}

/* The provider has it. What it says of another payment than ours is no answer. */
static enum error take(struct app *app, const struct payment *payment,
                       const struct yookassa_payment *object, struct payment_answer *ret_answer)
{
    enum settlement settlement;
    struct uuid id;
    if (!uuid_parse(object->metadata_payment_id, &id) || !uuid_equal(&id, &payment->id)) {
        log_event(app->log, LOG_ERROR, "the provider answered for another payment",
                  LOG_TEXT("provider_id", object->id));
        return ERROR_PAYMENT_PROVIDER_UNAVAILABLE;
    }
    enum error err = settlement_service_payment(app, object, &settlement);
    if (err)
        return err;
    if (settlement == SETTLEMENT_DIFFERENCE)
        return ERROR_PAYMENT_PROVIDER_UNAVAILABLE;
    fill_answer(payment, text_from(yookassa_status_word(object->status)), object->confirmation_url,
                ret_answer);
    return ERROR_OK;
}

/* The provider has done nothing. A renewal that it never will has failed; else the key is free. */
static enum error give_up(struct app *app, const struct payment *payment,
                          enum yookassa_result result)
{
    bool removed;
    bool failed =
        result == YOOKASSA_REFUSED && text_equal(payment->purpose, TEXT_LITERAL("renewal"));
    enum error err =
        failed
            ? payment_repository_renewal_refused(app->database, &payment->user_id, &payment->id)
            : payment_repository_refused(app->database, &payment->user_id, &payment->id, &removed);
    return err ? err : ERROR_PAYMENT_PROVIDER_UNAVAILABLE;
}

enum error payment_service_ask(struct app *app, const struct payment *payment,
                               struct payment_answer *ret_answer)
{
    struct yookassa_answer answer = {.count = 0};
    char key[UUID_TEXT_SIZE];
    uuid_format(&payment->id, key);
    enum error err = yookassa_create_payment(app->yookassa, key, payment->request_body, &answer);
    if (err)
        goto out;
    payment_provider_report(app, "create_payment", &answer);
    switch (answer.result) {
    case YOOKASSA_DONE:
        err = take(app, payment, &answer.payments[0], ret_answer);
        break;
    case YOOKASSA_UNKNOWN:
        err = payment_repository_uncertain(app->database, &payment->user_id, &payment->id, 0);
        err = err ? err : ERROR_PAYMENT_PROVIDER_UNAVAILABLE;
        break;
    case YOOKASSA_REFUSED:
    case YOOKASSA_DENIED:
    case YOOKASSA_NOT_FOUND:
    case YOOKASSA_LATER:
        err = give_up(app, payment, answer.result);
        break;
    }
out:
    yookassa_answer_done(&answer);
    return err;
}

static enum error write_request(struct app *app, const struct payment_request *request,
                                struct buffer *ret_body)
{
    struct money amount;
    if (!money_parse(request->price->amount, request->price->currency, &amount) ||
        amount.minor == 0) {
        log_event(app->log, LOG_ERROR, "a price is no amount of money",
                  LOG_TEXT("package", request->token_package), LOG_TEXT("plan", request->plan));
        return ERROR_INTERNAL;
    }
    struct yookassa_order order = {
        .user_id = request->user_id,
        .payment_id = request->operation.id,
        .amount = amount,
        .description = request->description,
        .return_url = request->return_url,
        .save_payment_method = text_equal(request->purpose, TEXT_LITERAL("subscription")),
        .payment_method_id = request->payment_method_id,
        .vat_code = app->config->yookassa_vat_code,
    };
    char email[EMAIL_BYTES_MAX + 1];
    enum error err = payment_service_receipt(app, &request->user_id, request->receipt_email, email,
                                             &order.receipt_email);
    return err ? err : yookassa_payment_body(&order, ret_body);
}

static enum error open_row(struct app *app, const struct payment_request *request, struct text body,
                           enum payment_open_outcome *ret_outcome, struct payment_list *ret_list)
{
    struct new_payment payment = {
        .user_id = request->user_id,
        .id = request->operation.id,
        .purpose = request->purpose,
        .token_package = request->token_package,
        .plan = request->plan,
        .amount = request->price->amount,
        .currency = request->price->currency,
        .has_tokens_amount = request->token_package.data != NULL,
        .tokens_amount = request->price->tokens,
        .request_body = body,
        .keyed = request->operation.keyed,
        .request_hash = request->operation.request_hash,
    };
    if (request->subscription_id) {
        payment.has_subscription_id = true;
        payment.subscription_id = *request->subscription_id;
    }
    return payment_repository_open(app->database, &payment, payment_provider_lease_seconds(app, 2),
                                   ret_outcome, ret_list);
}

enum error payment_service_open(struct app *app, const struct payment_request *request,
                                struct payment_answer *ret_answer)
{
    struct buffer body;
    struct payment_list list = {.count = 0};
    enum payment_open_outcome outcome = PAYMENT_OPEN_NO_ACCOUNT;
    buffer_init(&body, PAYMENT_REQUEST_BYTES_MAX);
    enum error err = write_request(app, request, &body);
    if (!err)
        err = open_row(app, request, buffer_text(&body), &outcome, &list);
    if (!err)
        err = open_error(outcome);
    if (!err && outcome == PAYMENT_OPEN_DONE) {
        err = payment_service_ask(app, &list.items[0], ret_answer);
    } else if (!err) {
        const struct payment *payment = &list.items[0];
        fill_answer(payment, payment->status, payment->confirmation_url, ret_answer);
        ret_answer->replayed = true;
    }
    payment_list_done(&list);
    buffer_done(&body);
    return err;
}

struct creation {
    const struct payment_order *order;
    const struct operation_key *key;
    const struct price *price;
    struct payment_answer *answer; /* result */
};

static enum error create_once(struct app *app, const struct uuid *user_id, void *context)
{
    const struct creation *creation = context;
    const struct payment_order *order = creation->order;
    char description[96];
    snprintf(description, sizeof(description), "DreamLens: %d токенов", creation->price->tokens);
    struct payment_request request = {
        .user_id = *user_id,
        .operation = operation_make(creation->key, user_id),
        .purpose = TEXT_LITERAL("tokens"),
        .token_package = order->package,
        .price = creation->price,
        .description = text_from(description),
        .return_url = order->return_url,
        .receipt_email = order->receipt_email,
    };
    return payment_service_open(app, &request, creation->answer);
}

enum error payment_service_create(struct app *app, struct account *account,
                                  const struct payment_order *order,
                                  const struct operation_key *key,
                                  struct payment_answer *ret_answer)
{
    struct price price = {.rows = NULL};
    bool found = false;
    if (!app->yookassa)
        return ERROR_PAYMENTS_NOT_CONFIGURED;
    enum error err = payment_repository_package(app->database, order->package, &price, &found);
    if (err || !found)
        return err ? err : ERROR_INVALID_PACKAGE;
    struct creation creation = {order, key, &price, ret_answer};
    err = account_service_retry(app, account, create_once, &creation);
    price_done(&price);
    return err;
}

enum error payment_service_get(struct app *app, const struct account *account,
                               const struct uuid *id, struct payment_list *ret_list)
{
    enum error err = payment_repository_get(app->database, &account->user_id, id, ret_list);
    if (err || ret_list->count > 0)
        return err;
    payment_list_done(ret_list);
    return ERROR_NOT_FOUND;
}

enum error payment_service_list(struct app *app, const struct account *account,
                                int64_t before_created_at, const struct uuid *before_id,
                                int32_t limit, struct payment_list *ret_list)
{
    return payment_repository_page(app->database, &account->user_id, before_created_at, before_id,
                                   limit, ret_list);
}
