/*
 * What every answer of a handler must be, whatever was asked: one block of well-formed header lines
 * in the form of CGI (RFC 3875, section 6), an empty line, and a body that its headers describe.
 */
#pragma once

#include "base/text.h"

struct answer {
    int status;
    struct text headers; /* whole lines, each with its end */
    struct text body;
};

/* Aborts (REQUIRE) when raw is not such an answer. Everything in the result borrows raw. */
struct answer answer_check(struct text raw);

/* The value of a header; absent when it is not there. */
struct text answer_header(const struct answer *answer, const char *name);
