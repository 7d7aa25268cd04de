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
                                   struct receipt_address *ret_address)
{
    struct user_export user = {.rows = NULL};
    bool found = false;
    ret_address->email = (struct text){NULL, 0};
    if (app->config->yookassa_vat_code == 0)
        return ERROR_OK;
    enum error err = user_repository_export(app->database, user_id, &user, &found);
    if (err)
        return err;
    if (found && user.email.len > 0 &&
        text_copy(user.email, ret_address->of_account, sizeof(ret_address->of_account)))
        ret_address->email = text_from(ret_address->of_account);
    else if (wanted.len > 0)
        ret_address->email = wanted;
    else if (app->config->yookassa_receipt_email[0])
        ret_address->email = text_from(app->config->yookassa_receipt_email);
    if (found)
        user_export_done(&user);
    return ret_address->email.data ? ERROR_OK : ERROR_INVALID_FIELD;
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
    *ret_answer = (struct payment_answer){
        .user_id = payment->user_id,
        .id = payment->id,
        .credit_days = payment->credit_days,
    };
    (void)text_copy(status, ret_answer->status, sizeof(ret_answer->status));
    (void)text_copy(confirmation_url, ret_answer->confirmation_url,
                    sizeof(ret_answer->confirmation_url));
}

/* The provider has made it. An answer about another payment than ours is no answer. */
static enum error settle_answer(struct app *app, const struct payment *payment,
                                const struct yookassa_payment *object,
                                struct payment_answer *ret_answer)
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

/* An order to save how it is paid, which the shop may not: no other order would be refused so. */
static bool is_about_saving(const struct payment *payment, const struct yookassa_answer *answer)
{
    return text_equal(payment->purpose, TEXT_LITERAL("subscription")) && payment->renews &&
           (answer->status == 403 ||
            text_equal(answer->error_parameter, TEXT_LITERAL("save_payment_method")));
}

/* The provider never will make it. One whose earlier attempt may have happened stays open. */
static enum error accept_refusal(struct app *app, const struct payment *payment,
                                 const struct yookassa_answer *answer)
{
    bool removed = false;
    if (text_equal(payment->purpose, TEXT_LITERAL("renewal"))) {
        enum error err =
            payment_repository_renewal_refused(app->database, &payment->user_id, &payment->id);
        return err ? err : ERROR_PAYMENT_REFUSED;
    }
    enum error err =
        payment_repository_refused(app->database, &payment->user_id, &payment->id, &removed);
    if (!err && is_about_saving(payment, answer))
        err = payment_provider_blocked(
            app, TEXT_LITERAL("may_not_save"),
            "Ask YooKassa's manager to let the shop save payment methods (recurring payments); "
            "until then subscriptions are sold by the month, with renews false");
    if (err)
        return err;
    if (!removed)
        return ERROR_PAYMENT_PROVIDER_UNAVAILABLE;
    return is_about_saving(payment, answer) ? ERROR_SAVING_NOT_ALLOWED : ERROR_PAYMENT_REFUSED;
}

/* The provider did nothing and may another time: the key is free. */
static enum error accept_failure(struct app *app, const struct payment *payment,
                                 const struct yookassa_answer *answer)
{
    bool removed;
    enum error err =
        payment_repository_refused(app->database, &payment->user_id, &payment->id, &removed);
    if (!err && answer->result == YOOKASSA_DENIED)
        err = payment_provider_denied(app);
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
        err = settle_answer(app, payment, &answer.payments[0], ret_answer);
        break;
    case YOOKASSA_UNKNOWN:
        err = payment_repository_uncertain(app->database, &payment->user_id, &payment->id, 0);
        err = err ? err : ERROR_PAYMENT_PROVIDER_UNAVAILABLE;
        break;
    case YOOKASSA_REFUSED:
        err = accept_refusal(app, payment, &answer);
        break;
    case YOOKASSA_DENIED:
    case YOOKASSA_NOT_FOUND:
    case YOOKASSA_LATER:
        err = accept_failure(app, payment, &answer);
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
        .save_payment_method =
            request->renews && text_equal(request->purpose, TEXT_LITERAL("subscription")),
        .payment_method_id = request->payment_method_id,
        .vat_code = app->config->yookassa_vat_code,
    };
    struct receipt_address receipt;
    enum error err =
        payment_service_receipt(app, &request->user_id, request->receipt_email, &receipt);
    if (err)
        return err;
    order.receipt_email = receipt.email;
    return yookassa_payment_body(&order, ret_body);
}

