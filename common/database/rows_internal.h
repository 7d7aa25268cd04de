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

/*
 * One row as rows of its own, or none where row is rows_count(whole); without the first column,
 * the others are those of statement. Lives until its own rows_free, also when that of whole comes
 * before. whole: not a part itself. NULL: memory is out.
 */
struct rows *rows_part(struct rows *whole, size_t row, const struct statement *statement);

/* The bytes of a value as they came. Absent: NULL. */
struct text rows_value(const struct rows *rows, size_t row, size_t column);
