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
#include "base/clock.h"
#include "base/limits.h"

/* Whom to tell of an item; done is NULL where a thread waits. */
struct listener {
    coalesce_done *done;
    void *context;
};

/*
 * Items that travel together, on the queue until the leader takes them off: the first thread
 * that waits for one of them, or else the thread that led the flight before. Freed by who
 * leaves it last. The two marks are futexes: on a condition variable every waiter of a flight would
 * wake up only to wait for the mutex, one after the other.
 */
struct flight {
    struct flight *next;
    struct slot *slot; /* once it was let go; guarded by the coalescer's lock, as the next two */
    size_t count;      /* of items */
    size_t waiters;    /* threads that wait, the leader among them */
    atomic_uint leads;
    atomic_uint done;
    atomic_size_t left; /* waiters that have still to leave */
    void *items[COALESCE_FLIGHT_MAX];
    struct listener listeners[COALESCE_FLIGHT_MAX];
};

/* Where one flight is under way, or about to leave, at a time. */
struct slot {
    size_t count; /* its items, 0 without one */
    int64_t left_ms;
};

struct coalescer {
    struct coalescer_options options;
    pthread_mutex_t lock;  /* guards what follows */
    struct flight *first;  /* the queue, oldest first; the last one takes more items */
    struct flight *newest; /* NULL when the queue is empty */
    size_t queued;         /* items in it */
    struct slot slots[];   /* options.slots of them */
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
    assert(options->slots > 0 && options->flight_max > 0 &&
           options->flight_max <= COALESCE_FLIGHT_MAX);
    struct coalescer *coalescer =
        calloc(1, sizeof(*coalescer) + options->slots * sizeof(coalescer->slots[0]));
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
    assert(coalescer->queued == 0);
    pthread_mutex_destroy(&coalescer->lock);
    free(coalescer);
}

/*
 * With the lock held: the slot a flight may leave in, or NULL. Two small flights cost more than one
 * that is twice as large, so who comes while a large one is out waits for it; but not for one
 * that waits itself, for a row that somebody holds.
 */
static struct slot *open_slot(struct coalescer *coalescer)
{
    struct slot *open = NULL;
    size_t flying = 0;
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < coalescer->options.slots; i++) {
        struct slot *slot = &coalescer->slots[i];
        if (slot->count == 0)
            open = slot;
        else if (now_ms - slot->left_ms < COALESCE_PATIENCE_MS)
            flying += slot->count;
    }
    return flying <= COALESCE_SMALL ? open : NULL;
}

/* With the lock held. */
static void leave_in(struct slot *slot, size_t count)
{
    slot->count = count;
    slot->left_ms = clock_monotonic_ms();
}

/* With the lock held. */
static void take_off(struct coalescer *coalescer, struct flight *flight, struct slot *slot)
{
    assert(coalescer->first == flight);
    coalescer->first = flight->next;
    if (!coalescer->first)
        coalescer->newest = NULL;
    coalescer->queued -= flight->count;
    leave_in(slot, flight->count);
    flight->slot = slot;
    /* Off the queue nobody joins it: the numbers are final. */
    atomic_store(&flight->left, flight->waiters);
}

/*
 * With the lock held: the next flight, off the queue, when it may leave and no thread waits that
 * could lead it; one that does is told to.
 */
static struct flight *let_go(struct coalescer *coalescer)
{
    struct flight *next = coalescer->first;
    /* One that was let go already, and whose leader has not woken up yet, cannot go twice. */
    struct slot *slot = next && !next->slot ? open_slot(coalescer) : NULL;
    if (!slot)
        return NULL;
    if (next->waiters == 0) {
        take_off(coalescer, next, slot);
        return next;
    }
    next->slot = slot;
    leave_in(slot, next->count);
    /* Under the lock, which its leader needs first of all: it cannot be gone meanwhile. */
    mark(&next->leads, 1);
    return NULL;
}

/* After a flight: lets the next one go, as let_go. */
static struct flight *pass_on(struct coalescer *coalescer, struct slot *slot)
{
    pthread_mutex_lock(&coalescer->lock);
    slot->count = 0;
    struct flight *next = let_go(coalescer);
    pthread_mutex_unlock(&coalescer->lock);
    return next;
}

static void leave(struct flight *flight)
{
    if (atomic_fetch_sub(&flight->left, 1) == 1)
        free(flight);
}

/* Tells everybody that a flight has been run. Its waiters may free it. */
static void deliver(struct flight *flight)
{
    size_t waiters = flight->waiters;
    for (size_t i = 0; i < flight->count; i++)
        if (flight->listeners[i].done)
            flight->listeners[i].done(flight->listeners[i].context);
    if (waiters == 0)
        free(flight);
    else
        mark(&flight->done, INT_MAX);
}

