#include "services/settlement_service.h"

#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "base/limits.h"
#include "cache/cache.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "repositories/payment_repository.h"
#include "services/cache_keys.h"
#include "base/operation.h"
#include "services/payment_provider.h"

/* Ours, as found by what the provider has. */
struct owner {
    struct uuid user_id, id;
    bool found;
};

static void count_difference(struct app *app, struct text kind, struct text provider_id)
{
    char labels[METRIC_LABELS_BYTES_MAX];
    snprintf(labels, sizeof(labels), "kind=\"%.*s\"", (int)kind.len, kind.data);
    metric_add(metrics_series(app->metrics, "payment_differences_total", labels), 1);
    log_event(app->log, LOG_WARNING, "payment difference", LOG_TEXT("kind", kind),
              LOG_TEXT("provider_id", provider_id));
}

/* What no payment of ours could be found for. */
static enum error record_stranger(struct app *app, struct text kind, struct text provider_id,
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
    enum error err = payment_repository_difference(app->database, &difference, &is_new);
    if (!err && is_new)
        count_difference(app, kind, provider_id);
    return err;
}

/* By the provider's id; a payment whose creation was never answered by what we sent with it. */
static enum error locate(struct app *app, const struct yookassa_payment *payment,
                         struct owner *ret_owner)
{
    struct uuid user_id;
    *ret_owner = (struct owner){.found = false};
    enum error err = payment_repository_locate_provider(
        app->database, payment->id, &ret_owner->user_id, &ret_owner->id, &ret_owner->found);
    if (err || ret_owner->found || !uuid_parse(payment->metadata_user_id, &user_id) ||
        !uuid_parse(payment->metadata_payment_id, &ret_owner->id))
        return err;
    return payment_repository_locate(app->database, &user_id, &ret_owner->id, &ret_owner->user_id,
                                     &ret_owner->found);
}

static enum settlement settlement_of(enum payment_apply_outcome outcome)
{
    switch (outcome) {
    case PAYMENT_APPLIED:
        return SETTLEMENT_DONE;
    case PAYMENT_UNCHANGED:
        return SETTLEMENT_KNOWN;
    case PAYMENT_CONFLICT:
    case PAYMENT_UNCREDITED:
    case PAYMENT_NOT_THERE:
        break;
    }
    return SETTLEMENT_DIFFERENCE;
}

/* The balance, the plan and its free generations are one cached answer of the user. */
static enum error apply(struct app *app, const struct payment_truth *truth,
                        enum payment_apply_outcome *ret_outcome)
{
    struct cache_key cached = cache_keys_balance(&truth->user_id);
    struct cache_write write;
    char kind[PAYMENT_KIND_SIZE] = "";
    cache_write_begin(app->cache, &cached, &write);
    enum error err = payment_repository_apply(app->database, truth, ret_outcome, kind);
    cache_write_end(app->cache, &write);
    if (!err && kind[0])
        count_difference(app, text_from(kind), truth->provider_id);
    return err;
}

static struct payment_truth truth_of(const struct app *app, const struct yookassa_payment *payment,
                                     const char *amount)
{
    struct text nothing = {NULL, 0};
    return (struct payment_truth){
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

static void tell(struct app *app, const struct yookassa_payment *payment)
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
    struct payment_truth truth = truth_of(app, payment, amount);
    enum payment_apply_outcome outcome = PAYMENT_NOT_THERE;
    enum error err = ERROR_OK;
    /* Between looking and applying the account may be linked to another, and the payment with it.
     */
    for (int i = 0; !err && outcome == PAYMENT_NOT_THERE; i++) {
        if (i > REOPENS_MAX)
            return ERROR_OVERLOADED;
        err = locate(app, payment, &owner);
        if (!err && !owner.found) {
            *ret_settlement = SETTLEMENT_DIFFERENCE;
            return record_stranger(app, TEXT_LITERAL("unknown_payment"), payment->id,
                                   &payment->amount);
        }
        truth.user_id = owner.user_id;
        truth.id = owner.id;
        if (!err)
            err = apply(app, &truth, &outcome);
    }
    if (err)
        return err;
    if (outcome == PAYMENT_APPLIED)
        tell(app, payment);
    *ret_settlement = settlement_of(outcome);
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
        return record_stranger(app, TEXT_LITERAL("other_shop"), payment->id, &payment->amount);
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
    enum error err = payment_repository_locate_provider(
        app->database, provider_payment_id, &ret_owner->user_id, &ret_owner->id, &ret_owner->found);
    if (!err && ret_owner->found)
        err = payment_repository_get(app->database, &ret_owner->user_id, &ret_owner->id, &list);
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

/* One that was made in the provider's own pages has no id of ours: the same one every time. */
static struct uuid refund_id_of(const struct yookassa_refund *refund)
{
    char name[96];
    struct uuid id;
    if (uuid_parse(refund->metadata_refund_id, &id))
        return id;
    int len = snprintf(name, sizeof(name), "refund:%.*s", (int)refund->id.len, refund->id.data);
    return operation_derive((struct text){name, (size_t)len});
}

static enum error apply_refund(struct app *app, const struct refund_truth *truth,
                               enum payment_apply_outcome *ret_outcome)
{
    struct cache_key cached = cache_keys_balance(&truth->user_id);
    struct cache_write write;
    char kind[PAYMENT_KIND_SIZE] = "";
    cache_write_begin(app->cache, &cached, &write);
    enum error err = payment_repository_refund_apply(app->database, truth, ret_outcome, kind);
    cache_write_end(app->cache, &write);
    if (!err && kind[0])
        count_difference(app, text_from(kind), truth->provider_id);
    return err;
}

static enum error settle_refund(struct app *app, const struct yookassa_refund *refund,
                                struct owner *owner, enum settlement *ret_settlement)
{
    char amount[MONEY_TEXT_SIZE];
    enum payment_apply_outcome outcome = PAYMENT_NOT_THERE;
    enum error err = ERROR_OK;
    bool paid;
    money_format(&refund->amount, amount);
    struct refund_truth truth = {
        .id = refund_id_of(refund),
        .provider_id = refund->id,
        .provider_payment_id = refund->payment_id,
        .status = text_from(yookassa_status_word(refund->status)),
        .amount = text_from(amount),
        .currency = text_from(refund->amount.currency),
    };
    for (int i = 0; !err && outcome == PAYMENT_NOT_THERE; i++) {
        if (i > REOPENS_MAX)
            return ERROR_OVERLOADED;
        if (i > 0)
            err = locate_paid(app, refund->payment_id, owner, &paid);
        truth.user_id = owner->user_id;
        truth.payment_id = owner->id;
        if (!err)
            err = apply_refund(app, &truth, &outcome);
    }
    if (err)
        return err;
    if (outcome == PAYMENT_APPLIED)
        log_event(app->log, LOG_INFO, "refund", LOG_TEXT("status", truth.status),
                  LOG_TEXT("provider_id", refund->id));
    *ret_settlement = settlement_of(outcome);
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
        return record_stranger(app, TEXT_LITERAL("unknown_refund"), refund->id, &refund->amount);
    }
    return settle_refund(app, refund, &owner, ret_settlement);
}
