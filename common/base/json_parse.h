/*
 * Strict JSON from outside, by json-c: one value, UTF-8, nothing behind it, depth at most
 * JSON_DEPTH_MAX. A value is read whole or not at all, although json-c itself may cut strings and
 * lose members when memory is out. The caller decides whether names may occur twice.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

enum json_problem {
    JSON_PROBLEM_NONE,
    JSON_PROBLEM_MEMORY,
    JSON_PROBLEM_DEPTH,
    JSON_PROBLEM_SYNTAX,   /* bad UTF-8 included */
    JSON_PROBLEM_TRAILING, /* bytes behind the value */
    JSON_PROBLEM_TYPE,     /* not an object */
};

struct json_report {
    size_t offset;   /* where the problem is, in bytes; filled for JSON_PROBLEM_SYNTAX */
    bool duplicates; /* some name occurs twice in one object, and the last one counts */
};

/* Parses text as an object. ret_object: owned by the caller (json_object_put). */
enum json_problem json_parse_object(struct text text, struct json_object **ret_object,
                                    struct json_report *ret_report);

/* A string member; the absent text when it is missing or of another type. Borrowed from object. */
struct text json_parse_string(struct json_object *object, const char *name);
