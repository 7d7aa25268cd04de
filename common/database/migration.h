/* The files of sql/migrations in order, embedded at build by scripts/embed-sql. */
#pragma once

#include <stddef.h>

struct migration {
    int version;          /* 1, 2, 3, ... without a gap */
    const char *name;     /* the file's name after the number */
    const char *checksum; /* SHA-256 of the file, hexadecimal */
    const char *text;     /* can be applied again */
};

enum { MIGRATIONS_MAX = 64 }; /* scripts/embed-sql refuses more */

extern const struct migration MIGRATIONS[];
extern const size_t MIGRATION_COUNT;
