/*
 * Strict JSON from outside, by json-c: one value, UTF-8, nothing behind it, depth at most
 * JSON_DEPTH_MAX. Member names that occur twice are not looked for here (http/body.h does).
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

/*
 * Parses text as an object. ret_object: owned by the caller (json_object_put). ret_offset: where
 * the problem is, in bytes; filled for JSON_PROBLEM_SYNTAX.
 */
enum json_problem json_parse_object(struct text text, struct json_object **ret_object,
                                    size_t *ret_offset);

/* A string member; the absent text when it is missing or of another type. Borrowed from object. */
struct text json_parse_string(struct json_object *object, const char *name);
