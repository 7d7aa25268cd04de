#include "services/ledger_service.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "cache/cache.h"
#include "repositories/flight_queue.h"
#include "services/cache_keys.h"

static enum error error_of(enum ledger_outcome outcome)
{
    switch (outcome) {
    case LEDGER_DONE:
    case LEDGER_REPLAYED:
        return ERROR_OK;
    case LEDGER_INSUFFICIENT:
        return ERROR_INSUFFICIENT_TOKENS;
    case LEDGER_LIMIT:
        return ERROR_BALANCE_LIMIT;
    case LEDGER_REUSED:
        return ERROR_IDEMPOTENCY_KEY_REUSED;
    case LEDGER_IN_PROGRESS:
        return ERROR_IDEMPOTENCY_IN_PROGRESS;
    case LEDGER_NOT_FOUND:
        return ERROR_NOT_FOUND;
    case LEDGER_NOT_PENDING:
        return ERROR_HOLD_NOT_PENDING;
    case LEDGER_TOO_MUCH:
        return ERROR_INVALID_FIELD;
    case LEDGER_ALREADY_REVERSED:
        return ERROR_ALREADY_REVERSED;
    case LEDGER_OF_PAYMENT:
        return ERROR_PAYMENT_ENTRY;
    case LEDGER_NO_ACCOUNT:
        return ERROR_USER_NOT_FOUND;
    }
    return ERROR_INTERNAL;
}

static void begin_write(struct app *app, const struct uuid *user_id, struct cache_write *ret_write)
{
    struct cache_key key = cache_keys_balance(user_id);
    cache_write_begin(app->cache, &key, ret_write);
}

/*
 * After "no such account": whether its tokens moved to another one. Turns user_id into that one, or
 * returns ERROR_USER_NOT_FOUND.
 */
static enum error follow(struct app *app, struct uuid *user_id)
{
    struct uuid target;
    bool moved = false;
    enum error err = ledger_repository_merged_into(app->database, user_id, &target, &moved);
    if (err)
        return err;
    if (!moved)
        return ERROR_USER_NOT_FOUND;
    *user_id = target;
    return ERROR_OK;
}

static struct movement movement_of(const struct ledger_order *order,
                                   const struct operation *operation)
{
    return (struct movement){
        .user_id = order->user_id,
        .id = operation->id,
        .amount = order->amount,
        .type = order->type,
        .description = order->description,
        .keyed = operation->keyed,
        .request_hash = operation->request_hash,
    };
}

static struct ledger_answer answer_of(const struct movement_item *item)
{
    return (struct ledger_answer){
        .user_id = item->movement.user_id,
        .entry_id = item->movement.id,
        .balance = item->answer.balance,
        .replayed = item->answer.outcome == LEDGER_REPLAYED,
    };
}

/* After the database layer repeated a movement whose answer was lost, and found it there. */
static enum error find_done(struct app *app, struct movement_item *item)
{
    bool found = false;
    enum error err = ledger_repository_entry(app->database, &item->movement.user_id,
                                             &item->movement.id, &item->answer.balance, &found);
    item->answer.outcome = found ? LEDGER_DONE : LEDGER_NO_ACCOUNT;
    return err;
}

static enum error post_alone(struct app *app, struct movement_item *item)
{
    struct cache_write write;
    begin_write(app, &item->movement.user_id, &write);
    flight_run_alone(app->database, &ledger_repository_movements, item);
    cache_write_end(app->cache, &write);
    return item->flight.err;
}

/* What is left to do after a movement was tried; it may wait for the database. */
static enum error settle(struct app *app, struct movement_item *item,
                         struct ledger_answer *ret_answer)
{
    enum error err = item->flight.err;
    if (err == ERROR_CONFLICT)
        err = find_done(app, item);
    if (!err && item->answer.outcome == LEDGER_NO_ACCOUNT) {
        err = follow(app, &item->movement.user_id);
        if (!err)
            err = post_alone(app, item);
        if (err == ERROR_CONFLICT)
            err = find_done(app, item);
    }
    if (err)
        return err;
    *ret_answer = answer_of(item);
    return error_of(item->answer.outcome);
}

