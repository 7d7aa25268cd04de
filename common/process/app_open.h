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
 * A process that reads or changes what the shared cache holds requires it: one that ran without it
 * would leave the others with stale values.
 */
enum app_cache { APP_CACHE_NONE, APP_CACHE_OPTIONAL, APP_CACHE_REQUIRED };

struct app_needs {
    bool database;
    enum app_cache cache;
};

/*
 * name: of the program, kept by pointer, as is ret_config. On failure problem says why in a
 * sentence that names the variable, never its value; ERROR_NOT_CONFIGURED: the configuration is at
 * fault. app_close is safe afterwards either way.
 */
enum error app_open(const char *name, const struct app_needs *needs, struct config *ret_config,
                    struct app *ret_app, char problem[static 256]) MUST_CHECK;
void app_close(struct app *app);
