/* Outcomes: a function of the database says in a word what became of a request. */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

/*
 * Reads the word of an outcome. words: count of them, each at the place that is the value of its
 * enum; NULL where a value has none. ERROR_INTERNAL: the word is not among them, or absent, which
 * is a defect of this build; ret_outcome is then untouched.
 */
enum error outcome_read(const char *const *words, size_t count, struct text word,
                        int *ret_outcome) MUST_CHECK;

/* The same, of an array of words. */
#define OUTCOME_READ(words, word, ret_outcome) \
    outcome_read(words, sizeof(words) / sizeof((words)[0]), word, ret_outcome)
