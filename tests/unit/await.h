/*
 * Waiting in a unit test for what another thread or process does: for a condition, never for a
 * time. The bound only ends a test that hangs; a busy machine does not come near it.
 */
#pragma once

#include <time.h>

/* Two minutes of naps at the least: scripts/test ends a program after five. */
enum { AWAIT_NAPS_MAX = 600000, AWAIT_NAP_NS = 200000 };

static inline void await_nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = AWAIT_NAP_NS}, NULL);
}

/* Until the condition is true; whether it became so. In any thread. */
#define AWAIT_TRUE(condition)                                          \
    ({                                                                 \
        for (int nap = 0; nap < AWAIT_NAPS_MAX && !(condition); nap++) \
            await_nap();                                               \
        (condition);                                                   \
    })

/* The same, and the test fails when it does not; only in the thread that runs the test. */
#define AWAIT(condition)                                 \
    do {                                                 \
        if (!AWAIT_TRUE(condition))                      \
            fail_msg("never came true: %s", #condition); \
    } while (0)