/* The answers of a flight that has been run. */
struct delivery {
    struct task task;
    struct flight *flight; /* NULL without one */
};

static void run_delivery(struct task *task)
{
    struct delivery *delivery = (struct delivery *)task;
    deliver(delivery->flight);
    delivery->flight = NULL;
}

/*
 * Runs a flight that is off the queue, and those after it that nobody else could lead. The answers
 * of one are given out while the next is out.
 */
static void lead(struct coalescer *coalescer, struct flight *flight)
{
    struct delivery delivery = {.task = {.run = run_delivery}};
    while (flight) {
        if (delivery.flight)
            blocking_defer(&delivery.task);
        coalescer->options.run(coalescer->options.context, flight->items, flight->count);
        blocking_idle(); /* where the run had nothing to wait for */
        struct flight *next = pass_on(coalescer, flight->slot);
        delivery.flight = flight;
        flight = next;
    }
    if (delivery.flight)
        deliver(delivery.flight);
}

/* Runs an item for which there was a slot, without a flight of its own. */
static void lead_alone(struct coalescer *coalescer, struct slot *slot, void *item,
                       const struct listener *listener)
{
    coalescer->options.run(coalescer->options.context, &item, 1);
    struct flight *next = pass_on(coalescer, slot);
    if (listener->done)
        listener->done(listener->context);
    lead(coalescer, next);
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
    flight->slot = NULL;
    flight->count = 0;
    flight->waiters = 0;
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

/* An item that comes in. */
struct arrival {
    void *item;
    struct listener listener;
    struct flight *flight; /* it was put on; NULL: none, it has been run or was refused */
    bool leads;            /* the calling thread is the first that waits for the flight */
};

/* With the lock held: puts the item on the queue. False: there is no room, or no memory. */
static bool enqueue(struct coalescer *coalescer, struct arrival *arrival)
{
    bool full = coalescer->queued >= coalescer->options.queue_max;
    struct flight *flight = full ? NULL : open_flight(coalescer);
    if (!flight)
        return false;
    flight->items[flight->count] = arrival->item;
    flight->listeners[flight->count++] = arrival->listener;
    flight->waiters += !arrival->listener.done;
    coalescer->queued++;
    arrival->flight = flight;
    arrival->leads = !arrival->listener.done && flight->waiters == 1;
    return true;
}

/*
 * Runs the item when it may leave at once. Else puts it on the queue, and lets go what may leave by
 * now.
 */
static enum error submit(struct coalescer *coalescer, struct arrival *arrival)
{
    pthread_mutex_lock(&coalescer->lock);
    struct slot *slot = coalescer->first ? NULL : open_slot(coalescer);
    if (slot) {
        leave_in(slot, 1);
        pthread_mutex_unlock(&coalescer->lock);
        lead_alone(coalescer, slot, arrival->item, &arrival->listener);
        return ERROR_OK;
    }
    struct flight *leaving = NULL;
    bool queued = enqueue(coalescer, arrival);
    /* A flight that leaves makes room. */
    if (!queued) {
        leaving = let_go(coalescer);
        queued = enqueue(coalescer, arrival);
    }
    if (!leaving)
        leaving = let_go(coalescer);
    enum error err = queued ? ERROR_OK : ERROR_OVERLOADED;
    if (!queued && coalescer->queued < coalescer->options.queue_max)
        err = ERROR_NO_MEMORY;
    pthread_mutex_unlock(&coalescer->lock);
    lead(coalescer, leaving);
    return err;
}

enum error coalescer_start(struct coalescer *coalescer, void *item, coalesce_done *done,
                           void *context)
{
    struct arrival arrival = {.item = item, .listener = {.done = done, .context = context}};
    return submit(coalescer, &arrival);
}

enum error coalescer_submit(struct coalescer *coalescer, void *item)
{
    struct arrival arrival = {.item = item};
    enum error err = submit(coalescer, &arrival);
    struct flight *flight = arrival.flight;
    if (err || !flight)
        return err;
    blocking_begin();
    if (arrival.leads) {
        wait_for(&flight->leads);
        pthread_mutex_lock(&coalescer->lock);
        take_off(coalescer, flight, flight->slot);
        pthread_mutex_unlock(&coalescer->lock);
        lead(coalescer, flight);
    } else {
        wait_for(&flight->done);
    }
    leave(flight);
    return ERROR_OK;
}
