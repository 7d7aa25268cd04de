/*
 * A second opinion on JSON (RFC 8259), written from the grammar alone and sharing nothing with the
 * code under test: it decides what is valid and remembers what strict readers care about.
 */
#pragma once

#include <stdbool.h>

#include "base/text.h"

struct json_facts {
    bool object;         /* the value is an object */
    int depth;           /* levels of objects and arrays */
    bool duplicate_name; /* two members of an object have the same name, letter by letter */
    bool escaped_name;   /* some name has an escape: equality by letters does not say all */
    bool nul_name;       /* some name has the escape of the NUL character */
    bool crowded;        /* some object has more members than are compared */
};

/*
 * Whether text is one JSON value in UTF-8 with nothing but blanks around it, nested at most 64
 * levels. ret_facts: filled only then.
 */
bool json_check(struct text text, struct json_facts *ret_facts);
