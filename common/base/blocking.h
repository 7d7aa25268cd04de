/*
 * What a thread that serves many requests is told by the code it runs, which does not know it.
 *
 * blocking_begin: what is about to wait says so first, and another thread takes over what this one
 * should not keep meanwhile. Said by the pool of connections, the coalescer, the HTTP client, the
 * key set of Clerk and clock_sleep_ms; whatever waits in another way for more than a moment says it
 * itself. blocking_run: work that may wait, or that another thread may as well do. blocking_defer:
 * work to do meanwhile.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Work for any thread. The memory is the caller's, until run is called with it. */
struct task {
    struct task *next; /* of whoever keeps it until then */
    void (*run)(struct task *task);
};

struct blocking_hooks {
    void (*begin)(void *context);
    void (*run)(void *context, struct task *task);
};

/* The calling thread waits, or computes for long, from here on. */
void blocking_begin(void);

/* Has another thread run the task. False: there is no other one, the caller runs it itself. */
bool blocking_run(struct task *task) MUST_CHECK;

/* What the two call in the calling thread, kept by pointer; NULL for nothing, as at first. */
void blocking_set(const struct blocking_hooks *hooks, void *context);

/*
 * Leaves a task, one at a time, for the calling thread itself: it runs in the next blocking_idle,
 * when there is nothing to do but wait for what was sent.
 */
void blocking_defer(struct task *task);

/* Runs what was deferred, if anything still is. Said by the pool and by connections before they
 * wait, and by whoever deferred when its own work is done. */
void blocking_idle(void);
