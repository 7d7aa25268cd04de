/* Health of the parts a handler stands on, and schema work. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/app.h"
#include "base/error.h"
#include "repositories/system_repository.h"

enum health { HEALTH_HEALTHY, HEALTH_DEGRADED, HEALTH_UNHEALTHY };

struct health_report {
    enum health overall;
    enum health database; /* degraded: it answers slowly or takes no writes */
    int64_t database_ms;  /* time of a small statement */
    bool database_answered;
    bool database_writable;
    enum health cache; /* degraded: not there, every read goes to the database */
    bool has_payments;
    enum health payments;      /* degraded: the operator has to do what payments_action says */
    char payments_action[256]; /* a sentence, or empty */
};

/* Never fails: what does not work is in the report. */
void system_service_health(struct app *app, struct health_report *ret_report);

/* "healthy", "degraded" or "unhealthy". */
const char *system_service_health_name(enum health health);

/* Applies the migrations that are missing. */
enum error system_service_migrate(struct app *app, struct schema_report *ret_report) MUST_CHECK;
