#include "services/settlement_service.h"

#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "base/limits.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "repositories/payment_repository.h"
#include "repositories/refund_repository.h"
#include "services/cache_writes.h"
#include "services/payment_provider.h"
#include "services/payment_rules.h"

/* Ours, as found by what the provider has. */
struct owner {
    struct row_key key;
    bool found;
};

/* What no payment of ours belongs to. */
static enum error record_unknown(struct app *app, struct text kind, struct text provider_id,
                                 const struct money *amount)
{
    char decimal[MONEY_TEXT_SIZE];
    char details[64];
    bool is_new = false;
    money_format(amount, decimal);
    snprintf(details, sizeof(details), "%s %s", decimal, amount->currency);
    struct payment_difference difference = {
        .kind = kind,
        .provider_id = provider_id,
        .details = text_from(details),
    };
    enum error err = reconcile_repository_record_difference(app->database, &difference, &is_new);
    if (!err && is_new)
        payment_provider_difference(app, kind, provider_id);
    return err;
}

/* By the provider's id; a payment whose creation was never answered by what we sent with it. */
static enum error locate(struct app *app, const struct yookassa_payment *payment,
                         struct owner *ret_owner)
{
    struct row_key opened;
    *ret_owner = (struct owner){.found = false};
    enum error err = payment_repository_locate_provider(app->database, payment->id, &ret_owner->key,
                                                        &ret_owner->found);
    if (err || ret_owner->found || !uuid_parse(payment->metadata_user_id, &opened.user_id) ||
        !uuid_parse(payment->metadata_payment_id, &opened.id))
        return err;
    return payment_repository_locate(app->database, &opened, &ret_owner->key, &ret_owner->found);
}

struct payment_application {
    const struct payment_state *state;
    struct applied *applied; /* result */
};

static enum error apply_once(struct app *app, const struct uuid *user_id, void *context)
{
    (void)user_id; /* the state has it */
    struct payment_application *application = context;
    return payment_repository_apply(app->database, application->state, application->applied);
}

/* The balance, the plan and its free generations are one cached answer of the user. */
static enum error apply(struct app *app, const struct payment_state *state,
                        struct applied *ret_applied)
{
    struct payment_application application = {state, ret_applied};
    enum error err = cache_writes_balance(app, &state->user_id, apply_once, &application);
    if (!err && ret_applied->kind[0])
        payment_provider_difference(app, text_from(ret_applied->kind), state->provider_id);
    return err;
}

static struct payment_state state_of(const struct app *app, const struct yookassa_payment *payment,
                                     const char *amount)
{
    struct text nothing = {NULL, 0};
    return (struct payment_state){
        .provider_id = payment->id,
        .status = text_from(yookassa_status_word(payment->status)),
        .amount = text_from(amount),
        .currency = text_from(payment->amount.currency),
        .test = payment->test,
        .test_accepted = app->config->yookassa_test_payments == CONFIG_TEST_PAYMENTS_ON,
        .confirmation_url = payment->confirmation_url,
        .payment_method_id = payment->payment_method_saved ? payment->payment_method_id : nothing,
        .cancellation_reason = payment->cancellation_reason,
    };
}

static void report(struct app *app, const struct yookassa_payment *payment)
{
    char labels[METRIC_LABELS_BYTES_MAX];
    const char *status = yookassa_status_word(payment->status);
    snprintf(labels, sizeof(labels), "status=\"%s\"", status);
    metric_add(metrics_series(app->metrics, "payments_total", labels), 1);
    log_event(app->log, LOG_INFO, "payment", LOG_STRING("status", status),
              LOG_TEXT("provider_id", payment->id));
}

