/* The rows a statement returned, read into the struct its columns are declared for. */
#pragma once

#include <stddef.h>

struct rows;

size_t rows_count(const struct rows *rows);

/*
 * Fills the struct of row index (below rows_count). Text fields point into rows and live until
 * rows_free. A NULL in a column without a flag reads as zero, or as an absent text.
 */
void rows_read(const struct rows *rows, size_t index, void *ret_row);

/* Takes NULL. */
void rows_free(struct rows *rows);
