/*
 * What a failed statement means for the caller, by SQLSTATE and connection state, never by message
 * text (messages change with the server's locale). Codes: PostgreSQL manual, appendix A.
 */
#pragma once

#include <stdbool.h>

enum failure {
    FAILURE_FATAL,     /* repeating does not help */
    FAILURE_TRANSIENT, /* nothing happened, or it is unknown: repeat */
    FAILURE_SCHEMA,    /* a relation, column or function is missing: bootstrap, repeat */
    FAILURE_PREPARED,  /* the prepared statement is not on this server connection */
    FAILURE_UNIQUE,    /* a unique constraint refused it */
    FAILURE_BUSY,      /* lock or statement time-out: unavailable, not repeated */
};

struct failure_class {
    enum failure failure;
    bool drop_connection; /* the connection must not be used again */
};

/* sqlstate: five characters, or NULL when the connection broke before an answer came. */
struct failure_class sqlstate_classify(const char *sqlstate);
