/* The files of sql/functions by name, embedded at build by scripts/embed-sql. */
#pragma once

#include <stddef.h>

struct function {
    const char *name;        /* the file's name without .sql */
    const char *declaration; /* "name(p_user_id uuid, ...) RETURNS ...", blanks single */
    const char *digest;      /* SHA-256 of the file, hexadecimal */
    const char *text;        /* one CREATE OR REPLACE FUNCTION */
};

extern const struct function FUNCTIONS[];
extern const size_t FUNCTION_COUNT;
