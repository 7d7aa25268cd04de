/* How the database layer makes rows. Not for other rooms. */
#pragma once

#include <libpq-fe.h>

#include "database/rows.h"
#include "database/statement.h"

/*
 * Takes a result over. repeated: what rows_repeated tells. Returns NULL when memory is out; the
 * result is then freed.
 * The result must have passed rows_match.
 */
struct rows *rows_new(PGresult *result, const struct statement *statement, bool repeated);

/* Whether a result has exactly the columns the statement declares. */
bool rows_match(const PGresult *result, const struct statement *statement);
