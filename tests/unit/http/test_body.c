/* Strict JSON: what bad input gets, row by row, with the name of the member that is wrong. */
#include "http/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct fixture {
    struct request request;
    struct response response;
    struct body *body;
};

static void start(struct fixture *f)
{
    request_init(&f->request);
    response_init(&f->response);
    response_begin(&f->response, NULL);
    f->body = NULL;
}

/* Parses json as a worker would after reading it. */
static enum error parse(struct fixture *f, struct text json)
{
    buffer_append_text(&f->request.body, json);
    assert_int_equal(buffer_error(&f->request.body), ERROR_OK);
    return body_parse(&f->request, &f->response, &f->body);
}

static void finish(struct fixture *f)
{
    body_free(f->body);
    request_done(&f->request);
    response_done(&f->response);
}

static void assert_malformed(struct text json, const char *field)
{
    struct fixture f;
    start(&f);
    if (parse(&f, json) != ERROR_MALFORMED_JSON)
        fail_msg("accepted: %.*s", (int)(json.len < 200 ? json.len : 200), json.data);
    assert_null(f.body);
    if (strcmp(f.response.field, field) != 0)
        fail_msg("%.*s: names %s", (int)(json.len < 200 ? json.len : 200), json.data,
                 f.response.field);
    assert_true(f.response.detail[0] != '\0');
    assert_true(text_is_utf8(text_from(f.response.detail)));
    finish(&f);
}

static void test_good(void **state)
{
    (void)state;
    static const struct text ROWS[] = {
        TEXT_LITERAL(""),
        TEXT_LITERAL(" \t\r\n"),
        TEXT_LITERAL("{}"),
        TEXT_LITERAL("\n { } \n"),
        TEXT_LITERAL("{\"a\":null}"),
        TEXT_LITERAL("{\"a\":[1,-2.5e3,true,false,null,\"x\",{},[]]}"),
        TEXT_LITERAL("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":2}]}"),
        TEXT_LITERAL("{\"a\":\"b\\\":\",\"c\":\"{\\\\\"}"),
        TEXT_LITERAL("{\"a\":\"\\u041f\\ud83d\\ude00\"}"),
        TEXT_LITERAL("{\"ключ\":1}"),
        TEXT_LITERAL("{\"\":1}"),
        TEXT_LITERAL("{\"a\":0,\"b\":-0,\"c\":10,\"d\":0.5,\"e\":1E+5}"),
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        start(&f);
        if (parse(&f, ROWS[i]) != ERROR_OK)
            fail_msg("refused: %s: %s", ROWS[i].data, f.response.detail);
        finish(&f);
    }
    body_free(NULL);
}

static const struct {
    struct text json;
    const char *field;
} MALFORMED[] = {
    {TEXT_LITERAL("{"), ""},
    {TEXT_LITERAL("}"), ""},
    {TEXT_LITERAL("{\"a\""), ""},
    {TEXT_LITERAL("{\"a\":"), "a"},
    {TEXT_LITERAL("{\"a\":1"), "a"},
    {TEXT_LITERAL("{\"a\":\"x"), "a"},
    {TEXT_LITERAL("{\"a\":1,\"b\":tru}"), "b"},
    {TEXT_LITERAL("{\"a\":1,\"b\":TRUE}"), "b"},
    {TEXT_LITERAL("{a:1}"), ""},
    {TEXT_LITERAL("{'a':1}"), ""},
    {TEXT_LITERAL("{\"a\":'x'}"), "a"},
    {TEXT_LITERAL("{\"a\":1,}"), "a"},
    {TEXT_LITERAL("{\"a\":[1,]}"), "a"},
    {TEXT_LITERAL("{\"a\" 1}"), ""},
    {TEXT_LITERAL("{\"a\":1 \"b\":2}"), "a"},
    {TEXT_LITERAL("{\"a\":1}/* comment */"), "a"},
    {TEXT_LITERAL("{/**/\"a\":1}"), ""},
    {TEXT_LITERAL("{\"a\":\"\\x\"}"), "a"},
    {TEXT_LITERAL("{\"a\":\"\\u12\"}"), "a"},
    /* trailing garbage */
    {TEXT_LITERAL("{} x"), ""},
    {TEXT_LITERAL("{}{}"), ""},
    {TEXT_LITERAL("{},"), ""},
    {TEXT_LITERAL("{\"a\":1}]"), "a"},
    {TEXT_LITERAL("{}\0"), ""},
    {TEXT_LITERAL("\0{}"), ""},
    {TEXT_LITERAL("\0"), ""},
    {TEXT_LITERAL("{}\v"), ""},
    {TEXT_LITERAL("\xEF\xBB\xBF{}"), ""},
    /* no object */
    {TEXT_LITERAL("[]"), ""},
    {TEXT_LITERAL("[{}]"), ""},
    {TEXT_LITERAL("null"), ""},
    {TEXT_LITERAL("true"), ""},
    {TEXT_LITERAL("1"), ""},
    {TEXT_LITERAL("\"a\""), ""},
    /* duplicates */
    {TEXT_LITERAL("{\"a\":1,\"a\":1}"), "a"},
    {TEXT_LITERAL("{\"a\":1,\"b\":{\"c\":1,\"c\":2}}"), "c"},
    {TEXT_LITERAL("{\"b\":[{\"c\":1},{\"d\":1,\"d\":2}]}"), "d"},
    {TEXT_LITERAL("{\"b\":[{\"c\":1},{\"c\":1},{\"d\":1,\"d\":2}]}"), "d"},
    {TEXT_LITERAL("{\"a\":{\"x\":1},\"b\":2,\"a\":null}"), "a"},
    {TEXT_LITERAL("{\"a\":1,\"\\u0061\":2}"), "a"},
    {TEXT_LITERAL("{\"\":1,\"\":2}"), ""},
    /* UTF-8 */
    {TEXT_LITERAL("{\"a\":\"\xFF\"}"), "a"},
    {TEXT_LITERAL("{\"a\":\"\xC3(\"}"), "a"},
    {TEXT_LITERAL("{\"a\":\"\xED\xA0\x80\"}"), "a"},
    {TEXT_LITERAL("{\"a\":\"\xC0\x80\"}"), "a"},
    {TEXT_LITERAL("{\"\xFF\":1}"), ""},
    {TEXT_LITERAL("{\"a\":1,\"b\xFF\":1}"), ""},
    /* NUL */
    {TEXT_LITERAL("{\"a\":\"x\0y\"}"), ""},
    {TEXT_LITERAL("{\"a\0\":1}"), ""},
    {TEXT_LITERAL("{\"a\":\0}"), ""},
};

