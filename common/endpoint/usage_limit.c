#include "endpoint/usage_limit.h"

#include "services/usage_service.h"

int usage_limit_remaining(const struct usage_outcome *outcome)
{
    return outcome->used < outcome->usage_limit ? outcome->usage_limit - outcome->used : 0;
}

void usage_limit_header(struct response *response, const struct usage_outcome *outcome)
{
    response_rate_limit(response, outcome->usage_limit, usage_limit_remaining(outcome),
                        usage_service_seconds_until(outcome->reset_at));
}

enum error usage_limit_refuse(struct response *response, const struct usage_outcome *outcome)
{
    usage_limit_header(response, outcome);
    return response_rate_limited(response, usage_service_seconds_until(outcome->retry_at));
}
