/*
 * Group commit in the client: requests that arrive while a statement is out share the next one.
 *
 * The first thread that finds no flight under way leads: it takes everything queued, runs it as one
 * statement, passes the lead to a thread that waits in the queue, and hands out the results; when
 * none waits, because all items there were started by threads that went on, it leads again, and
 * hands them out once the next statement is on its way (blocking_defer). There is no timer and
 * nothing to tune: alone, a request is a flight of one with no wait; under load a flight is what
 * arrived during the last one. (The group commit of database servers, DeWitt et al., SIGMOD 1984,
 * done before the network.) Thread-safe.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

struct coalescer;

/*
 * Runs a flight of 1 to flight_max items and leaves each one's result in it. Called by a thread
 * that added an item, by at most `slots` of them at a time. Calls blocking_idle before it waits for
 * what it sent, as connections and the pool do: answers of the flight before may be left until
 * then.
 */
typedef void coalesce_run(void *context, void *const *items, size_t count);

struct coalescer_options {
    size_t slots;      /* flights under way at once */
    size_t flight_max; /* items in one, at most COALESCE_FLIGHT_MAX */
    size_t queue_max;  /* items that may wait */
    coalesce_run *run;
    void *context;
};

/* NULL: memory is out. */
struct coalescer *coalescer_new(const struct coalescer_options *options);
/* Nobody may be waiting. Takes NULL. */
void coalescer_free(struct coalescer *coalescer);

/*
 * Adds an item and waits until a flight has run it. item: the caller's, borrowed until the return.
 * ERROR_OVERLOADED: the queue is full, ERROR_NO_MEMORY: the item was not run.
 */
enum error coalescer_submit(struct coalescer *coalescer, void *item) MUST_CHECK;

/*
 * Called when an item has been run, by the thread that led; those of its flight wait for the
 * return. That thread may have the next flight's statement out: run nothing here that waits.
 */
typedef void coalesce_done(void *context);

/*
 * Adds an item and does not wait: done is called with context, perhaps before the return. A thread
 * that finds no flight under way leads all the same, and comes back when the queue is empty.
 * item: the caller's, borrowed until done. Errors as coalescer_submit, without a call of done.
 * Both kinds may share a queue, but a thread that submits may have to lead flights of started items
 * before it returns: better have a queue for each.
 */
enum error coalescer_start(struct coalescer *coalescer, void *item, coalesce_done *done,
                           void *context) MUST_CHECK;
