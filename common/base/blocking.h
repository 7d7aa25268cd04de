/*
 * Code that is about to wait (the pool of connections, the coalescer, the HTTP client, Clerk's key
 * set, clock_sleep_ms) calls this, so that the thread that serves first gives its loop to another
 * one. http/leader_followers.h sets the hooks; the code that waits does not know it.
 *
 * blocking_begin: the caller waits from here on, for more than a moment, or computes for long.
 * blocking_run: work that may wait, or that another thread may as well do. blocking_defer: work for
 * the time of the wait. Without hooks (tools, workers) all of it does nothing.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Work for any thread. The memory is the caller's, until run is called with it. */
struct task {
    struct task *next; /* for the list that keeps it until then */
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

/* Sets what these two do in the calling thread. Kept by pointer; NULL, as at first: nothing. */
void blocking_set(const struct blocking_hooks *hooks, void *context);

/*
 * Leaves a task, one at a time, for the calling thread itself. It runs in the next blocking_idle,
 * when the thread has nothing to do but to wait for an answer.
 */
void blocking_defer(struct task *task);

/* Runs the deferred task, if there is one. The pool and connections call it before they wait, and
 * the code that deferred the task calls it when its own work is done. */
void blocking_idle(void);
