/* The scanner: what it finds, and that no bytes whatever make it read past their end. */
#include "base/json_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_parse.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_count_members(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t count;
    } ROWS[] = {
        {"", 0},
        {"{}", 0},
        {"{\"a\":1}", 1},
        {"{\"a\" \n\t\r:1,\"b\":\"c\"}", 2},
        {"{\"a\":[\"x\",\"y\",{\"b\":{\"c\":1}}]}", 3},
        {"{\"a\":\":\",\"b\\\"\":\"\\\"\",\"c\\\\\":1}", 3},
        {"[\"a\",\"b\"]", 0},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++)
        assert_int_equal(json_scan_count_members(text_from(ROWS[i].json)), ROWS[i].count);
}

static void test_find_duplicate(void **state)
{
    (void)state;
    static const struct {
        const char *json, *name; /* NULL: none */
    } ROWS[] = {
        {"{}", NULL},
        {"{\"a\":1,\"b\":1}", NULL},
        {"{\"a\":1,\"a\":1}", "a"},
        {"{\"a\":{\"a\":{\"a\":1}}}", NULL},
        {"{\"a\":{\"b\":1},\"c\":{\"b\":1}}", NULL},
        {"{\"a\":[{\"b\":1},{\"b\":1}]}", NULL},
        {"{\"a\":{\"b\":1,\"b\":2}}", "b"},
        {"{\"a\":{\"b\":1},\"a\":2}", "a"},
        {"{\"x\":\"{\\\"a\\\":1,\\\"a\\\":1}\"}", NULL},
        {"{\"x\":\"a\",\"y\":\"a\"}", NULL},
        {"{\"\":1,\"\":1}", ""},
        {"{\"a\":1}{\"a\":1}", NULL},
        {"{\"a\":1,\"\\u0061\":1}", "a"},
        {"{\"\\u004a\":1,\"\\u004A\":1}", "\\u004A"},
        {"{\"a\\/\\n\":1,\"a/\\u000a\":1}", "a\\/\\n"},
        {"{\"\\u00e9\":1,\"\xC3\xA9\":1}", "\xC3\xA9"},
        {"{\"\\ud83d\\ude00\":1,\"\xF0\x9F\x98\x80\":1}", "\xF0\x9F\x98\x80"},
        {"{\"\\\\u0061\":1,\"a\":1}", NULL},
        {"{\"n\":1,\"\\n\":1,\"\\\\n\":1}", NULL},
        {"{\"\\u00e9\":1,\"e\":1}", NULL},
        {"{\"\\ud83da\":1,\"\\ude00a\":1}", "\\ude00a"},
        {"{\"\\ud83d\\u0061\":1,\"\\ud83da\":1}", "\\ud83da"},
        {"{\"\\ud83d\\ude00\":1,\"\\ud83d\":1}", NULL},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct text name = TEXT_LITERAL("untouched");
        enum json_scan_duplicate found = json_scan_find_duplicate(text_from(ROWS[i].json), &name);
        assert_int_equal(found, ROWS[i].name ? JSON_SCAN_FOUND : JSON_SCAN_NONE);
        assert_true(text_equal(name, found ? text_from(ROWS[i].name) : TEXT_LITERAL("untouched")));
    }
}

/* A name of up to PIECES_MAX pieces, the digits of number. */
static void write_name(char *name, size_t size, unsigned number)
{
    static const char *const PIECES[] = {"",        "\\ud83d", "\\ud83e",      "\\ude00", "\\ude01",
                                         "\\ufffd", "a",       "\xEF\xBF\xBD", "\\n"};
    enum { PIECES_MAX = 3 };
    size_t len = 0;
    name[0] = '\0';
    for (int i = 0; i < PIECES_MAX; i++, number /= COUNT(PIECES))
        len += (size_t)snprintf(name + len, size - len, "%s", PIECES[number % COUNT(PIECES)]);
}

/* Halves of surrogate pairs in every order: two names are the same exactly when json-c says so,
 * which is how json_parse tells a name that occurs twice from a lack of memory. */
static void test_names_are_those_of_the_parser(void **state)
{
    (void)state;
    enum { NAMES = 9 * 9 * 9, STEP = 7 };
    int twice = 0;
    for (unsigned a = 0; a < NAMES; a++) {
        for (unsigned b = a % STEP; b < NAMES; b += STEP) {
            char first[32];
            char second[32];
            char json[96];
            struct json_object *object = NULL;
            struct json_report report;
            struct text name;
            write_name(first, sizeof(first), a);
            write_name(second, sizeof(second), b);
            snprintf(json, sizeof(json), "{\"%s\":1,\"%s\":2}", first, second);
            assert_int_equal(json_parse_object(text_from(json), &object, &report),
                             JSON_PROBLEM_NONE);
            assert_int_equal(json_scan_find_duplicate(text_from(json), &name),
                             report.duplicates ? JSON_SCAN_FOUND : JSON_SCAN_NONE);
            twice += report.duplicates;
            json_object_put(object);
        }
    }
    assert_true(twice > NAMES / STEP);
}