static void test_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(MALFORMED); i++)
        assert_malformed(MALFORMED[i].json, MALFORMED[i].field);
}

static void test_depth(void **state)
{
    (void)state;
    for (int depth = JSON_DEPTH_MAX - 2; depth <= JSON_DEPTH_MAX + 2; depth++) {
        char json[200] = "{\"a\":";
        size_t len = 5;
        for (int i = 1; i < depth; i++)
            json[len++] = '[';
        for (int i = 1; i < depth; i++)
            json[len++] = ']';
        json[len++] = '}';
        if (depth > JSON_DEPTH_MAX) {
            assert_malformed((struct text){json, len}, "");
            continue;
        }
        struct fixture f;
        start(&f);
        enum error err = parse(&f, (struct text){json, len});
        /* json-c counts the innermost empty array as well, or not: both are within a level. */
        assert_true(err == ERROR_OK || depth == JSON_DEPTH_MAX);
        finish(&f);
    }
    size_t len = 60000;
    char *deep = malloc(len);
    assert_non_null(deep);
    memset(deep, '[', len);
    assert_malformed((struct text){deep, len}, "");
    for (size_t i = 0; i + 5 <= len; i += 5)
        memcpy(deep + i, "{\"a\":", 5);
    assert_malformed((struct text){deep, len}, "");
    free(deep);
}

/* A body full of members is told from one with a duplicate among them. */
static void test_many_members(void **state)
{
    (void)state;
    for (int duplicate = 0; duplicate < 2; duplicate++) {
        struct fixture f;
        start(&f);
        struct buffer *out = &f.request.body;
        buffer_append_char(out, '{');
        for (int i = 0; i < 5000; i++)
            buffer_append_format(out, "\"m%d\":%d,", i, i);
        buffer_append_string(out, duplicate ? "\"m4999\":1}" : "\"last\":1}");
        assert_int_equal(body_parse(&f.request, &f.response, &f.body),
                         duplicate ? ERROR_MALFORMED_JSON : ERROR_OK);
        finish(&f);
    }
}

static const struct body_text_rule PLAIN = {.name = "a", .bytes_max = 8};
static const struct body_text_rule REQUIRED = {.name = "a", .required = true, .bytes_max = 8};
static const struct body_text_rule CHARACTERS = {
    .name = "a", .bytes_max = 100, .characters_max = 3};
