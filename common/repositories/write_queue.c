#include "repositories/write_queue.h"

#include <stdlib.h>

#include "base/limits.h"
#include "database/coalesce.h"
#include "repositories/flight.h"
#include "repositories/ledger_repository.h"
#include "repositories/token_repository.h"
#include "repositories/usage_repository.h"

static const struct flight_kind *const KINDS[WRITE_KINDS] = {
    [WRITE_MOVEMENT] = &ledger_repository_movements,
    [WRITE_CAPTURE] = &ledger_repository_captures,
    [WRITE_BONUS] = &token_repository_bonuses,
    [WRITE_USAGE] = &usage_repository_records,
};

struct write_queue {
    struct database *database;
    const struct flight_kind *kind;
    struct coalescer *coalescer; /* owned */
};

struct write_queues {
    struct write_queue queues[WRITE_KINDS];
};

static void run(void *context, void *const *items, size_t count)
{
    const struct write_queue *queue = context;
    flight_run(queue->database, queue->kind, items, count);
}

struct write_queues *write_queues_new(struct database *database)
{
    struct write_queues *queues = calloc(1, sizeof(*queues));
    if (!queues)
        return NULL;
    for (size_t i = 0; i < WRITE_KINDS; i++) {
        struct write_queue *queue = &queues->queues[i];
        struct coalescer_options options = {
            .lanes = COALESCE_LANES,
            .flight_max = COALESCE_FLIGHT_MAX,
            .queue_max = THREADS_MAX,
            .run = run,
            .context = queue,
        };
        queue->database = database;
        queue->kind = KINDS[i];
        queue->coalescer = coalescer_new(&options);
        if (!queue->coalescer) {
            write_queues_free(queues);
            return NULL;
        }
    }
    return queues;
}

void write_queues_free(struct write_queues *queues)
{
    if (!queues)
        return;
    for (size_t i = 0; i < WRITE_KINDS; i++)
        coalescer_free(queues->queues[i].coalescer);
    free(queues);
}

enum error write_queues_run(struct write_queues *queues, enum write_kind kind, void *item)
{
    enum error err = coalescer_submit(queues->queues[kind].coalescer, item);
    return err ? err : ((const struct flight_item *)item)->err;
}
