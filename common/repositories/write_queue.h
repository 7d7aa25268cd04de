/*
 * Writes of many requests in one statement and one commit: what waits while a statement is out is the
 * next flight (database/coalesce.h, repositories/flight.h). There is a queue for each kind. Each
 * caller gets its own result, with the guarantees of the function that runs it alone. Thread-safe.
 */
#pragma once

#include "base/error.h"

struct database;
struct write_queues;

/* What is queued, and the item it takes (in the repository that declares the kind). */
enum write_kind {
    WRITE_MOVEMENT, /* struct movement_item */
    WRITE_CAPTURE,  /* struct capture_item */
    WRITE_BONUS,    /* struct bonus_item */
    WRITE_USAGE,    /* struct usage_item */
    WRITE_KINDS,
};

/* database: kept by pointer. NULL: memory is out. */
struct write_queues *write_queues_new(struct database *database);
/* Nobody may be waiting. Takes NULL. */
void write_queues_free(struct write_queues *queues);

/*
 * Waits until a flight has run the item, and returns its err. ERROR_OVERLOADED: too many wait; the
 * item was not run.
 */
enum error write_queues_run(struct write_queues *queues, enum write_kind kind,
                            void *item) MUST_CHECK;
