#include "repositories/movement_queue.h"

#include <stdlib.h>

#include "base/limits.h"
#include "database/coalesce.h"

struct movement_queue {
    struct database *database;
    struct coalescer *coalescer; /* owned */
};

/* A movement in the queue, on the stack of its caller. */
struct queued {
    const struct movement *movement;
    enum error err;
    bool found;
    struct movement_answer answer;
};

static void run_single(struct database *database, struct queued *item)
{
    item->err = ledger_repository_post(database, item->movement, &item->answer.outcome,
                                       &item->answer.balance, &item->found);
}

static void settle(struct queued *item, enum error err, const struct movement_answer *answer)
{
    item->err = err;
    item->answer = *answer;
    item->found = answer->outcome != LEDGER_NO_ACCOUNT;
}

/* What a flight of several needs: too much for a stack that every request has. */
struct flight {
    struct movement movements[COALESCE_FLIGHT_MAX];
    struct movement_answer answers[COALESCE_FLIGHT_MAX];
};

static void run_flight(void *context, void *const *items, size_t count)
{
    struct movement_queue *queue = context;
    struct flight *flight = count > 1 ? calloc(1, sizeof(*flight)) : NULL;
    enum error err = ERROR_CONFLICT;
    for (size_t i = 0; flight && i < count; i++)
        flight->movements[i] = *((const struct queued *)items[i])->movement;
    if (flight)
        err = ledger_repository_post_many(queue->database, flight->movements, count,
                                          flight->answers);
    for (size_t i = 0; i < count; i++) {
        /* One of them was there already, so nothing was done: each by itself. */
        if (err == ERROR_CONFLICT)
            run_single(queue->database, items[i]);
        else
            settle(items[i], err, &flight->answers[i]);
    }
    free(flight);
}

struct movement_queue *movement_queue_new(struct database *database)
{
    struct movement_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return NULL;
    struct coalescer_options options = {
        .lanes = COALESCE_LANES,
        .flight_max = COALESCE_FLIGHT_MAX,
        .queue_max = THREADS_MAX,
        .run = run_flight,
        .context = queue,
    };
    queue->database = database;
    queue->coalescer = coalescer_new(&options);
    if (!queue->coalescer) {
        free(queue);
        return NULL;
    }
    return queue;
}

void movement_queue_free(struct movement_queue *queue)
{
    if (!queue)
        return;
    coalescer_free(queue->coalescer);
    free(queue);
}

enum error movement_queue_post(struct movement_queue *queue, const struct movement *movement,
                               enum ledger_outcome *ret_outcome, int32_t *ret_balance,
                               bool *ret_found)
{
    struct queued item = {.movement = movement};
    enum error err = coalescer_submit(queue->coalescer, &item);
    if (err)
        return err;
    *ret_outcome = item.answer.outcome;
    *ret_balance = item.answer.balance;
    *ret_found = item.found;
    return item.err;
}