struct opened {
    enum payment_open_outcome outcome;
    struct payment_list list;
};

static enum error open_row(struct app *app, const struct payment_request *request, struct text body,
                           struct opened *ret_opened)
{
    struct new_payment payment = {
        .user_id = request->user_id,
        .operation = request->operation,
        .purpose = request->purpose,
        .token_package = request->token_package,
        .plan = request->plan,
        .amount = request->price->amount,
        .currency = request->price->currency,
        .has_tokens_amount = request->token_package.data != NULL,
        .tokens_amount = request->price->tokens,
        .renews = request->renews,
        .request_body = body,
        .lease_seconds = payment_provider_lease_seconds(app, 2),
    };
    if (request->subscription_id) {
        payment.has_subscription_id = true;
        payment.subscription_id = *request->subscription_id;
    }
    return payment_repository_open(app->database, &payment, &ret_opened->outcome,
                                   &ret_opened->list);
}

enum error payment_service_open(struct app *app, const struct payment_request *request,
                                struct payment_answer *ret_answer)
{
    struct buffer body;
    struct opened opened = {.outcome = PAYMENT_OPEN_NO_ACCOUNT};
    buffer_init(&body, PAYMENT_REQUEST_BYTES_MAX);
    enum error err = write_request(app, request, &body);
    if (!err)
        err = open_row(app, request, buffer_text(&body), &opened);
    if (!err)
        err = open_error(opened.outcome);
    if (!err && opened.outcome == PAYMENT_OPEN_DONE) {
        err = payment_service_ask(app, &opened.list.items[0], ret_answer);
    } else if (!err) {
        const struct payment *payment = &opened.list.items[0];
        fill_answer(payment, payment->status, payment->confirmation_url, ret_answer);
        ret_answer->replayed = true;
    }
    payment_list_done(&opened.list);
    buffer_done(&body);
    return err;
}

struct creation {
    struct payment_request request; /* without what depends on who the account is now */
    const struct operation_key *key;
    struct payment_answer *answer; /* result */
};

static enum error create_once(struct app *app, const struct uuid *user_id, void *context)
{
    struct creation *creation = context;
    creation->request.user_id = *user_id;
    creation->request.operation = operation_make(creation->key, user_id);
    return payment_service_open(app, &creation->request, creation->answer);
}

enum error payment_service_create(struct app *app, struct account *account,
                                  const struct payment_order *order,
                                  struct payment_answer *ret_answer)
{
    struct price price = {.rows = NULL};
    char description[96];
    bool found = false;
    if (!app->yookassa)
        return ERROR_PAYMENTS_NOT_CONFIGURED;
    enum error err = price_repository_find_package(app->database, order->package, &price, &found);
    if (err || !found)
        return err ? err : ERROR_INVALID_PACKAGE;
    snprintf(description, sizeof(description), "DreamLens: %d токенов", price.tokens);
    struct creation creation = {
        .request =
            {
                .purpose = TEXT_LITERAL("tokens"),
                .token_package = order->package,
                .price = &price,
                .description = text_from(description),
                .return_url = order->return_url,
                .receipt_email = order->receipt_email,
            },
        .key = order->key,
        .answer = ret_answer,
    };
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
                                const struct row_page *page, struct payment_list *ret_list)
{
    return payment_repository_page(app->database, &account->user_id, page, ret_list);
}

enum error payment_service_verify(struct app *app, struct payment_mismatch_list *ret_list)
{
    return payment_repository_verify(app->database, ret_list);
}
