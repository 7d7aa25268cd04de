#include "services/ledger_service.h"

#include <stdlib.h>

#include "base/limits.h"
#include "services/cache_keys.h"
#include "services/cache_writes.h"

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

static enum error missing(enum error err, enum ledger_outcome outcome)
{
    return !err && outcome == LEDGER_NO_ACCOUNT ? ERROR_USER_NOT_FOUND : err;
}

/*
 * After a step found no such account: runs it for the one its tokens moved to, which user_id
 * becomes. ERROR_USER_NOT_FOUND: they did not move.
 */
static enum error follow_moved(struct app *app, struct uuid *user_id, account_step *step,
                               void *context)
{
    struct uuid target;
    bool moved = false;
    enum error err = ledger_repository_merged_into(app->database, user_id, &target, &moved);
    if (err)
        return err;
    if (!moved)
        return ERROR_USER_NOT_FOUND;
    *user_id = target;
    return step(app, user_id, context);
}

/* Runs a step for an account, and where there is none, once more as follow_moved. */
static enum error follow(struct app *app, struct uuid *user_id, account_step *step, void *context)
{
    enum error err = step(app, user_id, context);
    return err == ERROR_USER_NOT_FOUND ? follow_moved(app, user_id, step, context) : err;
}

/* The same of a step that changes the balance. */
static enum error follow_write(struct app *app, struct uuid *user_id, account_step *step,
                               void *context)
{
    struct cache_writes_inner inner = {.step = step, .context = context};
    return follow(app, user_id, cache_writes_step, &inner);
}

/* What names a hold or an entry that is not there is not a user that is not there. */
static enum error object_error(enum error err)
{
    return err == ERROR_USER_NOT_FOUND ? ERROR_NOT_FOUND : err;
}

/* --- spends and grants --- */

static struct movement movement_of(const struct ledger_order *order,
                                   const struct operation_key *key)
{
    return (struct movement){
        .user_id = order->user_id,
        /* Made of the id the caller sent, so that it stays the same after a link. */
        .operation = operation_make(key, &order->user_id),
        .amount = order->amount,
        .type = order->type,
        .description = order->description,
    };
}

/* After a movement was tried. One whose answer was lost may have been repeated, and be there. */
static enum error find_done(struct app *app, struct movement_item *item)
{
    if (item->err == ERROR_CONFLICT) {
        const struct row_key entry = {item->movement.user_id, item->movement.operation.id};
        bool found = false;
        item->err = ledger_repository_entry(app->database, &entry, &item->answer.balance, &found);
        item->answer.outcome = found ? LEDGER_DONE : LEDGER_NO_ACCOUNT;
    }
    return missing(item->err, item->answer.outcome);
}

static enum error post_alone(struct app *app, const struct uuid *user_id, void *context)
{
    struct movement_item *item = context;
    item->movement.user_id = *user_id;
    item->err = ledger_repository_post(app->database, &item->movement, &item->answer);
    return item->err;
}

static enum error post_again(struct app *app, const struct uuid *user_id, void *context)
{
    enum error err = cache_writes_balance(app, user_id, post_alone, context);
    (void)err; /* the item has it */
    return find_done(app, context);
}

/* What is left to do after a movement was tried; it may wait for the database. */
static enum error settle(struct app *app, struct movement_item *item,
                         struct ledger_answer *ret_answer)
{
    enum error err = find_done(app, item);
    if (err == ERROR_USER_NOT_FOUND)
        err = follow_moved(app, &item->movement.user_id, post_again, item);
    if (err)
        return err;
    *ret_answer = (struct ledger_answer){
        .user_id = item->movement.user_id,
        .entry_id = item->movement.operation.id,
        .balance = item->answer.balance,
        .replayed = item->answer.outcome == LEDGER_REPLAYED,
    };
    return error_of(item->answer.outcome);
}

enum error ledger_service_post_start(struct app *app, const struct ledger_order *order,
                                     const struct operation_key *key, struct ledger_post *post)
{
    const struct cache_key balance = cache_keys_balance(&order->user_id);
    post->app = app;
    post->item = (struct movement_item){.movement = movement_of(order, key)};
    post->request.done = post->done;
    post->request.context = post->context;
    post->taken = false;
    cache_write_begin(app->cache, &balance, &post->write);
    enum error err =
        ledger_repository_post_start(app->database, &post->item.movement, &post->request);
    if (err)
        cache_write_end(app->cache, &post->write);
    return err;
}

