#include "services/reconcile_service.h"

#include "base/clock.h"
#include "base/limits.h"
#include "observe/log.h"
#include "outbound/yookassa.h"
#include "repositories/payment_repository.h"
#include "repositories/reconcile_repository.h"
#include "repositories/refund_repository.h"
#include "services/payment_provider.h"
#include "services/payment_rules.h"
#include "services/payment_service.h"
#include "services/refund_service.h"
#include "services/settlement_service.h"
#include "services/subscription_service.h"

enum { MICROSECONDS = 1000000 };

/* An object that is gone is looked at again by its schedule, and logged every time. */
static enum error check_found(struct app *app, enum error err, struct text provider_id)
{
    if (err != ERROR_NOT_FOUND)
        return err;
    log_event(app->log, LOG_ERROR, "the provider does not know what it once took",
              LOG_TEXT("provider_id", provider_id));
    return ERROR_OK;
}

static enum error check_payment(struct app *app, const struct payment *payment)
{
    struct payment_answer ignored;
    enum settlement settlement;
    if (payment->provider_id.data) {
        enum error err = settlement_service_fetch_payment(app, payment->provider_id, &settlement);
        return check_found(app, err, payment->provider_id);
    }
    /* One that is too old to be repeated is found by listing what the provider has. */
    if (!payment->request_body.data ||
        !payment_rules_repeatable(payment->created_at, clock_unix_us()))
        return ERROR_OK;
    return payment_service_ask(app, payment, &ignored);
}

enum error reconcile_service_payment(struct app *app, bool *ret_worked)
{
    struct payment_list list = {.count = 0};
    *ret_worked = false;
    if (!app->yookassa)
        return ERROR_OK;
    /* One at a time: its lease is short, so one that a killed process held is soon looked at. */
    enum error err = payment_repository_claim_due(app->database, 1,
                                                  payment_provider_lease_seconds(app, 2), &list);
    *ret_worked = !err && list.count > 0;
    if (*ret_worked)
        err = check_payment(app, &list.items[0]);
    payment_list_done(&list);
    return err;
}

static enum error check_refund(struct app *app, const struct refund *refund)
{
    enum settlement settlement;
    if (refund->provider_id.data) {
        enum error err = settlement_service_fetch_refund(app, refund->provider_id, &settlement);
        return check_found(app, err, refund->provider_id);
    }
    if (!refund->request_body.data ||
        !payment_rules_repeatable(refund->created_at, clock_unix_us()))
        return ERROR_OK;
    return refund_service_ask(app, refund);
}

enum error reconcile_service_refund(struct app *app, bool *ret_worked)
{
    struct refund_list list = {.count = 0};
    *ret_worked = false;
    if (!app->yookassa)
        return ERROR_OK;
    enum error err = refund_repository_claim_due(app->database, 1,
                                                 payment_provider_lease_seconds(app, 3), &list);
    *ret_worked = !err && list.count > 0;
    if (*ret_worked)
        err = check_refund(app, &list.items[0]);
    refund_list_done(&list);
    return err;
}

enum error reconcile_service_subscription(struct app *app, bool *ret_worked)
{
    struct subscription_list list = {.count = 0};
    enum error err = subscription_repository_claim_due(
        app->database, 1, payment_provider_lease_seconds(app, 2), &list);
    *ret_worked = !err && list.count > 0;
    if (*ret_worked)
        err = subscription_service_renew(app, &list.items[0]);
    subscription_list_done(&list);
    return err;
}

/* --- what the provider has --- */

/* A listing of one kind of object. */
struct listing {
    struct text name; /* of its window */
    const char *call; /* for the metric */
    enum error (*page)(const struct yookassa *provider, int64_t created_since, struct text cursor,
                       struct yookassa_answer *ret_answer);
    enum error (*settle)(struct app *app, const struct yookassa_answer *answer, size_t index);
};

static enum error settle_listed_payment(struct app *app, const struct yookassa_answer *answer,
                                        size_t index)
{
    enum settlement settlement;
    return settlement_service_payment(app, &answer->payments[index], &settlement);
}

static enum error settle_listed_refund(struct app *app, const struct yookassa_answer *answer,
                                       size_t index)
{
    enum settlement settlement;
    return settlement_service_refund(app, &answer->refunds[index], &settlement);
}

/* One reading of a list, page by page. */
struct reading {
    int64_t from; /* microseconds since 1970 */
    struct yookassa_answer
        answer;   /* the last page, with the cursor of the next, absent at the end */
    bool settled; /* false when something of it has to be read again */
};

static enum error read_page(struct app *app, const struct listing *listing, struct reading *reading)
{
    struct yookassa_answer *answer = &reading->answer;
    struct yookassa_answer next = {.count = 0};
    enum error err = listing->page(app->yookassa, reading->from, answer->next_cursor, &next);
    yookassa_answer_done(answer);
    *answer = next;
    if (err)
        return err;
    payment_provider_report(app, listing->call, answer);
    if (answer->result != YOOKASSA_DONE)
        return ERROR_PAYMENT_UNCONFIRMED;
    for (size_t i = 0; !err && i < answer->count; i++) {
        err = listing->settle(app, answer, i);
        /* Logged. One that the database refuses, or that needs an answer the provider does not
         * give, must not keep the others waiting. */
        if (err == ERROR_DATABASE || err == ERROR_PAYMENT_UNCONFIRMED) {
            reading->settled = false;
            err = ERROR_OK;
        }
    }
    reading->settled = reading->settled && answer->skipped == 0;
    return err;
}

static enum error read_all(struct app *app, const struct listing *listing, struct reading *reading)
{
    enum error err;
    int pages = 0;
    do
        err = read_page(app, listing, reading);
    while (!err && reading->answer.next_cursor.data && ++pages < LISTING_PAGES_MAX);
    if (!err && reading->answer.next_cursor.data) {
        log_event(app->log, LOG_ERROR, "the provider's list has no end",
                  LOG_TEXT("list", listing->name));
        err = ERROR_PAYMENT_UNCONFIRMED;
    }
    yookassa_answer_done(&reading->answer);
    return err;
}

static enum error run_listing(struct app *app, const struct listing *listing, bool *ret_worked)
{
    const struct listing_claim claim = {
        .name = listing->name,
        .every_seconds = LISTING_SECONDS,
        .lease_seconds = LISTING_LEASE_SECONDS,
    };
    struct reading reading = {.settled = true};
    int64_t started = clock_unix_us();
    int64_t since = 0;
    bool claimed = false;
    *ret_worked = false;
    if (!app->yookassa)
        return ERROR_OK;
    enum error err = reconcile_repository_claim_window(app->database, &claim, &since, &claimed);
    if (err || !claimed)
        return err;
    reading.from = since - (int64_t)LISTING_OVERLAP_SECONDS * MICROSECONDS;
    err = read_all(app, listing, &reading);
    if (err)
        return err;
    return reconcile_repository_finish_window(
        app->database, listing->name, payment_rules_next_listing(since, started, reading.settled));
}

enum error reconcile_service_list_payments(struct app *app, bool *ret_worked)
{
    static const struct listing LISTING = {
        .name = {"payments", 8},
        .call = "list_payments",
        .page = yookassa_list_payments,
        .settle = settle_listed_payment,
    };
    return run_listing(app, &LISTING, ret_worked);
}

enum error reconcile_service_list_refunds(struct app *app, bool *ret_worked)
{
    static const struct listing LISTING = {
        .name = {"refunds", 7},
        .call = "list_refunds",
        .page = yookassa_list_refunds,
        .settle = settle_listed_refund,
    };
    return run_listing(app, &LISTING, ret_worked);
}
