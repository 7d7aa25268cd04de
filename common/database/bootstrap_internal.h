/* A bootstrap under way, for the files of bootstrap*.c. Used by one thread. */
#pragma once

#include <stdbool.h>

#include "database/bootstrap.h"
#include "database/connection.h"

struct bootstrap {
    const struct bootstrap_options *options;
    struct connection *connection;
    struct bootstrap_report *report;
    int64_t deadline_ms;
    struct reply reply; /* of the last command */
    bool newer;         /* the database has migrations of a newer build */
    bool is_long;       /* a large database is brought up to date */
};

/* Runs commands; the last one's result stays in reply until the next call. False: it failed. */
bool bootstrap_command(struct bootstrap *bootstrap, const char *text) MUST_CHECK;

/* Runs one command with text parameters, as above. */
bool bootstrap_query(struct bootstrap *bootstrap, const char *text, const char *const *values,
                     int count) MUST_CHECK;

/* Cell of reply's result. The pointer lives until the next command. */
const char *bootstrap_cell(const struct bootstrap *bootstrap, int row, int column);

/* What is to be done with each function of this build, by its place in FUNCTIONS. */
enum function_step {
    FUNCTION_KEEP = 0,
    FUNCTION_APPLY,
    FUNCTION_REDEFINE, /* what it takes or returns changed: dropped first */
};

struct function_plan {
    enum function_step *steps; /* FUNCTION_COUNT, owned: function_plan_done */
    size_t left_alone;         /* functions that another build has, which stay */
};

/*
 * Compares the functions of this build with those of the database. The transaction's lock is held.
 * False: a command failed, or memory is out; ret_plan can be done either way.
 */
bool function_plan_read(struct bootstrap *bootstrap, struct function_plan *ret_plan) MUST_CHECK;
void function_plan_done(struct function_plan *plan);

/*
 * A trigger needs its function, and other functions need the tables whose rows they return: so the
 * trigger functions come before the migrations, the others after them.
 */
enum function_turn { FUNCTION_BEFORE_TABLES, FUNCTION_AFTER_TABLES };

/* Applies the functions of one turn that the plan wants. */
bool function_plan_apply(struct bootstrap *bootstrap, const struct function_plan *plan,
                         enum function_turn turn) MUST_CHECK;

/*
 * Marks the functions that this build does not have any more, and drops those that were marked for
 * a day: until then old processes may call them.
 */
bool function_retire(struct bootstrap *bootstrap) MUST_CHECK;