static void take_answer(struct ledger_post *post)
{
    struct movement_item *item = &post->item;
    if (!post->taken)
        item->err =
            ledger_repository_post_finish(post->app->database, &post->request, &item->answer);
    post->taken = true;
}

bool ledger_service_post_waits(struct ledger_post *post)
{
    const struct movement_item *item = &post->item;
    if (ledger_repository_post_waits(&post->request))
        return true;
    take_answer(post);
    return item->err == ERROR_CONFLICT ||
           missing(item->err, item->answer.outcome) == ERROR_USER_NOT_FOUND;
}

enum error ledger_service_post_finish(struct ledger_post *post, struct ledger_answer *ret_answer)
{
    take_answer(post);
    cache_write_end(post->app->cache, &post->write);
    return settle(post->app, &post->item, ret_answer);
}

static enum error post_together(struct app *app, struct movement_item *items, size_t count)
{
    struct cache_key *keys = calloc(count, sizeof(*keys));
    struct cache_write *writes = calloc(count, sizeof(*writes));
    enum error err = ERROR_NO_MEMORY;
    if (!keys || !writes)
        goto out;
    for (size_t i = 0; i < count; i++)
        keys[i] = cache_keys_balance(&items[i].movement.user_id);
    cache_writes_begin(app, keys, count, writes);
    err = ledger_repository_post_many(app->database, items, count);
    cache_writes_end(app, writes, count);
out:
    free(keys);
    free(writes);
    return err;
}

enum error ledger_service_post_many(struct app *app, struct ledger_item *items, size_t count)
{
    struct movement_item *movements = calloc(count, sizeof(*movements));
    if (!movements)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        movements[i].movement = movement_of(&items[i].order, &items[i].key);
    enum error err = post_together(app, movements, count);
    for (size_t i = 0; !err && i < count; i++)
        items[i].err = settle(app, &movements[i], &items[i].answer);
    free(movements);
    return err;
}

/* --- holds --- */

struct holding {
    struct new_hold hold;
    struct hold_answer answer; /* result */
};

static enum error hold_once(struct app *app, const struct uuid *user_id, void *context)
{
    struct holding *holding = context;
    holding->hold.user_id = *user_id;
    enum error err = ledger_repository_hold(app->database, &holding->hold, &holding->answer);
    return missing(err, holding->answer.outcome);
}

enum error ledger_service_hold(struct app *app, const struct ledger_hold_order *hold_order,
                               const struct operation_key *key, struct ledger_hold *ret_hold)
{
    const struct ledger_order *order = &hold_order->order;
    struct uuid owner = order->user_id;
    struct holding holding = {.hold = {
                                  .operation = operation_make(key, &order->user_id),
                                  .amount = order->amount,
                                  .ttl_seconds = hold_order->ttl_seconds,
                                  .description = order->description,
                              }};
    enum error err = follow_write(app, &owner, hold_once, &holding);
    if (err)
        return err;
    /* Named by the account that was asked for: linking that one moves the hold under its id. */
    *ret_hold = (struct ledger_hold){
        .user_id = order->user_id,
        .hold_id = holding.hold.operation.id,
        .balance = holding.answer.balance,
        .held = holding.answer.held,
        .expires_at = holding.answer.expires_at,
        .replayed = holding.answer.outcome == LEDGER_REPLAYED,
    };
    return error_of(holding.answer.outcome);
}

/*
 * Whose entry it is that a repeated request made: the account's that was asked for, when the first
 * request came before that one was linked, else the account's it was linked to, as answer says.
 */
static enum error find_owner(struct app *app, const struct uuid *asked_for,
                             struct ledger_answer *answer)
{
    const struct row_key entry = {*asked_for, answer->entry_id};
    int32_t balance;
    bool found = false;
    if (!answer->replayed || uuid_equal(asked_for, &answer->user_id))
        return ERROR_OK;
    enum error err = ledger_repository_entry(app->database, &entry, &balance, &found);
    if (found)
        answer->user_id = *asked_for;
    return err;
}

struct capturing {
    struct capture capture;
    struct movement_answer answer; /* result */
};

