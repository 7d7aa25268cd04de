#include "process/process_main.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/limits.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "process/sandbox.h"

enum {
    /* Of the C library, which takes eight for each processor: 113 MB for all handlers under 256
     * connections of spends instead of 44, at the same rate (docs/decisions.md). */
    MALLOC_ARENAS = 2,
};

bool process_confine(struct app *app)
{
    char labels[METRIC_LABELS_BYTES_MAX];
    snprintf(labels, sizeof(labels), "handler=\"%s\"", app->handler);
    metric_set(metrics_series(app->metrics, "process_start_time_seconds", labels),
               (uint64_t)(clock_unix_us() / 1000000));
    if (sandbox_enter(app->config, app->log))
        return true;
    log_event(app->log, LOG_ERROR, "cannot start", LOG_STRING("problem", "out of memory"));
    return false;
}

int process_main(const struct program *program)
{
    struct process process;
    int status;
    /* Before any thread: what one of them allocates another one frees, and would keep for itself.
     */
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    enum error err = app_open(program->name, program->needs, &process);
    if (!err) {
        status = program->run(&process.app, program->context);
    } else {
        if (process.app.log)
            log_event(process.app.log, LOG_ERROR, "cannot start",
                      LOG_STRING("problem", process.problem));
        else
            fprintf(stderr, "%s: %s\n", program->name, process.problem);
        status = err == ERROR_NOT_CONFIGURED ? EX_CONFIG : EXIT_FAILURE;
    }
    app_close(&process.app);
    return status;
}