enum error ledger_service_post_start(struct app *app, const struct ledger_order *order,
                                     const struct operation_key *key, struct ledger_post *post,
                                     void (*done)(void *context), void *context)
{
    /* The id is made of the id the caller sent, so that it stays the same after a link. */
    struct operation operation = operation_make(key, &order->user_id);
    *post = (struct ledger_post){.item = {.movement = movement_of(order, &operation)}};
    begin_write(app, &order->user_id, &post->write);
    enum error err = flight_queues_start(app->flights, FLIGHT_MOVEMENT, &post->item, done, context);
    if (err)
        cache_write_end(app->cache, &post->write);
    return err;
}

bool ledger_service_post_waits(const struct ledger_post *post)
{
    const struct flight_item *head = &post->item.flight;
    return head->alone || head->err == ERROR_CONFLICT ||
           (!head->err && post->item.answer.outcome == LEDGER_NO_ACCOUNT);
}

enum error ledger_service_post_finish(struct app *app, struct ledger_post *post,
                                      struct ledger_answer *ret_answer)
{
    struct movement_item *item = &post->item;
    /* Here and not by whoever led the flight: nobody else waits for what its row waits for. */
    if (item->flight.alone)
        flight_run_alone(app->database, &ledger_repository_movements, item);
    cache_write_end(app->cache, &post->write);
    return settle(app, item, ret_answer);
}

static enum error post_flight(struct app *app, struct movement_item *const *items, size_t count)
{
    struct cache_write *writes = calloc(count, sizeof(*writes));
    if (!writes)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        begin_write(app, &items[i]->movement.user_id, &writes[i]);
    enum error err =
        flight_run(app->database, &ledger_repository_movements, (void *const *)items, count);
    for (size_t i = 0; i < count; i++)
        cache_write_end(app->cache, &writes[i]);
    free(writes);
    return err;
}

enum error ledger_service_post_many(struct app *app, struct ledger_item *items, size_t count)
{
    struct movement_item *flown = calloc(count, sizeof(*flown));
    struct movement_item **flight = calloc(count, sizeof(*flight));
    enum error err = ERROR_NO_MEMORY;
    if (!flown || !flight)
        goto out;
    for (size_t i = 0; i < count; i++) {
        struct operation operation = operation_make(&items[i].key, &items[i].order.user_id);
        flown[i].movement = movement_of(&items[i].order, &operation);
        flight[i] = &flown[i];
    }
    err = post_flight(app, flight, count);
    for (size_t i = 0; !err && i < count; i++)
        items[i].err = settle(app, &flown[i], &items[i].answer);
out:
    free(flown);
    free(flight);
    return err;
}

static enum error hold_once(struct app *app, const struct new_hold *hold,
                            struct hold_answer *ret_answer)
{
    struct cache_write write;
    bool found = false;
    begin_write(app, &hold->user_id, &write);
    enum error err = ledger_repository_hold(app->database, hold, ret_answer, &found);
    cache_write_end(app->cache, &write);
    if (!err && !found)
        ret_answer->outcome = LEDGER_NO_ACCOUNT;
    return err;
}

