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
 * The result of a flight, shared by the rows of its requests. Made before the flight is sent, so
 * that what was done is answered even where memory is out afterwards.
 */
struct rows_parts;

/* Room for the rows of count requests for one statement. NULL: memory is out. */
struct rows_parts *rows_parts_new(const struct statement *statement, size_t count);
/* Takes over the rows that the parts are of, whose columns are a place and the statement's. */
void rows_parts_fill(struct rows_parts *parts, struct rows *whole);
/*
 * The rows of one request, number below count, once for each: that row of the whole, or none where
 * row is rows_count(whole). Owned by the caller (rows_free), also after rows_parts_free.
 */
struct rows *rows_part(struct rows_parts *parts, size_t number, size_t row);
/* The maker's; the whole lives as long as one of its parts. Takes NULL. */
void rows_parts_free(struct rows_parts *parts);

/* The bytes of a value as they came. Absent: NULL. */
struct text rows_value(const struct rows *rows, size_t row, size_t column);
