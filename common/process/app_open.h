/*
 * Builds a process's struct app from the environment: configuration, log, shared memory, Clerk's
 * keys and database. Connects to nothing yet.
 */
#pragma once

#include <stdbool.h>

#include "base/app.h"
#include "base/config.h"
#include "base/error.h"

/*
 * What a process cannot do without. One that reads or changes what the shared cache holds requires
 * it: without it, it would leave the others with stale values.
 */
enum app_needs {
    APP_NEEDS_ALL,      /* database and shared cache; what is left out is this */
    APP_NEEDS_DATABASE, /* and uses the shared cache if it is there */
    APP_NEEDS_NOTHING,  /* has no database; uses the shared cache if it is there */
};

/* What a process is made of, in the frame of its main function. */
struct process {
    struct app app;
    struct config config;
    char
        problem[256]; /* why it cannot start: a sentence that names the variable, never its value */
};

/*
 * name: of the program, kept by pointer, as is ret_process. ERROR_NOT_CONFIGURED: the configuration
 * is at fault. On failure ret_process->problem says why; app_close is safe afterwards either way.
 */
enum error app_open(const char *name, enum app_needs needs, struct process *ret_process) MUST_CHECK;
void app_close(struct app *app);
