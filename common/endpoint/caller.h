/* Who is calling: from a request's headers to an account. The first line of most route functions.
 */
#pragma once

#include "http/request.h"
#include "services/account_service.h"

/*
 * Also links the device of X-Device-Id to a Clerk account the first time it comes along.
 * ERROR_UNAUTHORIZED without a well-formed identity; else as account_service_resolve.
 */
enum error caller_resolve(struct app *app, const struct request *request,
                          struct account *ret_account) MUST_CHECK;

/* Without the linking, for the endpoint that links. */
enum error caller_resolve_only(struct app *app, const struct request *request,
                               struct account *ret_account) MUST_CHECK;
