#include "endpoint/usage_limit.h"

#include "services/usage_service.h"

void usage_limit_header(struct response *response, const struct usage_outcome *outcome)
{
    response_rate_limit(response, outcome->usage_limit, outcome->usage_limit - outcome->used,
                        usage_service_seconds_until(outcome->reset_at));
}

enum error usage_limit_refuse(struct response *response, const struct usage_outcome *outcome)
{
    usage_limit_header(response, outcome);
    return response_rate_limited(response, usage_service_seconds_until(outcome->retry_at));
}
