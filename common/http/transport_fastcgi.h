/*
 * FastCGI through libfcgi (fcgiapp.h), one struct fastcgi a request under way.
 *
 * libfcgi 2.4.2 knows one way to get a request: FCGX_Accept_r, which blocks in accept and in read.
 * To let idle connections wait in epoll instead of in a thread, the serve loop accepts by itself
 * and hands libfcgi a connection that is ready. That sets fields the library documents as private,
 * so fastcgi_self_test proves at start that the installed library behaves as this file expects.
 */
#pragma once

#include <fcgiapp.h>
#include <stdbool.h>

#include "http/transport.h"

struct fastcgi {
    FCGX_Request request;
    struct transport transport;
};

/* Once a process, before any thread. Returns false when libfcgi cannot be initialised. */
bool fastcgi_library_init(void);

/* Whether file descriptor fd is a socket that listens. */
bool fastcgi_is_listening(int fd);

/* Serves a request of its own making over a socket pair. Returns false when anything is off. */
bool fastcgi_self_test(void);

void fastcgi_init(struct fastcgi *fastcgi);

enum fastcgi_ahead {
    FASTCGI_WHOLE,     /* a request, or the end: reading it does not wait */
    FASTCGI_PARTIAL,   /* or one of more than a few KB */
    FASTCGI_MALFORMED, /* libfcgi would allocate what a length says, and abort where it cannot */
};

/* What there is to be read from connection fd. Reads nothing. */
enum fastcgi_ahead fastcgi_look_ahead(int fd);

/*
 * Reads the parameters of the next request of connection fd, which is ready to be read. Returns
 * false when the connection ended or broke the protocol; it is then closed.
 */
bool fastcgi_receive(struct fastcgi *fastcgi, int fd);

/*
 * Whether ending the request closes its connection. libfcgi then waits for the peer to do so as
 * well, for two seconds or more.
 */
bool fastcgi_closes(const struct fastcgi *fastcgi, bool keep);

/*
 * Ends the request: sends what is buffered and the end of the answer. keep: whether the request was
 * read to its end and the answer went out. Returns the connection's descriptor when it waits for
 * another request, or -1 when it was closed.
 */
int fastcgi_finish(struct fastcgi *fastcgi, bool keep);
