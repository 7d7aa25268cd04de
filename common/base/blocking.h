/*
 * Code that is about to wait says so here, and a serve loop that it does not know hears it.
 *
 * blocking_begin: the caller is about to wait, and another thread takes over the work that this one
 * should not keep meanwhile. The pool of connections, the coalescer, the HTTP client, the key set
 * of Clerk and clock_sleep_ms call it. Code that waits in another way for more than a moment calls
 * it too. blocking_run: work that may wait, or that another thread may as well do. blocking_defer:
 * work for the time of the wait.
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