enum error ledger_service_hold(struct app *app, const struct ledger_order *order,
                               int32_t ttl_seconds, const struct operation_key *key,
                               struct ledger_hold *ret_hold)
{
    struct operation operation = operation_make(key, &order->user_id);
    struct hold_answer answer = {.outcome = LEDGER_NO_ACCOUNT};
    struct new_hold hold = {
        .user_id = order->user_id,
        .id = operation.id,
        .amount = order->amount,
        .ttl_seconds = ttl_seconds,
        .description = order->description,
        .keyed = operation.keyed,
        .request_hash = operation.request_hash,
    };
    enum error err = hold_once(app, &hold, &answer);
    if (!err && answer.outcome == LEDGER_NO_ACCOUNT) {
        err = follow(app, &hold.user_id);
        if (!err)
            err = hold_once(app, &hold, &answer);
    }
    if (err)
        return err;
    /* Named by the account that was asked for: linking that one moves the hold under its id. */
    *ret_hold = (struct ledger_hold){
        .user_id = order->user_id,
        .hold_id = hold.id,
        .balance = answer.balance,
        .held = answer.held,
        .expires_at = answer.expires_at,
        .replayed = answer.outcome == LEDGER_REPLAYED,
    };
    return error_of(answer.outcome);
}

static enum error capture_once(struct app *app, struct capture_item *item)
{
    struct cache_write write;
    begin_write(app, &item->capture.user_id, &write);
    enum error err = flight_queues_run(app->flights, FLIGHT_CAPTURE, item);
    cache_write_end(app->cache, &write);
    return err;
}

/* What names a hold or an entry that is not there is not a user that is not there. */
static enum error object_error(enum ledger_outcome outcome)
{
    return outcome == LEDGER_NO_ACCOUNT ? ERROR_NOT_FOUND : error_of(outcome);
}

static enum error follow_object(struct app *app, struct uuid *user_id)
{
    enum error err = follow(app, user_id);
    return err == ERROR_USER_NOT_FOUND ? ERROR_NOT_FOUND : err;
}

/*
 * Whose entry it is that a repeated request made: the account's that was asked for, when the first
 * request came before that one was linked, else the account's it was linked to.
 */
static enum error find_owner(struct app *app, const struct uuid *asked_for,
                             const struct uuid *followed_to, const struct uuid *entry_id,
                             struct uuid *ret_user_id)
{
    int32_t balance;
    bool found = false;
    enum error err = ERROR_OK;
    if (!uuid_equal(asked_for, followed_to))
        err = ledger_repository_entry(app->database, asked_for, entry_id, &balance, &found);
    *ret_user_id = found ? *asked_for : *followed_to;
    return err;
}

enum error ledger_service_capture(struct app *app, const struct uuid *user_id,
                                  const struct uuid *hold_id, const int32_t *amount,
                                  const struct operation_key *key, struct ledger_answer *ret_answer)
{
    struct operation operation = operation_make(key, user_id);
    struct capture_item item = {.capture = {
                                    .user_id = *user_id,
                                    .hold_id = *hold_id,
                                    .whole = !amount,
                                    .amount = amount ? *amount : 0,
                                    .operation_id = operation.id,
                                    .keyed = operation.keyed,
                                    .request_hash = operation.request_hash,
                                }};
    enum error err = capture_once(app, &item);
    if (!err && item.answer.outcome == LEDGER_NO_ACCOUNT) {
        err = follow_object(app, &item.capture.user_id);
        if (!err)
            err = capture_once(app, &item);
    }
    if (err)
        return err;
    ret_answer->user_id = item.capture.user_id;
    ret_answer->entry_id = *hold_id;
    ret_answer->balance = item.answer.balance;
    ret_answer->replayed = item.answer.outcome == LEDGER_REPLAYED;
    if (ret_answer->replayed)
        err = find_owner(app, user_id, &item.capture.user_id, hold_id, &ret_answer->user_id);
    return err ? err : object_error(item.answer.outcome);
}

static enum error release_once(struct app *app, const struct uuid *user_id,
                               const struct uuid *hold_id, enum ledger_outcome *ret_outcome,
                               int32_t *ret_balance)
{
    struct cache_write write;
    bool found = false;
    begin_write(app, user_id, &write);
    enum error err = ledger_repository_release(app->database, user_id, hold_id, ret_outcome,
                                               ret_balance, &found);
    cache_write_end(app->cache, &write);
    if (!err && !found)
        *ret_outcome = LEDGER_NO_ACCOUNT;
    return err;
}

