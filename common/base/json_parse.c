#include "base/json_parse.h"

#include "base/json_scan.h"
#include "base/limits.h"

/*
 * json-c's STRICT still takes numbers and characters that RFC 8259 does not, and bytes behind the
 * value; json_scan finds the first, and the end is checked.
 */
enum json_problem json_parse_object(struct text text, struct json_object **ret_object,
                                    size_t *ret_offset)
{
    struct json_object *object = NULL;
    enum json_problem problem = JSON_PROBLEM_NONE;
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
    if (!tokener)
        return JSON_PROBLEM_MEMORY;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    object = json_tokener_parse_ex(tokener, text.data, (int)text.len);
    enum json_tokener_error error = json_tokener_get_error(tokener);
    *ret_offset = json_tokener_get_parse_end(tokener);
    if (error == json_tokener_error_depth)
        problem = JSON_PROBLEM_DEPTH;
    else if (error != json_tokener_success)
        problem = JSON_PROBLEM_SYNTAX;
    else if (json_scan_find_fault((struct text){text.data, *ret_offset}, ret_offset))
        problem = JSON_PROBLEM_SYNTAX;
    else if (*ret_offset != text.len)
        problem = JSON_PROBLEM_TRAILING;
    else if (!json_object_is_type(object, json_type_object))
        problem = JSON_PROBLEM_TYPE;
    json_tokener_free(tokener);
    if (problem != JSON_PROBLEM_NONE) {
        json_object_put(object);
        return problem;
    }
    *ret_object = object;
    return JSON_PROBLEM_NONE;
}

struct text json_parse_string(struct json_object *object, const char *name)
{
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(object, name, &value) ||
        !json_object_is_type(value, json_type_string))
        return (struct text){NULL, 0};
    return (struct text){json_object_get_string(value),
                         (size_t)json_object_get_string_len(value)};
}
