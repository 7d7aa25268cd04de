#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "database/bootstrap_internal.h"
#include "database/function.h"

/*
 * younger: applied after this process began, so by a build that was started later. What such a
 * build has is never replaced or retired; an old process that meets a missing table would otherwise
 * put its own functions back under the new handlers.
 */
#define YOUNGER                                              \
    "(f.applied_at > (clock_timestamp() AT TIME ZONE 'utc')" \
    " - $1::bigint * interval '1 millisecond')"

static void process_age(const struct bootstrap *bootstrap, char ret_text[static 24])
{
    snprintf(ret_text, 24, "%lld",
             (long long)(clock_monotonic_ms() - bootstrap->options->started_ms));
}

static const struct function *find(const char *name, size_t *ret_index)
{
    for (size_t i = 0; i < FUNCTION_COUNT; i++)
        if (strcmp(FUNCTIONS[i].name, name) == 0) {
            *ret_index = i;
            return &FUNCTIONS[i];
        }
    return NULL;
}

/* What to do with a function that the database has under the name, by its row of READ_SQL. */
static enum function_step decide(struct bootstrap *bootstrap, const struct function *function,
                                 int row, bool *ret_left_alone)
{
    bool exists = bootstrap_cell(bootstrap, row, 3)[0] == 't';
    bool younger = bootstrap_cell(bootstrap, row, 4)[0] == 't';
    *ret_left_alone = false;
    if (!exists)
        return FUNCTION_APPLY;
    if (strcmp(bootstrap_cell(bootstrap, row, 2), function->digest) == 0)
        return FUNCTION_KEEP;
    if (younger || bootstrap->newer) {
        *ret_left_alone = true;
        return FUNCTION_KEEP;
    }
    bool same = strcmp(bootstrap_cell(bootstrap, row, 1), function->declaration) == 0;
    return same ? FUNCTION_APPLY : FUNCTION_REDEFINE;
}

bool function_plan_read(struct bootstrap *bootstrap, struct function_plan *ret_plan)
{
    static const char READ_SQL[] = "SELECT f.name, f.declaration, f.digest,"
                                   " EXISTS (SELECT 1 FROM pg_proc p WHERE p.proname = f.name"
                                   " AND p.pronamespace = current_schema()::regnamespace), " YOUNGER
                                   " FROM schema_functions f";
    char age[24];
    const char *values[] = {age};
    *ret_plan = (struct function_plan){.steps = calloc(FUNCTION_COUNT, sizeof(*ret_plan->steps))};
    process_age(bootstrap, age);
    if (!ret_plan->steps || !bootstrap_query(bootstrap, READ_SQL, values, 1))
        return false;
    for (size_t i = 0; i < FUNCTION_COUNT; i++)
        ret_plan->steps[i] = FUNCTION_APPLY; /* unless the database has it */
    for (int row = 0; row < PQntuples(bootstrap->reply.result); row++) {
        size_t index;
        bool left_alone;
        const struct function *function = find(bootstrap_cell(bootstrap, row, 0), &index);
        if (!function)
            continue;
        ret_plan->steps[index] = decide(bootstrap, function, row, &left_alone);
        ret_plan->left_alone += left_alone;
    }
    return true;
}

void function_plan_done(struct function_plan *plan)
{
    free(plan->steps);
    plan->steps = NULL;
}

static enum function_turn turn_of(const struct function *function)
{
    static const char TRIGGER[] = " RETURNS trigger";
    size_t length = strlen(function->declaration);
    size_t tail = sizeof(TRIGGER) - 1;
    return length > tail && strcmp(function->declaration + length - tail, TRIGGER) == 0
               ? FUNCTION_BEFORE_TABLES
               : FUNCTION_AFTER_TABLES;
}

/* Drops the function as the database has it. What hangs on it refuses that, and the bootstrap. */
static bool drop(struct bootstrap *bootstrap, const struct function *function)
{
    static const char FIND_SQL[] = "SELECT 'DROP FUNCTION IF EXISTS '"
                                   " || split_part(declaration, ' RETURNS ', 1)"
                                   " FROM schema_functions WHERE name = $1";
    const char *values[] = {function->name};
    if (!bootstrap_query(bootstrap, FIND_SQL, values, 1))
        return false;
    char *command = strdup(bootstrap_cell(bootstrap, 0, 0));
    bool ok = command && bootstrap_command(bootstrap, command);
    free(command);
    return ok;
}

static bool apply(struct bootstrap *bootstrap, const struct function *function)
{
    static const char RECORD_SQL[] =
        "INSERT INTO schema_functions (name, declaration, digest) VALUES ($1, $2, $3)"
        " ON CONFLICT (name) DO UPDATE SET declaration = excluded.declaration,"
        " digest = excluded.digest, applied_at = excluded.applied_at, retired_at = NULL";
    const char *values[] = {function->name, function->declaration, function->digest};
    return bootstrap_command(bootstrap, function->text) &&
           bootstrap_query(bootstrap, RECORD_SQL, values, 3);
}

bool function_plan_apply(struct bootstrap *bootstrap, const struct function_plan *plan,
                         enum function_turn turn)
{
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        const struct function *function = &FUNCTIONS[i];
        if (plan->steps[i] == FUNCTION_KEEP || turn_of(function) != turn)
            continue;
        if ((plan->steps[i] == FUNCTION_REDEFINE && !drop(bootstrap, function)) ||
            !apply(bootstrap, function)) {
            log_event(bootstrap->options->log, LOG_ERROR, "function was refused",
                      LOG_STRING("name", function->name));
            return false;
        }
        bootstrap->report->function_count++;
    }
    return true;
}

/* The names of this build's functions as an array, "{a,b}"; NULL when memory is out. */
static char *list_names(void)
{
    size_t bytes = 3;
    for (size_t i = 0; i < FUNCTION_COUNT; i++)
        bytes += strlen(FUNCTIONS[i].name) + 1;
    char *list = malloc(bytes);
    if (!list)
        return NULL;
    char *at = list;
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        *at++ = i == 0 ? '{' : ',';
        at = stpcpy(at, FUNCTIONS[i].name);
    }
    stpcpy(at, "}");
    return list;
}

bool function_retire(struct bootstrap *bootstrap)
{
    static const char MARK_SQL[] =
        "UPDATE schema_functions f SET retired_at = CASE WHEN f.name <> ALL ($2::text[])"
        " THEN clock_timestamp() AT TIME ZONE 'utc' END"
        " WHERE (f.name <> ALL ($2::text[])) = (f.retired_at IS NULL) AND NOT " YOUNGER;
    /* What hangs on a function of ours keeps it. */
    static const char DROP_SQL[] =
        "DO $$ DECLARE old record; BEGIN FOR old IN"
        " SELECT name, split_part(declaration, ' RETURNS ', 1) AS signature FROM schema_functions"
        " WHERE retired_at < (clock_timestamp() AT TIME ZONE 'utc') - interval '1 day' LOOP BEGIN"
        " EXECUTE 'DROP FUNCTION IF EXISTS ' || old.signature;"
        " DELETE FROM schema_functions WHERE name = old.name;"
        " EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END; END LOOP; END $$";
    if (bootstrap->newer)
        return true;
    char age[24];
    char *names = list_names();
    const char *values[] = {age, names};
    process_age(bootstrap, age);
    bool ok = names && bootstrap_query(bootstrap, MARK_SQL, values, 2) &&
              bootstrap_command(bootstrap, DROP_SQL);
    free(names);
    return ok;
}
