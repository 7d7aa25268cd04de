#include "supervisor/backoff.h"

int64_t backoff_next(struct backoff *backoff, int64_t lived_ms)
{
    if (lived_ms >= BACKOFF_RESET_MS || backoff->delay_ms == 0)
        backoff->delay_ms = BACKOFF_MS_FIRST;
    else
        backoff->delay_ms = backoff->delay_ms * 2 < BACKOFF_MS_MAX ? backoff->delay_ms * 2
                                                                   : (int64_t)BACKOFF_MS_MAX;
    return backoff->delay_ms;
}

void backoff_reset(struct backoff *backoff)
{
    backoff->delay_ms = 0;
}
