/* Exact JSON, escapes, repaired bytes, and a strict parser that reads back what was written. */
#include "base/json_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct fixture {
    struct buffer buffer;
    struct json_writer json;
};

static void start(struct fixture *fixture)
{
    buffer_init(&fixture->buffer, 1 << 20);
    json_writer_init(&fixture->json, &fixture->buffer);
}

/* Compares and ends. */
static void finish(struct fixture *fixture, const char *expected)
{
    assert_int_equal(buffer_error(&fixture->buffer), ERROR_OK);
    assert_string_equal(buffer_text(&fixture->buffer).data, expected);
    buffer_done(&fixture->buffer);
}

static void test_commas(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    json_begin_object(&f.json);
    json_key(&f.json, "a");
    json_begin_array(&f.json);
    json_end_array(&f.json);
    json_key(&f.json, "b");
    json_begin_array(&f.json);
    json_int(&f.json, 1);
    json_null(&f.json);
    json_begin_object(&f.json);
    json_end_object(&f.json);
    json_begin_object(&f.json);
    json_member_boolean(&f.json, "x", true);
    json_end_object(&f.json);
    json_text(&f.json, TEXT_LITERAL("t"));
    json_end_array(&f.json);
    json_member_boolean(&f.json, "c", false);
    json_member_null(&f.json, "d");
    json_end_object(&f.json);
    finish(&f, "{\"a\":[],\"b\":[1,null,{},{\"x\":true},\"t\"],\"c\":false,\"d\":null}");
}

static void test_members(void **state)
{
    (void)state;
    static const struct uuid ID = {{1, 2, 3}};
    struct fixture f;
    start(&f);
    json_begin_object(&f.json);
    json_member_int(&f.json, "least", INT64_MIN);
    json_member_text(&f.json, "absent", (struct text){NULL, 0});
    json_member_text(&f.json, "empty", TEXT_LITERAL(""));
    json_member_string(&f.json, "null", NULL);
    json_member_uuid(&f.json, "id", &ID);
    json_member_time(&f.json, "time", 1500);
    json_member_date(&f.json, "date", -1);
    json_end_object(&f.json);
    finish(&f, "{\"least\":-9223372036854775808,\"absent\":null,\"empty\":\"\",\"null\":null,"
               "\"id\":\"01020300-0000-0000-0000-000000000000\","
               "\"time\":\"1970-01-01T00:00:00.001Z\",\"date\":\"1969-12-31\"}");
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        struct text text;
        const char *json;
    } ROWS[] = {
        {TEXT_LITERAL("\"\\/"), "\"\\\"\\\\/\""},
        {TEXT_LITERAL("\n\r\t\b\f"), "\"\\n\\r\\t\\u0008\\u000c\""},
        {TEXT_LITERAL("a\0b\x1F\x7F"), "\"a\\u0000b\\u001f\x7F\""},
        {TEXT_LITERAL("Привет, 😀"), "\"Привет, 😀\""},
        {TEXT_LITERAL("</script>"), "\"</script>\""},
        {TEXT_LITERAL("'; DROP TABLE users; --"), "\"'; DROP TABLE users; --\""},
        {TEXT_LITERAL("a\xFF\"b"), "\"a\xEF\xBF\xBD\\\"b\""},
        {TEXT_LITERAL("\xC3"), "\"\xEF\xBF\xBD\""},
        {TEXT_LITERAL("\xE2\x82"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {TEXT_LITERAL("\xFFя\n"), "\"\xEF\xBF\xBDя\\n\""},
        {TEXT_LITERAL("\xED\xA0\x80!"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD!\""},
        {TEXT_LITERAL("\xF0\x9F\x98\x80\x80"), "\"😀\xEF\xBF\xBD\""},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        start(&f);
        json_text(&f.json, ROWS[i].text);
        finish(&f, ROWS[i].json);
    }
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Any bytes become valid JSON in UTF-8; bytes that were UTF-8 come back unchanged. */
static void test_round_trip(void **state)
{
    (void)state;
    uint32_t seed = 7;
    struct json_tokener *tokener = json_tokener_new();
    assert_non_null(tokener);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    for (int round = 0; round < 5000; round++) {
        size_t len = next_random(&seed) % 40;
        unsigned mask = round % 2 ? 0xFF : 0x7F;
        char *data = malloc(len + 1);
        assert_non_null(data);
        for (size_t i = 0; i < len; i++)
            data[i] = (char)(next_random(&seed) & mask);
        struct fixture f;
        start(&f);
        json_begin_array(&f.json);
        json_text(&f.json, (struct text){data, len});
        json_end_array(&f.json);
        struct text out = buffer_text(&f.buffer);
        assert_true(text_is_utf8(out));
        json_tokener_reset(tokener);
        struct json_object *array = json_tokener_parse_ex(tokener, out.data, (int)out.len);
        assert_int_equal(json_tokener_get_error(tokener), json_tokener_success);
        struct json_object *value = json_object_array_get_idx(array, 0);
        assert_true(json_object_is_type(value, json_type_string));
        if (text_is_utf8((struct text){data, len})) {
            assert_int_equal(json_object_get_string_len(value), len);
            assert_memory_equal(json_object_get_string(value), data, len);
        }
        json_object_put(array);
        buffer_done(&f.buffer);
        free(data);
    }
    json_tokener_free(tokener);
}

static void test_failure_sticks(void **state)
{
    (void)state;
    for (size_t max = 0; max < 60; max++) {
        struct buffer buffer;
        struct json_writer json;
        buffer_init(&buffer, max);
        json_writer_init(&json, &buffer);
        json_begin_object(&json);
        json_member_string(&json, "name", "\xFF \n some longer text");
        json_member_time(&json, "time", 0);
        json_end_object(&json);
        assert_int_equal(buffer_error(&buffer), ERROR_BODY_TOO_LARGE);
        assert_true(buffer.len <= max);
        buffer_done(&buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commas),         cmocka_unit_test(test_members),
        cmocka_unit_test(test_texts),          cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_failure_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
