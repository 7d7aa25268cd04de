/*
 * Exponential backoff between the starts of a process that keeps dying: 100 ms, 200 ms, ... up to
 * 5 s, and from the beginning again once a process has lived for 10 s.
 */
#pragma once

#include <stdint.h>

enum {
    BACKOFF_MS_FIRST = 100,
    BACKOFF_MS_MAX = 5000,
    BACKOFF_RESET_MS = 10000,
};

/* Zero-initialised: the next delay is the first one. */
struct backoff {
    int64_t delay_ms; /* the last one taken; 0: none since the reset */
};

/* The next delay in milliseconds, for a process that lived that long (0 for one that never did). */
int64_t backoff_next(struct backoff *backoff, int64_t lived_ms);

/* The next delay is the first one again. */
void backoff_reset(struct backoff *backoff);
