/*
 * JSON bodies, read strictly: one object, UTF-8, no trailing bytes, no duplicate member, no NUL in
 * a string, depth at most JSON_DEPTH_MAX, and every member of the type that is asked for. Members
 * that nobody asks for are ignored.
 *
 * Every failure names the member in the response and returns the error to answer with.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"
#include "http/request.h"
#include "http/response.h"

struct body; /* owned by the caller of body_parse; texts read from it live as long */

/*
 * Parses the request's body. An empty one is an empty object, because clients send a JSON content
 * type with no body. ERROR_MALFORMED_JSON, or ERROR_NO_MEMORY.
 */
enum error body_parse(const struct request *request, struct response *response,
                      struct body **ret_body) MUST_CHECK;
/* The body as JSON in one form whatever its spacing, borrowed. ERROR_NO_MEMORY. */
enum error body_canonical(const struct body *body, struct text *ret_text) MUST_CHECK;

/* Takes NULL. */
void body_free(struct body *body);

/* What a text member must be. */
struct body_text_rule {
    const char *name;
    bool required; /* else it may be missing or null: the absent text */
    size_t bytes_max;
    size_t characters_max; /* Unicode code points; 0: only the bytes count */
    const char *choices;   /* comma list of the values allowed, or NULL */
};

/* What a whole-number member must be. */
struct body_int_rule {
    const char *name;
    bool required; /* else it may be missing or null */
    int64_t least, most;
};

/* ret_there may be NULL for a required member; ret_value is untouched when it is missing. */
enum error body_int(const struct body *body, const struct body_int_rule *rule, int64_t *ret_value,
                    bool *ret_there) MUST_CHECK;

/* true or false; ret_value is untouched when it is missing or null. ERROR_INVALID_FIELD. */
enum error body_boolean(const struct body *body, const char *name, bool *ret_value) MUST_CHECK;

/* The length of an array member; ERROR_INVALID_FIELD when it is none. */
enum error body_array(const struct body *body, const char *name, size_t *ret_count) MUST_CHECK;

/* Which element of which array member. */
struct body_element {
    const char *array;
    size_t index;
};

/*
 * An object in an array member, as a body of its own, owned by the caller (body_free). problems:
 * where its failures are described. ERROR_INVALID_FIELD when the element is no object, or
 * ERROR_NO_MEMORY.
 */
enum error body_array_object(const struct body *body, const struct body_element *element,
                             struct response *problems, struct body **ret_body) MUST_CHECK;

/* ERROR_INVALID_FIELD with the member's name and what was expected. */
enum error body_text(const struct body *body, const struct body_text_rule *rule,
                     struct text *ret_text) MUST_CHECK;
