#include "base/json_parse.h"

#include <errno.h>
#include <json-c/printbuf.h>

#include "base/json_scan.h"
#include "base/limits.h"

/* Adds up the members of all objects within value. Returns false when one of them has no name. */
static bool count_members(struct json_object *value, size_t *count)
{
    if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, name, member)
        {
            *count += 1;
            if (!name || !count_members(member, count))
                return false;
        }
    } else if (json_object_is_type(value, json_type_array)) {
        size_t length = json_object_array_length(value);
        for (size_t i = 0; i < length; i++)
            if (!count_members(json_object_array_get_idx(value, i), count))
                return false;
    }
    return true;
}

/*
 * Version 0.16 goes on when it could not copy a member's name or make room for the member. What
 * comes out has fewer members than the text then, as it has where a name occurs twice.
 */
static enum json_problem check_members(struct text text, struct json_object *object,
                                       struct json_report *ret_report)
{
    size_t count = 0;
    struct text name;
    if (!count_members(object, &count))
        return JSON_PROBLEM_MEMORY;
    ret_report->duplicates = count != json_scan_count_members(text);
    if (ret_report->duplicates && json_scan_find_duplicate(text, &name) == JSON_SCAN_NONE)
        return JSON_PROBLEM_MEMORY;
    return JSON_PROBLEM_NONE;
}

/*
 * json-c's STRICT still takes numbers and characters that RFC 8259 does not, and bytes behind the
 * value; json_scan finds the first, and the end is checked.
 */
static enum json_problem parse(struct json_tokener *tokener, struct text text,
                               struct json_object **ret_object, struct json_report *ret_report)
{
    size_t *offset = &ret_report->offset;
    /* Room for the longest string there can be: without it, a string is cut and nothing said. */
    if (printbuf_memset(tokener->pb, (int)text.len, 0, 1) != 0)
        return JSON_PROBLEM_MEMORY;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    errno = 0;
    *ret_object = json_tokener_parse_ex(tokener, text.data, (int)text.len);
    /* Whatever else it may call its own lack of memory: a syntax error, the end of the text. */
    if (errno == ENOMEM)
        return JSON_PROBLEM_MEMORY;
    enum json_tokener_error error = json_tokener_get_error(tokener);
    *offset = json_tokener_get_parse_end(tokener);
    if (error == json_tokener_error_depth)
        return JSON_PROBLEM_DEPTH;
    if (error != json_tokener_success ||
        json_scan_find_fault((struct text){text.data, *offset}, offset))
        return JSON_PROBLEM_SYNTAX;
    if (*offset != text.len)
        return JSON_PROBLEM_TRAILING;
    if (!json_object_is_type(*ret_object, json_type_object))
        return JSON_PROBLEM_TYPE;
    return check_members(text, *ret_object, ret_report);
}

enum json_problem json_parse_object(struct text text, struct json_object **ret_object,
                                    struct json_report *ret_report)
{
    struct json_object *object = NULL;
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
    if (!tokener)
        return JSON_PROBLEM_MEMORY;
    *ret_report = (struct json_report){.offset = 0};
    enum json_problem problem = parse(tokener, text, &object, ret_report);
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
    return (struct text){json_object_get_string(value), (size_t)json_object_get_string_len(value)};
}
