/*
 * Flights: requests for one statement that arrive together travel as one statement and share its
 * commit, and are answered each by itself. What waits while a statement is out is the next flight
 * (coalesce.h). A request that fails does not fail its neighbours, and a read sees at least what
 * was committed before its call.
 *
 * A statement flies when it names a second query (.flight), which takes an array for each of its
 * parameters, an element a request (array_append), and returns an int4 column "place", from 1, in
 * front of its columns. There is a row for each place, unless it only reads: then a place without
 * a row found none. In a row's first column after the place
 *   NULL           means that the statement by itself would have returned no row,
 *   'alone'        that this request was left out and is to be run by itself.
 * Where the database refuses a flight it refused one of its requests, or somebody holds a row of
 * one, and all of them are run by themselves, each by the thread that waits for it.
 *
 * database_run does all of this for a statement that flies. This header is for the rest: requests
 * that no thread waits for, and many at once. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "database/statement.h"

struct database;
struct rows;

/* A request on its way. The first two are the caller's, the others the flight's. */
struct flight_item {
    const struct statement *statement; /* one that flies */
    const struct param *params;        /* borrowed until flight_finish returns */
    enum error err;                    /* result, as of database_run */
    struct rows *rows;                 /* result, owned; NULL when err is set or alone */
    bool answered;
    bool alone; /* it is still to be run, by itself */
};

/* Whom to tell, and with what. */
struct flight_listener {
    void (*done)(void *context);
    void *context;
};

/*
 * Starts a request and does not wait for it: done is called once it was tried, perhaps before the
 * return and perhaps by another thread, which serves others and must not be made to wait.
 * flight_finish is still to be called. item: the caller's, until that returns.
 * An error: nothing was sent and done is not called. ERROR_OVERLOADED: too many wait.
 */
enum error flight_start(struct database *database, struct flight_item *item,
                        const struct flight_listener *listener) MUST_CHECK;

/* After done: whether flight_finish has to wait for the database. */
bool flight_waits(const struct flight_item *item);

/* Takes what came of a request that was tried. Result and errors are those of database_run. */
enum error flight_finish(struct database *database, struct flight_item *item,
                         struct rows **ret_rows) MUST_CHECK;

/*
 * Runs count requests for one statement, at most BATCH_OPERATIONS_MAX, as one flight of their own;
 * flight_finish is still to be called for each, and waits for nothing. Once the database does not
 * answer, those that are left get that error without being tried. Returns what kept the whole
 * flight from being answered, which is then also the error of each: it may have happened.
 */
enum error flight_run_many(struct database *database, struct flight_item *const *items,
                           size_t count) MUST_CHECK;

/* The statement that does many of one that flies; refers to it. Also for the test of statements. */
void flight_statement(const struct statement *statement, struct statement *ret_together);