static enum error settle_once(struct app *app, const struct yookassa_payment *payment,
                              enum settlement *ret_settlement)
{
    char amount[MONEY_TEXT_SIZE];
    struct owner owner;
    money_format(&payment->amount, amount);
    struct payment_state state = state_of(app, payment, amount);
    struct applied applied = {.outcome = APPLY_NOT_FOUND};
    enum error err = ERROR_OK;
    /* Between looking and applying the account may be linked to another, and the payment with it.
     */
    for (int i = 0; !err && applied.outcome == APPLY_NOT_FOUND; i++) {
        if (i > REOPENS_MAX)
            return ERROR_OVERLOADED;
        err = locate(app, payment, &owner);
        if (!err && !owner.found) {
            *ret_settlement = SETTLEMENT_DIFFERENCE;
            return record_unknown(app, TEXT_LITERAL("unknown_payment"), payment->id,
                                  &payment->amount);
        }
        state.user_id = owner.key.user_id;
        state.id = owner.key.id;
        if (!err)
            err = apply(app, &state, &applied);
    }
    if (err)
        return err;
    if (applied.outcome == APPLY_DONE)
        report(app, payment);
    *ret_settlement = payment_rules_settlement(applied.outcome);
    return ERROR_OK;
}

/* A call that is not answered is made again with the same key when the payment is looked at next.
 */
static enum error capture(struct app *app, const struct yookassa_payment *payment,
                          enum settlement *ret_settlement)
{
    struct yookassa_answer answer = {.count = 0};
    char key[96];
    snprintf(key, sizeof(key), "capture-%.*s", (int)payment->id.len, payment->id.data);
    key[64] = '\0';
    enum error err = yookassa_capture_payment(app->yookassa, key, payment->id, &answer);
    if (!err) {
        payment_provider_report(app, "capture_payment", &answer);
        if (answer.result == YOOKASSA_DONE)
            err = settle_once(app, &answer.payments[0], ret_settlement);
    }
    yookassa_answer_done(&answer);
    return err;
}

enum error settlement_service_payment(struct app *app, const struct yookassa_payment *payment,
                                      enum settlement *ret_settlement)
{
    if (!text_equal(payment->shop_id, text_from(app->config->yookassa_shop_id))) {
        *ret_settlement = SETTLEMENT_DIFFERENCE;
        return record_unknown(app, TEXT_LITERAL("other_shop"), payment->id, &payment->amount);
    }
    enum error err = settle_once(app, payment, ret_settlement);
    if (!err && payment->status == YOOKASSA_WAITING_FOR_CAPTURE &&
        *ret_settlement != SETTLEMENT_DIFFERENCE)
        err = capture(app, payment, ret_settlement);
    return err;
}

/* --- refunds --- */

static enum error locate_paid(struct app *app, struct text provider_payment_id,
                              struct owner *ret_owner, bool *ret_paid)
{
    struct payment_list list = {.count = 0};
    *ret_paid = false;
    *ret_owner = (struct owner){.found = false};
    enum error err = payment_repository_locate_provider(app->database, provider_payment_id,
                                                        &ret_owner->key, &ret_owner->found);
    if (!err && ret_owner->found)
        err = payment_repository_get(app->database, &ret_owner->key.user_id, &ret_owner->key.id,
                                     &list);
    if (!err && list.count > 0)
        *ret_paid = text_equal(list.items[0].status, TEXT_LITERAL("succeeded")) ||
                    text_equal(list.items[0].status, TEXT_LITERAL("refunded"));
    payment_list_done(&list);
    return err;
}

static enum error fetch_failure(const struct yookassa_answer *answer)
{
    return answer->result == YOOKASSA_NOT_FOUND ? ERROR_NOT_FOUND : ERROR_PAYMENT_UNCONFIRMED;
}

enum error settlement_service_fetch_payment(struct app *app, struct text provider_id,
                                            enum settlement *ret_settlement)
{
    struct yookassa_answer answer = {.count = 0};
    enum error err = yookassa_get_payment(app->yookassa, provider_id, &answer);
    if (!err) {
        payment_provider_report(app, "get_payment", &answer);
        err = answer.result == YOOKASSA_DONE
                  ? settlement_service_payment(app, &answer.payments[0], ret_settlement)
                  : fetch_failure(&answer);
    }
    yookassa_answer_done(&answer);
    return err;
}