static enum error capture_once(struct app *app, const struct uuid *user_id, void *context)
{
    struct capturing *capturing = context;
    capturing->capture.hold.user_id = *user_id;
    enum error err =
        ledger_repository_capture(app->database, &capturing->capture, &capturing->answer);
    return missing(err, capturing->answer.outcome);
}

enum error ledger_service_capture(struct app *app, const struct ledger_capture *capture,
                                  const struct operation_key *key, struct ledger_answer *ret_answer)
{
    struct uuid owner = capture->hold.user_id;
    struct capturing capturing = {.capture = {
                                      .hold = capture->hold,
                                      .whole = !capture->amount,
                                      .amount = capture->amount ? *capture->amount : 0,
                                      .operation = operation_make(key, &capture->hold.user_id),
                                  }};
    enum error err = follow_write(app, &owner, capture_once, &capturing);
    if (err)
        return object_error(err);
    *ret_answer = (struct ledger_answer){
        .user_id = owner,
        .entry_id = capture->hold.id,
        .balance = capturing.answer.balance,
        .replayed = capturing.answer.outcome == LEDGER_REPLAYED,
    };
    err = find_owner(app, &capture->hold.user_id, ret_answer);
    return err ? err : error_of(capturing.answer.outcome);
}

struct releasing {
    struct row_key hold;
    struct movement_answer answer; /* result */
};

static enum error release_once(struct app *app, const struct uuid *user_id, void *context)
{
    struct releasing *releasing = context;
    releasing->hold.user_id = *user_id;
    enum error err = ledger_repository_release(app->database, &releasing->hold, &releasing->answer);
    return missing(err, releasing->answer.outcome);
}

enum error ledger_service_release(struct app *app, const struct row_key *hold,
                                  struct ledger_answer *ret_answer)
{
    struct uuid owner = hold->user_id;
    struct releasing releasing = {.hold = *hold};
    enum error err = follow_write(app, &owner, release_once, &releasing);
    if (err)
        return object_error(err);
    *ret_answer = (struct ledger_answer){
        .user_id = owner,
        .entry_id = hold->id,
        .balance = releasing.answer.balance,
    };
    return error_of(releasing.answer.outcome);
}

struct reversing {
    struct reversal reversal;
    struct reversal_answer answer; /* result */
};

static enum error reverse_once(struct app *app, const struct uuid *user_id, void *context)
{
    struct reversing *reversing = context;
    reversing->reversal.user_id = *user_id;
    enum error err =
        ledger_repository_reverse(app->database, &reversing->reversal, &reversing->answer);
    return missing(err, reversing->answer.outcome);
}

enum error ledger_service_reverse(struct app *app, const struct row_key *entry,
                                  const struct operation_key *key, struct ledger_answer *ret_answer)
{
    struct uuid owner = entry->user_id;
    struct reversing reversing = {.reversal = {
                                      .entry_user_id = entry->user_id,
                                      .entry_id = entry->id,
                                      .operation = operation_make(key, &entry->user_id),
                                  }};
    enum error err = follow_write(app, &owner, reverse_once, &reversing);
    if (err)
        return object_error(err);
    *ret_answer = (struct ledger_answer){
        .user_id = owner,
        .entry_id = reversing.answer.reversal_id,
        .balance = reversing.answer.balance,
        .replayed = reversing.answer.outcome == LEDGER_REPLAYED,
    };
    err = find_owner(app, &entry->user_id, ret_answer);
    return err ? err : error_of(reversing.answer.outcome);
}

struct account_query {
    const int64_t *at;             /* NULL: now */
    struct ledger_account account; /* result */
};

static enum error account_once(struct app *app, const struct uuid *user_id, void *context)
{
    struct account_query *query = context;
    bool found = false;
    enum error err;
    if (query->at) {
        const struct account_moment moment = {.user_id = *user_id, .at = *query->at};
        err = ledger_repository_account_at(app->database, &moment, &query->account, &found);
    } else {
        err = ledger_repository_account(app->database, user_id, &query->account, &found);
    }
    return !err && !found ? ERROR_USER_NOT_FOUND : err;
}

enum error ledger_service_account(struct app *app, const struct uuid *user_id, const int64_t *at,
                                  struct ledger_account *ret_account)
{
    struct uuid owner = *user_id;
    struct account_query query = {.at = at};
    enum error err = follow(app, &owner, account_once, &query);
    if (!err)
        *ret_account = query.account;
    return err;
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
