/* One file of sql/queries, embedded at build by scripts/embed-sql (queries.h declares them all). */
#pragma once

#include <stddef.h>

struct query {
    size_t index;              /* below QUERY_COUNT, for tables of what belongs to each query */
    const char *name;          /* the file's name without .sql; also the metric's label */
    const char *prepared_name; /* name and a digest of the text: two builds never share one */
    const char *text;
};

extern const size_t QUERY_COUNT;
