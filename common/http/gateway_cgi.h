/* Plain CGI: parameters from the environment, body on standard input, answer on standard output. */
#pragma once

#include "http/gateway.h"

/* The gateway of the process. Valid for its life. */
struct gateway gateway_cgi(void);
