#include "database/coalesce.h"

#include <assert.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/blocking.h"
#include "base/limits.h"

/*
 * Items that travel together, on the queue until their leader, the first of them, takes them off.
 * Freed by whoever leaves it last. The two marks are futexes: on a condition variable every waiter
 * of a flight would wake up only to wait for the mutex, one after the other.
 */
struct flight {
    struct flight *next;
    bool assigned; /* its leader was told to lead; guarded by the coalescer's lock */
    size_t count;  /* of items; the same guard */
    atomic_uint leads;
    atomic_uint done;
    atomic_size_t left; /* waiters that have still to leave */
    void *items[COALESCE_FLIGHT_MAX];
};

struct coalescer {
    struct coalescer_options options;
    pthread_mutex_t lock;  /* guards what follows */
    struct flight *first;  /* the queue, oldest first; the last one takes more items */
    struct flight *newest; /* NULL when the queue is empty */
    size_t queued;         /* items in it */
    size_t leaders;
};

static void mark(atomic_uint *futex, int waiters)
{
    atomic_store_explicit(futex, 1, memory_order_release);
    syscall(SYS_futex, futex, FUTEX_WAKE_PRIVATE, waiters, NULL, NULL, 0);
}

static void wait_for(atomic_uint *futex)
{
    while (!atomic_load_explicit(futex, memory_order_acquire))
        syscall(SYS_futex, futex, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

struct coalescer *coalescer_new(const struct coalescer_options *options)
{
    assert(options->lanes > 0 && options->flight_max > 0 &&
           options->flight_max <= COALESCE_FLIGHT_MAX);
    struct coalescer *coalescer = calloc(1, sizeof(*coalescer));
    if (!coalescer)
        return NULL;
    coalescer->options = *options;
    pthread_mutex_init(&coalescer->lock, NULL);
    return coalescer;
}

void coalescer_free(struct coalescer *coalescer)
{
    if (!coalescer)
        return;
    assert(coalescer->queued == 0 && coalescer->leaders == 0);
    pthread_mutex_destroy(&coalescer->lock);
    free(coalescer);
}

/* Runs a flight that is off the queue, then lets the next one go. */
static void run(struct coalescer *coalescer, void *const *items, size_t count)
{
    coalescer->options.run(coalescer->options.context, items, count);
    pthread_mutex_lock(&coalescer->lock);
    /*
     * A flight that another lane has let go already, and whose leader has not woken up yet, cannot
     * go twice: this lane is free for whoever finds the queue empty.
     */
    if (coalescer->first && !coalescer->first->assigned) {
        coalescer->first->assigned = true;
        /* Under the lock, which its leader needs first of all: it cannot be gone meanwhile. */
        mark(&coalescer->first->leads, 1);
    } else {
        coalescer->leaders--;
    }
    pthread_mutex_unlock(&coalescer->lock);
}

static void leave(struct flight *flight)
{
    if (atomic_fetch_sub(&flight->left, 1) == 1)
        free(flight);
}

static void lead(struct coalescer *coalescer, struct flight *flight)
{
    wait_for(&flight->leads);
    pthread_mutex_lock(&coalescer->lock);
    assert(coalescer->first == flight);
    coalescer->first = flight->next;
    if (!coalescer->first)
        coalescer->newest = NULL;
    coalescer->queued -= flight->count;
    pthread_mutex_unlock(&coalescer->lock);
    /* Off the queue nobody joins it: the count is final. */
    atomic_store(&flight->left, flight->count);
    run(coalescer, flight->items, flight->count);
    mark(&flight->done, INT_MAX);
    leave(flight);
}

/* With the lock held: the flight at the end of the queue that has room, perhaps a new one. */
static struct flight *open_flight(struct coalescer *coalescer)
{
    struct flight *newest = coalescer->newest;
    if (newest && newest->count < coalescer->options.flight_max)
        return newest;
    struct flight *flight = malloc(sizeof(*flight));
    if (!flight)
        return NULL;
    flight->next = NULL;
    flight->assigned = false;
    flight->count = 0;
    atomic_init(&flight->leads, 0);
    atomic_init(&flight->done, 0);
    atomic_init(&flight->left, 0);
    if (newest)
        newest->next = flight;
    else
        coalescer->first = flight;
    coalescer->newest = flight;
    return flight;
}

enum error coalescer_submit(struct coalescer *coalescer, void *item)
{
    pthread_mutex_lock(&coalescer->lock);
    if (coalescer->leaders < coalescer->options.lanes && !coalescer->first) {
        coalescer->leaders++;
        pthread_mutex_unlock(&coalescer->lock);
        run(coalescer, &item, 1);
        return ERROR_OK;
    }
    bool full = coalescer->queued >= coalescer->options.queue_max;
    struct flight *flight = full ? NULL : open_flight(coalescer);
    if (!flight) {
        pthread_mutex_unlock(&coalescer->lock);
        return full ? ERROR_OVERLOADED : ERROR_NO_MEMORY;
    }
    bool leads = flight->count == 0;
    flight->items[flight->count++] = item;
    coalescer->queued++;
    pthread_mutex_unlock(&coalescer->lock);
    blocking_begin();
    if (leads) {
        lead(coalescer, flight);
    } else {
        wait_for(&flight->done);
        leave(flight);
    }
    return ERROR_OK;
}
