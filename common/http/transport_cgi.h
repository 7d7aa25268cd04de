/* Plain CGI: parameters from the environment, body on standard input, answer on standard output. */
#pragma once

#include "http/transport.h"

/* The transport of the process. Valid for its life. */
struct transport transport_cgi(void);
