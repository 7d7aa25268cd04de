/* The limit of a minute in an answer: what its caller used, never what others did. */
#pragma once

#include "http/response.h"
#include "repositories/usage_repository.h"

/* How many actions of the minute are left, at least 0: a repetition may find it used beyond a limit
 * that was lowered, or by others meanwhile. */
int usage_limit_remaining(const struct usage_outcome *outcome);

/* The RateLimit header of an answer, refused or not. */
void usage_limit_header(struct response *response, const struct usage_outcome *outcome);

/* ERROR_RATE_LIMITED, with the header and the seconds to wait. */
enum error usage_limit_refuse(struct response *response,
                              const struct usage_outcome *outcome) MUST_CHECK;
