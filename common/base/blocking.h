/*
 * Called by whatever is about to wait (the pool of connections, the coalescer, the HTTP client,
 * Clerk's key set, clock_sleep_ms), so that the thread that serves gives its loop to another one
 * first (http/leader_followers.h, which sets the hooks; the code that waits does not know it).
 *
 * blocking_begin: the caller waits from here on, for more than a moment, or computes for long.
 * blocking_run: work that may wait, or that another thread may as well do. blocking_defer: work to
 * do while there is nothing but to wait. Without hooks (tools, workers) all of it does nothing.
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

/* Runs what was deferred, if anything still is. Called by the pool and by connections before they
 * wait, and by whoever deferred when its own work is done. */
void blocking_idle(void);
