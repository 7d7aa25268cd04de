/*
 * The main function of a worker: a daemon beside the handlers (the folder workers), whose threads
 * look for work in the database, step by step. It runs under the same supervisor as the handlers,
 * and leaves the socket that gives it alone. Several of one kind may run at once, on any hosts: a
 * step claims what it works on.
 *
 * On SIGTERM or SIGINT it finishes what it is about, for stop_ms; what is cut off then has to be
 * safe to leave, such as a lease that runs out.
 */
#pragma once

#include <stddef.h>

#include "process/app_open.h"

/*
 * Looks for one piece of work and does it. ret_worked: whether there was any. A failure was logged
 * where its cause is known; it passes, so the worker goes on after a pause.
 */
typedef enum error worker_step(struct app *app, bool *ret_worked);

/* What so many threads do: the steps in turn, then a pause of idle_ms when none found work. */
struct worker_duty {
    worker_step *const *steps; /* ended by NULL */
    int threads;
};

struct worker {
    const char *name; /* of the executable */
    const struct worker_duty *duties;
    size_t duty_count;
    /* Called once when all threads work, to log with what; NULL for nothing. */
    void (*on_start)(struct app *app);
    int idle_ms;
    int stop_ms;
};

/* Exit status: 0 after a signal, else as process_main. */
int worker_main(const struct worker *worker);