enum error ledger_service_release(struct app *app, const struct uuid *user_id,
                                  const struct uuid *hold_id, struct ledger_answer *ret_answer)
{
    struct uuid owner = *user_id;
    enum ledger_outcome outcome = LEDGER_NO_ACCOUNT;
    enum error err = release_once(app, &owner, hold_id, &outcome, &ret_answer->balance);
    if (!err && outcome == LEDGER_NO_ACCOUNT) {
        err = follow_object(app, &owner);
        if (!err)
            err = release_once(app, &owner, hold_id, &outcome, &ret_answer->balance);
    }
    if (err)
        return err;
    ret_answer->user_id = owner;
    ret_answer->entry_id = *hold_id;
    ret_answer->replayed = false;
    return object_error(outcome);
}

static enum error reverse_once(struct app *app, const struct reversal *reversal,
                               enum ledger_outcome *ret_outcome, struct ledger_answer *ret_answer)
{
    struct cache_write write;
    bool found = false;
    begin_write(app, &reversal->user_id, &write);
    enum error err = ledger_repository_reverse(app->database, reversal, ret_outcome,
                                               &ret_answer->balance, &ret_answer->entry_id, &found);
    cache_write_end(app->cache, &write);
    if (!err && !found)
        *ret_outcome = LEDGER_NO_ACCOUNT;
    return err;
}

enum error ledger_service_reverse(struct app *app, const struct uuid *user_id,
                                  const struct uuid *entry_id, const struct operation_key *key,
                                  struct ledger_answer *ret_answer)
{
    struct operation operation = operation_make(key, user_id);
    enum ledger_outcome outcome = LEDGER_NO_ACCOUNT;
    struct reversal reversal = {
        .user_id = *user_id,
        .entry_user_id = *user_id,
        .entry_id = *entry_id,
        .operation_id = operation.id,
        .keyed = operation.keyed,
        .request_hash = operation.request_hash,
    };
    enum error err = reverse_once(app, &reversal, &outcome, ret_answer);
    if (!err && outcome == LEDGER_NO_ACCOUNT) {
        err = follow_object(app, &reversal.user_id);
        if (!err)
            err = reverse_once(app, &reversal, &outcome, ret_answer);
    }
    if (err)
        return err;
    ret_answer->user_id = reversal.user_id;
    ret_answer->replayed = outcome == LEDGER_REPLAYED;
    if (ret_answer->replayed)
        err = find_owner(app, user_id, &reversal.user_id, &ret_answer->entry_id,
                         &ret_answer->user_id);
    return err ? err : object_error(outcome);
}

static enum error account_once(struct app *app, const struct uuid *user_id, const int64_t *at,
                               struct ledger_account *ret_account, bool *ret_found)
{
    if (at)
        return ledger_repository_account_at(app->database, user_id, *at, ret_account, ret_found);
    return ledger_repository_account(app->database, user_id, ret_account, ret_found);
}

enum error ledger_service_account(struct app *app, const struct uuid *user_id, const int64_t *at,
                                  struct ledger_account *ret_account)
{
    struct uuid owner = *user_id;
    bool found = false;
    enum error err = account_once(app, &owner, at, ret_account, &found);
    if (!err && !found) {
        err = follow(app, &owner);
        if (!err)
            err = account_once(app, &owner, at, ret_account, &found);
    }
    return !err && !found ? ERROR_USER_NOT_FOUND : err;
}

enum error ledger_service_verify(struct app *app, struct ledger_totals *ret_totals,
                                 struct ledger_mismatch_list *ret_list)
{
    enum error err = ledger_repository_totals(app->database, ret_totals);
    return err ? err : ledger_repository_verify(app->database, ret_list);
}

enum error ledger_service_sweep(struct app *app)
{
    return ledger_repository_sweep(app->database, SWEEP_ACCOUNTS_MAX);
}