/* Up to the limits it is sure; a text beyond them is not called free of duplicates. */
static void test_find_duplicate_limits(void **state)
{
    (void)state;
    static char json[1 << 16];
    struct text name;
    for (int members = 255; members <= 257; members++) {
        size_t len = 0;
        for (int i = 0; i < members; i++)
            len += (size_t)snprintf(json + len, sizeof(json) - len, "%c\"n%d\":0",
                                    i == 0 ? '{' : ',', i);
        snprintf(json + len, sizeof(json) - len, "}");
        assert_int_equal(json_scan_find_duplicate(text_from(json), &name),
                         members <= 256 ? JSON_SCAN_NONE : JSON_SCAN_UNKNOWN);
    }
    for (int objects = 63; objects <= 65; objects++) {
        size_t len = 0;
        for (int i = 0; i < objects; i++)
            len += (size_t)snprintf(json + len, sizeof(json) - len, "%c{}", i == 0 ? '[' : ',');
        snprintf(json + len, sizeof(json) - len, "]");
        assert_int_equal(json_scan_find_duplicate(text_from(json), &name),
                         objects <= 64 ? JSON_SCAN_NONE : JSON_SCAN_UNKNOWN);
    }
}

static void test_member_at(void **state)
{
    (void)state;
    static const char JSON[] = "{\"one\":1,\"two\":{\"three\":\"x\"}}";
    static const struct {
        const char *before; /* the offset is where this starts */
        const char *name;
    } ROWS[] = {
        {"{\"one", NULL}, {"1,", "one"},    {"two\"", "two"},
        {"\"two", "one"}, {"x\"", "three"}, {"}}", "three"},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        size_t offset = (size_t)(strstr(JSON, ROWS[i].before) - JSON);
        assert_true(
            text_equal(json_scan_member_at(text_from(JSON), offset), text_from(ROWS[i].name)));
    }
    assert_true(text_equal(json_scan_member_at(text_from(JSON), SIZE_MAX), TEXT_LITERAL("three")));
}

static void test_find_fault(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int offset; /* -1: none */
    } ROWS[] = {
        {"", -1},
        {"{\"a\":[0,-0,1,-1,10,0.0,1.50,0e0,1E+2,-12.5e-10,true,false,null]}", -1},
        {"{\"a\":\"NaN 01 \\u0000\"}", -1},
        {"[01]", 1},
        {"[-01]", 1},
        {"[1.]", 1},
        {"[.1]", 1},
        {"[1e]", 1},
        {"[1e+]", 1},
        {"[-]", 1},
        {"[+1]", 1},
        {"[1,NaN]", 3},
        {"[-Infinity]", 1},
        {"[nulL]", 1},
        {"[truefalse]", 1},
        {"[1\"x\"2.]", 5},
        {"[\"a\n\"]", 3},
        {"[\"a\\\x01\"]", -1}, /* not accepted by json-c */
        {"{\"\\u0000\":1}", 2},
        {"{\"\\\\u0000\":1}", -1},
        {"{\"\\\\\\u0000\":1}", 4},
        {"{\"\\u000\":1}", -1},
        {"{\"\\u00001\":1}", 2},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        size_t offset = 999;
        bool found = json_scan_find_fault(text_from(ROWS[i].json), &offset);
        if (found != (ROWS[i].offset >= 0) || (found && offset != (size_t)ROWS[i].offset))
            fail_msg("%s: %zu", ROWS[i].json, offset);
    }
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Every function over bytes on the heap, of the exact length (AddressSanitizer sees one too many).
 */
static void scan_all(const char *bytes, size_t len, size_t offset)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    if (len > 0)
        memcpy(copy, bytes, len);
    struct text json = {copy, len};
    struct text name = {NULL, 0};
    size_t at;
    assert_true(json_scan_count_members(json) <= len);
    if (json_scan_find_duplicate(json, &name) == JSON_SCAN_FOUND)
        assert_true(name.data >= copy && name.data + name.len <= copy + len);
    if (json_scan_find_fault(json, &at))
        assert_true(at < len);
    name = json_scan_member_at(json, offset);
    if (name.data)
        assert_true(name.data >= copy && name.data + name.len <= copy + len);
    free(copy);
}

static void test_random_bytes(void **state)
{
    (void)state;
    static const char ALPHABET[] = "{}[]:,\"\"\"\\\\ \n\tabu0019-+.eE\0\xFF{{\"\":::";
    uint32_t seed = 11;
    for (int round = 0; round < 30000; round++) {
        char bytes[48];
        size_t len = next_random(&seed) % sizeof(bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = round % 4 == 0 ? (char)next_random(&seed)
                                      : ALPHABET[next_random(&seed) % (sizeof(ALPHABET) - 1)];
        scan_all(bytes, len, next_random(&seed) % 64);
    }
}

static void test_every_prefix(void **state)
{
    (void)state;
    static const char JSON[] = " {\"a\" : [1, -2.5e+10, \"\\u0000\\\\\", {\"b\\\"\":null, "
                               "\"b\":true}], \"a\\\\\":\"\\\"\"} ";
    for (size_t len = 0; len <= sizeof(JSON); len++)
        for (size_t from = 0; from <= len; from += 5)
            scan_all(JSON + from, len - from, len / 2);
}

/* The work is bounded: the worst bodies of 64 KB take milliseconds. */
static void test_worst_cases(void **state)
{
    (void)state;
    static const char *const UNITS[] = {"{",      "\"",    "\\", "\"\\",
                                        "{\"\":", "\"\":", "[",  "{\"a\":{}"};
    enum { LENGTH = 65536 };
    char *bytes = malloc(LENGTH);
    assert_non_null(bytes);
    for (size_t i = 0; i < COUNT(UNITS); i++) {
        size_t unit = strlen(UNITS[i]);
        for (size_t n = 0; n < LENGTH; n++)
            bytes[n] = UNITS[i][n % unit];
        scan_all(bytes, LENGTH, LENGTH);
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count_members),
        cmocka_unit_test(test_find_duplicate),
        cmocka_unit_test(test_names_are_those_of_the_parser),
        cmocka_unit_test(test_find_duplicate_limits),
        cmocka_unit_test(test_member_at),
        cmocka_unit_test(test_find_fault),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_worst_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