static const struct body_text_rule CHOICE = {.name = "a", .bytes_max = 8, .choices = "1K,2K,4K"};

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const struct body_text_rule *rule;
        const char *json;
        const char *value; /* NULL: absent, "!" : refused */
    } ROWS[] = {
        {&PLAIN, "", NULL},
        {&PLAIN, "{}", NULL},
        {&PLAIN, "{\"a\":null}", NULL},
        {&PLAIN, "{\"b\":1,\"A\":2}", NULL},
        {&PLAIN, "{\"a\":\"\"}", ""},
        {&PLAIN, "{\"a\":\"12345678\"}", "12345678"},
        {&PLAIN, "{\"a\":\"123456789\"}", "!"},
        {&PLAIN, "{\"a\":\"'; DROP\"}", "'; DROP"},
        {&PLAIN, "{\"a\":\"\\n\\t\\\"\\\\\\/\"}", "\n\t\"\\/"},
        {&PLAIN, "{\"a\":\"\\u041f\"}", "П"},
        {&PLAIN, "{\"a\":1}", "!"},
        {&PLAIN, "{\"a\":1.5}", "!"},
        {&PLAIN, "{\"a\":99999999999999999999999}", "!"},
        {&PLAIN, "{\"a\":true}", "!"},
        {&PLAIN, "{\"a\":{}}", "!"},
        {&PLAIN, "{\"a\":[\"x\"]}", "!"},
        {&PLAIN, "{\"a\":\"\\u0000\"}", "!"},
        {&PLAIN, "{\"a\":\"x\\u0000y\"}", "!"},
        {&REQUIRED, "{}", "!"},
        {&REQUIRED, "", "!"},
        {&REQUIRED, "{\"a\":null}", "!"},
        {&REQUIRED, "{\"a\":\"\"}", "!"},
        {&REQUIRED, "{\"a\":\"x\"}", "x"},
        {&CHARACTERS, "{\"a\":\"при\"}", "при"},
        {&CHARACTERS, "{\"a\":\"😀😀😀\"}", "😀😀😀"},
        {&CHARACTERS, "{\"a\":\"прив\"}", "!"},
        {&CHOICE, "{\"a\":\"2K\"}", "2K"},
        {&CHOICE, "{\"a\":\"4K\"}", "4K"},
        {&CHOICE, "{}", NULL},
        {&CHOICE, "{\"a\":\"2k\"}", "!"},
        {&CHOICE, "{\"a\":\"\"}", "!"},
        {&CHOICE, "{\"a\":\"1K,2K\"}", "!"},
        {&CHOICE, "{\"a\":\" 1K\"}", "!"},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        struct text value = TEXT_LITERAL("untouched");
        bool refused = ROWS[i].value && strcmp(ROWS[i].value, "!") == 0;
        start(&f);
        assert_int_equal(parse(&f, text_from(ROWS[i].json)), ERROR_OK);
        enum error err = body_text(f.body, ROWS[i].rule, &value);
        if (err != (refused ? ERROR_INVALID_FIELD : ERROR_OK))
            fail_msg("%s: %s", ROWS[i].json, f.response.detail);
        assert_true(
            text_equal(value, refused ? TEXT_LITERAL("untouched") : text_from(ROWS[i].value)));
        assert_string_equal(f.response.field, refused ? "a" : "");
        finish(&f);
    }
}

/* A name that holds a NUL is not the name before it. */
static void test_nul_in_a_name(void **state)
{
    (void)state;
    assert_malformed(TEXT_LITERAL("{\"a\\u0000x\":\"v\"}"), "a\\u0000x");
    assert_malformed(TEXT_LITERAL("{\"\\u0000\":\"v\"}"), "\\u0000");
    assert_malformed(TEXT_LITERAL("{\"b\":{\"\\\\\\u0000\":1}}"), "\\\\\\u0000");
    struct fixture f;
    start(&f);
    assert_int_equal(parse(&f, TEXT_LITERAL("{\"\\\\u0000\":\"v\"}")), ERROR_OK);
    finish(&f);
}

/* What json-c takes although RFC 8259 does not, and near misses that are right. */
static void test_leniencies_of_the_parser(void **state)
{
    (void)state;
    static const char *const ROWS[] = {
        "{\"a\":NaN}",  "{\"a\":Infinity}", "{\"a\":-Infinity}", "{\"a\":01}",
        "{\"a\":-01}",  "{\"a\":1.}",       "{\"a\":.5}",        "{\"a\":1e}",
        "{\"a\":+1}",   "{\"a\":\"x\ny\"}", "{\"a\":\"\t\"}",    "{\"a\":-}",
        "{\"a\":1.e5}", "{\"a\":\"\x01\"}", "{\"a\":0x10}",      "{\"a\":00.5}",
        "{\"a\":1e+}",  "{\"a\":--1}",      "{\"a\":\f1}",       "{\"a\":1\v}",
    };
    for (size_t i = 0; i < COUNT(ROWS); i++)
        assert_malformed(text_from(ROWS[i]), "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_many_members),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_nul_in_a_name),
        cmocka_unit_test(test_leniencies_of_the_parser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
