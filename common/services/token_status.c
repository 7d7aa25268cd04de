#include "services/token_status.h"

#include <string.h>

#include "base/clock.h"

enum error token_status_fill(const struct token_row *row, int64_t asked_us,
                             struct token_status *ret_status)
{
    struct token_status status;
    memset(&status, 0, sizeof(status)); /* no padding of the stack goes into shared memory */
    status.balance = row->balance;
    status.held = row->held;
    status.has_last_bonus_date = row->has_last_bonus_date;
    status.last_bonus_date = row->last_bonus_date;
    status.server_date = row->server_date;
    status.as_of = row->as_of;
    status.valid_until = row->has_next_hold_expiry ? row->next_hold_expiry : INT64_MAX;
    status.clock_offset = row->as_of - asked_us;
    status.can_claim_bonus = !row->has_last_bonus_date || row->last_bonus_date < row->server_date;
    status.unlimited = !row->has_daily_generations;
    if (row->has_daily_generations) {
        int32_t left = row->daily_generations - row->generations_today;
        status.free_total = row->daily_generations;
        status.free_remaining = left > 0 ? left : 0;
    }
    if (!text_copy(row->plan, status.plan, sizeof(status.plan)) ||
        !text_copy(row->plan_quality, status.max_quality, sizeof(status.max_quality)))
        return ERROR_INTERNAL;
    *ret_status = status;
    return ERROR_OK;
}

bool token_status_is_current(const struct token_status *status, int64_t now_us)
{
    int64_t now = now_us + status->clock_offset;
    return clock_day(now) == status->server_date && now < status->valid_until;
}
