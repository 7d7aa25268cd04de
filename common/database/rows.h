/* The rows a statement returned, read into the struct its columns are declared for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct rows;

size_t rows_count(const struct rows *rows);

/*
 * Fills the struct of row index (below rows_count). Text fields point into rows and live until
 * rows_free. A NULL in a column without a flag reads as zero, or as an absent text.
 */
void rows_read(const struct rows *rows, size_t index, void *ret_row);

/*
 * Whether the statement was sent again after an attempt that had no answer. That one may have been
 * carried out: rows that a DELETE does not find then were perhaps deleted by itself.
 */
bool rows_repeated(const struct rows *rows);

/* Takes NULL. */
void rows_free(struct rows *rows);
