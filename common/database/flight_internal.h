/* The queues of flights of one database. Not for other rooms. */
#pragma once

#include "database/flight.h"

struct flight_queues;

/* One for every statement of the program that flies. NULL: memory is out. */
struct flight_queues *flight_queues_new(struct database *database);
/* Nobody may be waiting. Takes NULL. */
void flight_queues_free(struct flight_queues *queues);

/* database_run of a statement that flies: together with others. */
enum error flight_run(struct database *database, const struct statement *statement,
                      const struct param *params, struct rows **ret_rows) MUST_CHECK;

/* --- what database.c has for flights --- */

struct flight_queues *database_flight_queues(struct database *database);
