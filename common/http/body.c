#include "http/body.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json_parse.h"
#include "base/json_scan.h"
#include "base/limits.h"

struct body {
    struct json_object *root; /* owned; an object */
    struct response *response;
};

static enum error malformed(struct response *response, struct text member, const char *expected)
{
    char name[48];
    if (!member.data || !text_copy(member, name, sizeof(name)) || !text_is_utf8(member)) {
        snprintf(response->detail, sizeof(response->detail), "%s", expected);
        return ERROR_MALFORMED_JSON;
    }
    return response_invalid(response, ERROR_MALFORMED_JSON, name, expected);
}

static enum error parse_text(struct text json, struct response *response,
                             struct json_object **ret_root)
{
    struct text nothing = {NULL, 0};
    struct text duplicate = nothing;
    struct json_object *root = NULL;
    struct json_report report;
    switch (json_parse_object(json, &root, &report)) {
    case JSON_PROBLEM_NONE:
        break;
    case JSON_PROBLEM_MEMORY:
        return ERROR_NO_MEMORY;
    case JSON_PROBLEM_DEPTH:
        return malformed(response, nothing, "nested deeper than 16 levels");
    case JSON_PROBLEM_SYNTAX:
        return malformed(response, json_scan_member_at(json, report.offset),
                         "not valid JSON from here on");
    case JSON_PROBLEM_TRAILING:
        return malformed(response, nothing, "expected nothing after the JSON object");
    case JSON_PROBLEM_TYPE:
        return malformed(response, nothing, "expected a JSON object");
    }
    if (report.duplicates) {
        /* A client must not send what different readers read differently. */
        json_object_put(root);
        json_scan_find_duplicate(json, &duplicate);
        return malformed(response, duplicate, "the member occurs twice");
    }
    *ret_root = root;
    return ERROR_OK;
}

/* RFC 8259, section 2. Not by strchr, which also finds the terminator: a NUL is no white space. */
static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct text trim_space(struct text text)
{
    while (text.len > 0 && is_space(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && is_space(text.data[text.len - 1]))
        text.len--;
    return text;
}

enum error body_parse(const struct request *request, struct response *response,
                      struct body **ret_body)
{
    struct body *body = calloc(1, sizeof(*body));
    if (!body)
        return ERROR_NO_MEMORY;
    body->response = response;
    enum error err = ERROR_OK;
    struct text json = trim_space(buffer_text(&request->body));
    if (memchr(json.data, '\0', json.len))
        err = malformed(response, (struct text){NULL, 0}, "expected no NUL byte");
    else if (json.len > 0)
        err = parse_text(json, response, &body->root);
    else if (!(body->root = json_object_new_object()))
        err = ERROR_NO_MEMORY;
    if (err) {
        body_free(body);
        return err;
    }
    *ret_body = body;
    return ERROR_OK;
}

void body_free(struct body *body)
{
    if (!body)
        return;
    json_object_put(body->root);
    free(body);
}

static size_t count_characters(struct text text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return count;
}

static bool is_choice(const char *choices, struct text value)
{
    struct text rest = text_from(choices);
    struct text item;
    while (text_next_item(&rest, ',', &item))
        if (text_equal(item, value))
            return true;
    return false;
}

static enum error invalid_text(const struct body *body, const struct body_text_rule *rule)
{
    char expected[160];
    if (rule->choices)
        snprintf(expected, sizeof(expected), "expected one of %s", rule->choices);
    else if (rule->characters_max > 0)
        snprintf(expected, sizeof(expected), "expected a string of %s%zu characters",
                 rule->required ? "1 to " : "at most ", rule->characters_max);
    else
        snprintf(expected, sizeof(expected), "expected a string of %s%zu bytes without NUL",
                 rule->required ? "1 to " : "at most ", rule->bytes_max);
    return response_invalid(body->response, ERROR_INVALID_FIELD, rule->name, expected);
}

enum error body_text(const struct body *body, const struct body_text_rule *rule,
                     struct text *ret_text)
{
    struct json_object *value = NULL;
    bool there = json_object_object_get_ex(body->root, rule->name, &value) && value;
    if (!there && rule->required)
        return invalid_text(body, rule);
    if (!there) {
        *ret_text = (struct text){NULL, 0};
        return ERROR_OK;
    }
    if (!json_object_is_type(value, json_type_string))
        return invalid_text(body, rule);
    struct text text = {json_object_get_string(value), (size_t)json_object_get_string_len(value)};
    if ((rule->required && text.len == 0) || text.len > rule->bytes_max ||
        memchr(text.data, '\0', text.len) || !text_is_utf8(text) ||
        (rule->characters_max > 0 && count_characters(text) > rule->characters_max) ||
        (rule->choices && !is_choice(rule->choices, text)))
        return invalid_text(body, rule);
    *ret_text = text;
    return ERROR_OK;
}

enum error body_int(const struct body *body, const struct body_int_rule *rule, int64_t *ret_value,
                    bool *ret_there)
{
    char expected[96];
    struct json_object *value = NULL;
    bool there = json_object_object_get_ex(body->root, rule->name, &value) && value;
    if (!there && !rule->required) {
        *ret_there = false;
        return ERROR_OK;
    }
    /* json-c clamps what does not fit, which the bounds then refuse. */
    int64_t number = there ? json_object_get_int64(value) : 0;
    if (!there || !json_object_is_type(value, json_type_int) || number < rule->least ||
        number > rule->most) {
        snprintf(expected, sizeof(expected), "expected a whole number from %lld to %lld",
                 (long long)rule->least, (long long)rule->most);
        return response_invalid(body->response, ERROR_INVALID_FIELD, rule->name, expected);
    }
    *ret_value = number;
    if (ret_there)
        *ret_there = true;
    return ERROR_OK;
}

enum error body_boolean(const struct body *body, const char *name, bool *ret_value)
{
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(body->root, name, &value) || !value)
        return ERROR_OK;
    if (!json_object_is_type(value, json_type_boolean))
        return response_invalid(body->response, ERROR_INVALID_FIELD, name,
                                "expected true or false");
    *ret_value = json_object_get_boolean(value);
    return ERROR_OK;
}

enum error body_array(const struct body *body, const char *name, size_t *ret_count)
{
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(body->root, name, &value) ||
        !json_object_is_type(value, json_type_array))
        return response_invalid(body->response, ERROR_INVALID_FIELD, name, "expected an array");
    *ret_count = json_object_array_length(value);
    return ERROR_OK;
}

enum error body_array_object(const struct body *body, const struct body_element *element,
                             struct response *problems, struct body **ret_body)
{
    struct json_object *array = NULL;
    struct json_object *value = NULL;
    if (json_object_object_get_ex(body->root, element->array, &array))
        value = json_object_array_get_idx(array, element->index);
    if (!json_object_is_type(value, json_type_object))
        return response_invalid(problems, ERROR_INVALID_FIELD, element->array, "expected objects");
    struct body *child = calloc(1, sizeof(*child));
    if (!child)
        return ERROR_NO_MEMORY;
    child->root = json_object_get(value);
    child->response = problems;
    *ret_body = child;
    return ERROR_OK;
}

enum error body_canonical(const struct body *body, struct text *ret_text)
{
    /* json-c hands out what it has of a text that it had no memory to finish. */
    errno = 0;
    const char *json = json_object_to_json_string_ext(body->root, JSON_C_TO_STRING_PLAIN);
    if (!json || errno == ENOMEM)
        return ERROR_NO_MEMORY;
    *ret_text = text_from(json);
    return ERROR_OK;
}
