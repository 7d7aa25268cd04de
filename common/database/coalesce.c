#include "database/coalesce.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/limits.h"

/* A thread that waits; lives on its stack. On the queue until a leader takes it. */
struct waiter {
    void *item;
    struct waiter *next;
    bool done;             /* its item was run */
    bool leads;            /* it is to run the next flight */
    pthread_cond_t changed;
};

struct coalescer {
    struct coalescer_options options;
    pthread_mutex_t lock; /* guards what follows, and the waiters */
    struct waiter *first; /* the queue, oldest first */
    struct waiter **last; /* where the next waiter is linked */
    size_t queued;
    size_t leaders;
};

struct coalescer *coalescer_new(const struct coalescer_options *options)
{
    assert(options->lanes > 0 && options->flight_max > 0 &&
           options->flight_max <= COALESCE_FLIGHT_MAX);
    struct coalescer *coalescer = calloc(1, sizeof(*coalescer));
    if (!coalescer)
        return NULL;
    coalescer->options = *options;
    coalescer->last = &coalescer->first;
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

/* With the lock held: takes the oldest waiters off the queue. The leader is the first of them. */
static size_t take_flight(struct coalescer *coalescer, struct waiter **flight, void **items)
{
    size_t count = 0;
    while (coalescer->first && count < coalescer->options.flight_max) {
        struct waiter *waiter = coalescer->first;
        coalescer->first = waiter->next;
        flight[count] = waiter;
        items[count++] = waiter->item;
    }
    if (!coalescer->first)
        coalescer->last = &coalescer->first;
    coalescer->queued -= count;
    return count;
}

/* With the lock held, which it gives up while the flight is out. */
static void lead(struct coalescer *coalescer, const struct waiter *self)
{
    struct waiter *flight[COALESCE_FLIGHT_MAX];
    void *items[COALESCE_FLIGHT_MAX];
    size_t count = take_flight(coalescer, flight, items);
    assert(count > 0 && flight[0] == self);
    pthread_mutex_unlock(&coalescer->lock);
    coalescer->options.run(coalescer->options.context, items, count);
    pthread_mutex_lock(&coalescer->lock);
    /*
     * The next leader first: its statement is what the others would wait for. One that another lane
     * has made the leader already and that has not woken up yet cannot lead twice: this lane is free
     * for whoever finds the queue empty.
     */
    if (coalescer->first && !coalescer->first->leads) {
        coalescer->first->leads = true;
        pthread_cond_signal(&coalescer->first->changed);
    } else {
        coalescer->leaders--;
    }
    for (size_t i = 0; i < count; i++) {
        flight[i]->done = true;
        if (flight[i] != self)
            pthread_cond_signal(&flight[i]->changed);
    }
}

enum error coalescer_submit(struct coalescer *coalescer, void *item)
{
    struct waiter waiter = {.item = item, .changed = PTHREAD_COND_INITIALIZER};
    pthread_mutex_lock(&coalescer->lock);
    if (coalescer->queued >= coalescer->options.queue_max) {
        pthread_mutex_unlock(&coalescer->lock);
        return ERROR_OVERLOADED;
    }
    *coalescer->last = &waiter;
    coalescer->last = &waiter.next;
    coalescer->queued++;
    /* With the queue empty before, this is the oldest waiter, as a leader must be. */
    if (coalescer->leaders < coalescer->options.lanes && coalescer->first == &waiter) {
        coalescer->leaders++;
        waiter.leads = true;
    }
    while (!waiter.done && !waiter.leads)
        pthread_cond_wait(&waiter.changed, &coalescer->lock);
    if (!waiter.done)
        lead(coalescer, &waiter);
    pthread_mutex_unlock(&coalescer->lock);
    pthread_cond_destroy(&waiter.changed);
    return ERROR_OK;
}
