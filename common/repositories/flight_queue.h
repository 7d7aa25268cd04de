/*
 * Writes of many requests in one statement and one commit, and reads in one statement: what waits
 * while a statement is out is the next flight (database/coalesce.h, repositories/flight.h). There
 * is a queue for each kind. Each caller gets its own result, with the guarantees of the function
 * that runs it alone; a read sees at least what was committed before its call. Thread-safe.
 */
#pragma once

#include "base/error.h"

struct database;
struct flight_queues;

/* What is queued, and the item it takes (in the repository that declares the kind). */
enum flight_of {
    FLIGHT_MOVEMENT, /* struct movement_item */
    FLIGHT_CAPTURE,  /* struct capture_item */
    FLIGHT_BONUS,    /* struct bonus_item */
    FLIGHT_USAGE,    /* struct usage_item */
    FLIGHT_IDENTITY, /* struct identity_item; only reads */
    FLIGHT_STATUS,   /* struct status_item; only reads */
    FLIGHT_QUEUES,
};

/* database: kept by pointer. NULL: memory is out. */
struct flight_queues *flight_queues_new(struct database *database);
/* Nobody may be waiting. Takes NULL. */
void flight_queues_free(struct flight_queues *queues);

/*
 * Waits until a flight has run the item, and returns its err. ERROR_OVERLOADED: too many wait; the
 * item was not run.
 */
enum error flight_queues_run(struct flight_queues *queues, enum flight_of kind,
                             void *item) MUST_CHECK;

typedef void flight_done(void *context);

/*
 * As flight_queues_run, without waiting: done is called when a flight has run the item, perhaps
 * before the return and perhaps by another thread, which must not be made to wait. The item's err
 * is its result unless alone is set: then flight_run_alone is still to be called. An error: it was
 * not run and done is not called.
 */
enum error flight_queues_start(struct flight_queues *queues, enum flight_of kind, void *item,
                               flight_done *done, void *context) MUST_CHECK;
