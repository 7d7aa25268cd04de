#include "support/answer_check.h"

#include <json-c/json.h>
#include <stdlib.h>

#include "support/fuzz.h"
#include "support/json_check.h"

/* Cuts one line off, without its CR LF. The end of a line is required. */
static struct text next_line(struct text *rest)
{
    const char *end = memmem(rest->data, rest->len, "\r\n", 2);
    REQUIRE(end);
    struct text line = {rest->data, (size_t)(end - rest->data)};
    *rest = (struct text){end + 2, rest->len - line.len - 2};
    return line;
}

/* Name, colon, blank and a value without control characters (RFC 9110, section 5.5). */
static void check_line(struct text line)
{
    const char *colon = memchr(line.data, ':', line.len);
    REQUIRE(colon && colon > line.data && colon + 1 < line.data + line.len && colon[1] == ' ');
    for (const char *p = line.data; p < colon; p++)
        REQUIRE((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || *p == '-');
    for (const char *p = colon; p < line.data + line.len; p++)
        REQUIRE((unsigned char)*p >= 0x20 && *p != 0x7F);
}

static bool line_has_name(struct text line, const char *name)
{
    size_t len = strlen(name);
    return line.len > len && text_starts_nocase(line, name) && line.data[len] == ':';
}

static size_t count_headers(const struct answer *answer, const char *name)
{
    struct text rest = answer->headers;
    size_t count = 0;
    while (rest.len > 0)
        count += line_has_name(next_line(&rest), name);
    return count;
}

struct text answer_header(const struct answer *answer, const char *name)
{
    struct text rest = answer->headers;
    while (rest.len > 0) {
        struct text line = next_line(&rest);
        if (line_has_name(line, name))
            return text_trim(
                (struct text){line.data + strlen(name) + 1, line.len - strlen(name) - 1});
    }
    return (struct text){NULL, 0};
}

static bool is_code(const char *code)
{
    return *code && strspn(code, "abcdefghijklmnopqrstuvwxyz_") == strlen(code);
}

/* Success or failure as openapi.yaml has them. */
static void check_json(const struct answer *answer)
{
    struct json_facts facts;
    struct json_object *success = NULL;
    struct json_object *member = NULL;
    REQUIRE(json_check(answer->body, &facts));
    REQUIRE(facts.object && !facts.duplicate_name);
    char *text = fuzz_string(answer->body);
    struct json_object *root = json_tokener_parse(text);
    REQUIRE(json_object_object_get_ex(root, "success", &success));
    REQUIRE(json_object_is_type(success, json_type_boolean));
    REQUIRE(json_object_get_boolean(success) == (answer->status < 400));
    if (answer->status < 400) {
        REQUIRE(json_object_object_get_ex(root, "data", &member));
        REQUIRE(json_object_is_type(member, json_type_object));
    } else {
        REQUIRE(json_object_object_get_ex(root, "code", &member));
        REQUIRE(is_code(json_object_get_string(member)));
        REQUIRE(json_object_object_get_ex(root, "error", &member));
        REQUIRE(json_object_get_string_len(member) > 0);
    }
    json_object_put(root);
    free(text);
}

struct answer answer_check(struct text raw)
{
    static const char *const ONCE[] = {"Content-Type", "Content-Length", "Allow", "Retry-After",
                                       "Access-Control-Allow-Origin"};
    const char *end = memmem(raw.data, raw.len, "\r\n\r\n", 4);
    int64_t number;
    REQUIRE(end);
    struct answer answer = {.headers = {raw.data, (size_t)(end - raw.data) + 2}};
    answer.body = (struct text){end + 4, raw.len - answer.headers.len - 2};
    struct text rest = answer.headers;
    while (rest.len > 0)
        check_line(next_line(&rest));

    REQUIRE(count_headers(&answer, "Status") == 1);
    for (size_t i = 0; i < sizeof(ONCE) / sizeof(ONCE[0]); i++)
        REQUIRE(count_headers(&answer, ONCE[i]) <= 1);
    REQUIRE(text_to_int64(answer_header(&answer, "Status"), &number));
    REQUIRE(number >= 200 && number <= 599);
    answer.status = (int)number;
    struct text length = answer_header(&answer, "Content-Length");
    if (length.data)
        REQUIRE(text_to_int64(length, &number) && (size_t)number == answer.body.len);
    if (answer.status == 204)
        REQUIRE(answer.body.len == 0 && !answer_header(&answer, "Content-Type").data);
    else
        REQUIRE(answer_header(&answer, "Content-Type").data);
    if (text_starts_nocase(answer_header(&answer, "Content-Type"), "application/json"))
        check_json(&answer);
    return answer;
}
