/* Who is calling: from a request's headers to an account. The first line of most route functions. */
#pragma once

#include "http/request.h"
#include "services/account_service.h"

/* ERROR_UNAUTHORIZED without a well-formed identity; else as account_service_resolve. */
enum error caller_resolve(struct app *app, const struct request *request,
                          struct account *ret_account) MUST_CHECK;
