/* Clocks and calendar. Thread-safe, no allocation. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* Milliseconds of CLOCK_MONOTONIC, for deadlines. */
int64_t clock_monotonic_ms(void);
/* Microseconds of CLOCK_MONOTONIC, for durations. */
int64_t clock_monotonic_us(void);
/* Microseconds since 1970-01-01 00:00:00 UTC. */
int64_t clock_unix_us(void);

/* Sleeps for the whole time, also when signals arrive. */
void clock_sleep_ms(int64_t ms);

enum {
    CLOCK_TIME_SIZE = 28, /* "2026-11-22T10:11:12.123Z" and terminator, with room for odd years */
    CLOCK_DATE_SIZE = 16, /* "2026-11-22" and terminator, with room for odd years */
};

/* Writes ISO 8601 with milliseconds in UTC, as JavaScript's toISOString does. Returns its length.
 */
size_t clock_format_time(int64_t unix_us, char buffer[static CLOCK_TIME_SIZE]);

/* Writes YYYY-MM-DD. days: since 1970-01-01. Returns its length. */
size_t clock_format_date(int32_t days, char buffer[static CLOCK_DATE_SIZE]);

/*
 * Reads YYYY-MM-DD (midnight UTC) or YYYY-MM-DDTHH:MM[:SS[.fraction]](Z|+HH:MM|-HH:MM).
 * Returns false for anything else; ret_unix_us is then untouched.
 */
bool clock_parse_time(struct text text, int64_t *ret_unix_us);

/* The UTC day a time falls on, in days since 1970-01-01. */
int32_t clock_day(int64_t unix_us);
