/*
 * The main function of every handler: configuration, logs, shared memory, database, then the serve
 * loop over the socket on file descriptor 0, or one request as plain CGI when that is no socket.
 */
#pragma once

#include "http/router.h"
#include "process/app_open.h"

/* Exit status: 0 after draining or a CGI request, 78 for a wrong configuration, 1 otherwise. */
int handler_main(const struct handler *handler, const struct app_needs *needs);
