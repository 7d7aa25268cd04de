/*
 * Flights: requests of one kind that travel as one statement over arrays, an element a request, and
 * are answered each by its place. A request that fails does not fail its neighbours.
 *
 * A kind is declared beside the function that runs one request of it (FLIGHT_KIND in the
 * repositories); its items are structs that begin with a flight_item.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "database/statement.h"

struct database;

/* The head of every item. */
struct flight_item {
    enum error err; /* result: of this request, as of the function that runs it by itself */
    bool alone;     /* it is to be run by itself; also set by decode, for one that was left out */
    bool answered;  /* it had a row */
};

struct flight_kind {
    /*
     * Takes an array for each parameter; its first column is the int4 place, from 1. A row for each
     * item, unless it only reads: then an item without a row keeps the answer it came with.
     */
    const struct statement *statement;
    /* Appends the item to each of the statement's arrays. */
    void (*encode)(const void *item, struct buffer *arrays);
    /* Reads the item's answer from its row. Texts of the row are gone afterwards. */
    enum error (*decode)(const void *row, void *item);
    /* Runs the item by itself and leaves its answer in it. */
    enum error (*run_alone)(struct database *database, void *item);
};

/*
 * Runs count items, at most BATCH_OPERATIONS_MAX, and leaves each one's err and answer in it, or
 * alone is set: flight_run_alone is still to be called. Where the database refuses the flight it
 * refused one of the items, or somebody holds a row of one, and all of them are to be run alone.
 * Returns what kept the whole flight from being answered, which is then every item's err as well:
 * such a flight may have happened.
 */
enum error flight_try(struct database *database, const struct flight_kind *kind, void *const *items,
                      size_t count);

/* Runs an item by itself; its err says what came of it. */
void flight_run_alone(struct database *database, const struct flight_kind *kind, void *item);

/*
 * Both, one after the other. Once the database does not answer, the items that are left get that
 * error without being tried.
 */
enum error flight_run(struct database *database, const struct flight_kind *kind, void *const *items,
                      size_t count);