enum error settlement_service_fetch_refund(struct app *app, struct text provider_id,
                                           enum settlement *ret_settlement)
{
    struct yookassa_answer answer = {.count = 0};
    enum error err = yookassa_get_refund(app->yookassa, provider_id, &answer);
    if (!err) {
        payment_provider_report(app, "get_refund", &answer);
        err = answer.result == YOOKASSA_DONE
                  ? settlement_service_refund(app, &answer.refunds[0], ret_settlement)
                  : fetch_failure(&answer);
    }
    yookassa_answer_done(&answer);
    return err;
}

struct refund_application {
    const struct refund_state *state;
    struct applied *applied; /* result */
};

static enum error apply_refund_once(struct app *app, const struct uuid *user_id, void *context)
{
    (void)user_id; /* the state has it */
    struct refund_application *application = context;
    return refund_repository_apply(app->database, application->state, application->applied);
}

static enum error apply_refund(struct app *app, const struct refund_state *state,
                               struct applied *ret_applied)
{
    struct refund_application application = {state, ret_applied};
    enum error err = cache_writes_balance(app, &state->user_id, apply_refund_once, &application);
    if (!err && ret_applied->kind[0])
        payment_provider_difference(app, text_from(ret_applied->kind), state->provider_id);
    return err;
}

static enum error settle_refund(struct app *app, const struct yookassa_refund *refund,
                                struct owner *owner, enum settlement *ret_settlement)
{
    char amount[MONEY_TEXT_SIZE];
    struct applied applied = {.outcome = APPLY_NOT_FOUND};
    enum error err = ERROR_OK;
    bool paid;
    money_format(&refund->amount, amount);
    struct refund_state state = {
        .id = payment_rules_refund_id(refund),
        .provider_id = refund->id,
        .provider_payment_id = refund->payment_id,
        .status = text_from(yookassa_status_word(refund->status)),
        .amount = text_from(amount),
        .currency = text_from(refund->amount.currency),
    };
    for (int i = 0; !err && applied.outcome == APPLY_NOT_FOUND; i++) {
        if (i > REOPENS_MAX)
            return ERROR_OVERLOADED;
        if (i > 0)
            err = locate_paid(app, refund->payment_id, owner, &paid);
        state.user_id = owner->key.user_id;
        state.payment_id = owner->key.id;
        if (!err)
            err = apply_refund(app, &state, &applied);
    }
    if (err)
        return err;
    if (applied.outcome == APPLY_DONE)
        log_event(app->log, LOG_INFO, "refund", LOG_TEXT("status", state.status),
                  LOG_TEXT("provider_id", refund->id));
    *ret_settlement = payment_rules_settlement(applied.outcome);
    return ERROR_OK;
}

enum error settlement_service_refund(struct app *app, const struct yookassa_refund *refund,
                                     enum settlement *ret_settlement)
{
    struct owner owner;
    bool paid;
    enum settlement of_payment;
    enum error err = locate_paid(app, refund->payment_id, &owner, &paid);
    if (!err && !paid) {
        /* A refund may be heard of before the payment it belongs to. */
        err = settlement_service_fetch_payment(app, refund->payment_id, &of_payment);
        if (err == ERROR_NOT_FOUND)
            err = ERROR_OK;
        if (!err)
            err = locate_paid(app, refund->payment_id, &owner, &paid);
    }
    if (err)
        return err;
    if (!owner.found) {
        *ret_settlement = SETTLEMENT_DIFFERENCE;
        return record_unknown(app, TEXT_LITERAL("unknown_refund"), refund->id, &refund->amount);
    }
    return settle_refund(app, refund, &owner, ret_settlement);
}
