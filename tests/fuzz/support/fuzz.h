/*
 * What the fuzzing drivers share. A driver is tests/fuzz/fuzz_NAME.c with LLVMFuzzerTestOneInput;
 * libFuzzer calls it in MODE=fuzz, support/replay.c in every other mode (`make help`).
 *
 * A driver asserts what holds for every input, not only that nothing crashes. Inputs are text where
 * that is possible, so that a seed can be read and a finding can be repeated by hand.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* The interface of libFuzzer (llvm.org/docs/LibFuzzer.html). The second one is optional. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* A property of the code under test. Its failure is a finding: the process aborts. */
#define REQUIRE(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *condition, const char *file, int line);

static inline struct text fuzz_input(const uint8_t *data, size_t size)
{
    return (struct text){(const char *)data, size};
}

/* Cuts the next line off input, without its newline; empty at the end. Borrowed from input. */
struct text fuzz_line(struct text *input);

/* A NUL-terminated copy of exactly this size, owned by the caller. Never NULL. */
char *fuzz_string(struct text text);

/* True when part lies within whole, its end included. */
bool fuzz_within(struct text part, struct text whole);
