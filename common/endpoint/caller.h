/* Who is calling: what a route's access asks for, against what the request carries. */
#pragma once

#include "endpoint/call.h"

/*
 * Fills call->account or call->service, as call->route->access says. ERROR_UNAUTHORIZED without a
 * well-formed identity, key or secret; ERROR_FORBIDDEN for one that may not; ERROR_NOT_CONFIGURED
 * without a DB_INIT_SECRET to compare with; else those of account_service_resolve.
 */
enum error caller_resolve(struct call *call) MUST_CHECK;
