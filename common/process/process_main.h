/*
 * The main function of every program that stays: of a handler (endpoint/handler.h) and of a worker
 * (process/worker_main.h). Configuration, log, shared memory and database, then the program's own
 * work, then the way out.
 */
#pragma once

#include "process/app_open.h"

struct program {
    const char *name; /* of the executable */
    enum app_needs needs;
    /* The work; returns the exit status. */
    int (*run)(struct app *app, const void *context);
    const void *context; /* run's own */
};

/*
 * Exit status: 78 (EX_CONFIG) for a wrong configuration, 1 when the program cannot start for
 * another reason, else what run returned.
 */
int process_main(const struct program *program);

/*
 * What run calls when everything is open, before it starts a thread or serves: enters the sandbox
 * (sandbox.h) and says in the metrics when the process started. Returns false, and has logged why,
 * when the process must not go on.
 */
bool process_confine(struct app *app) MUST_CHECK;
