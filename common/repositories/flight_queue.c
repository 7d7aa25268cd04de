#include "repositories/flight_queue.h"

#include <stdlib.h>

#include "base/limits.h"
#include "database/coalesce.h"
#include "repositories/flight.h"
#include "repositories/ledger_repository.h"
#include "repositories/token_repository.h"
#include "repositories/usage_repository.h"
#include "repositories/user_repository.h"

static const struct flight_kind *const KINDS[FLIGHT_QUEUES] = {
    [FLIGHT_MOVEMENT] = &ledger_repository_movements,
    [FLIGHT_CAPTURE] = &ledger_repository_captures,
    [FLIGHT_BONUS] = &token_repository_bonuses,
    [FLIGHT_USAGE] = &usage_repository_records,
    [FLIGHT_IDENTITY] = &user_repository_identity_lookups,
    [FLIGHT_STATUS] = &token_repository_statuses,
};

struct flight_queue {
    struct database *database;
    const struct flight_kind *kind;
    struct coalescer *coalescer; /* owned */
};

struct flight_queues {
    struct flight_queue queues[FLIGHT_QUEUES];
};

static void run(void *context, void *const *items, size_t count)
{
    const struct flight_queue *queue = context;
    enum error err = flight_try(queue->database, queue->kind, items, count);
    (void)err; /* each item has it */
}

struct flight_queues *flight_queues_new(struct database *database)
{
    struct flight_queues *queues = calloc(1, sizeof(*queues));
    if (!queues)
        return NULL;
    for (size_t i = 0; i < FLIGHT_QUEUES; i++) {
        struct flight_queue *queue = &queues->queues[i];
        struct coalescer_options options = {
            .slots = COALESCE_SLOTS,
            .flight_max = COALESCE_FLIGHT_MAX,
            .queue_max = COALESCE_QUEUE_MAX,
            .run = run,
            .context = queue,
        };
        queue->database = database;
        queue->kind = KINDS[i];
        queue->coalescer = coalescer_new(&options);
        if (!queue->coalescer) {
            flight_queues_free(queues);
            return NULL;
        }
    }
    return queues;
}

void flight_queues_free(struct flight_queues *queues)
{
    if (!queues)
        return;
    for (size_t i = 0; i < FLIGHT_QUEUES; i++)
        coalescer_free(queues->queues[i].coalescer);
    free(queues);
}

enum error flight_queues_run(struct flight_queues *queues, enum flight_of kind, void *item)
{
    struct flight_queue *queue = &queues->queues[kind];
    struct flight_item *head = item;
    enum error err = coalescer_submit(queue->coalescer, item);
    if (err)
        return err;
    /* On the caller's own thread: nobody waits for what its row waits for. */
    if (head->alone)
        flight_run_alone(queue->database, queue->kind, item);
    return head->err;
}

enum error flight_queues_start(struct flight_queues *queues, enum flight_of kind, void *item,
                               flight_done *done, void *context)
{
    return coalescer_start(queues->queues[kind].coalescer, item, done, context);
}
