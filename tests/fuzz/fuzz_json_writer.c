/*
 * The JSON writer with any text: what it writes is JSON, and a text in UTF-8 comes back unchanged.
 * Input: lines, each a text of the array.
 */
#include <json-c/json.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json_writer.h"
#include "support/fuzz.h"
#include "support/json_check.h"

static void write_document(struct json_writer *json, struct text input)
{
    int64_t number = 0;
    memcpy(&number, input.data, input.len < sizeof(number) ? input.len : sizeof(number));
    json_begin_object(json);
    json_member_text(json, "whole", input);
    json_member_int(json, "number", number);
    json_member_time(json, "time", number);
    json_member_date(json, "date", (int32_t)number);
    json_member_null(json, "nothing");
    json_member_boolean(json, "odd", number & 1);
    json_key(json, "lines");
    json_begin_array(json);
    while (input.len > 0)
        json_text(json, fuzz_line(&input));
    json_text(json, (struct text){NULL, 0});
    json_end_array(json);
    json_end_object(json);
}

static void check_whole(const char *document, struct text input)
{
    struct json_object *root = json_tokener_parse(document);
    struct json_object *whole = NULL;
    REQUIRE(json_object_object_get_ex(root, "whole", &whole));
    struct text value = {json_object_get_string(whole), (size_t)json_object_get_string_len(whole)};
    REQUIRE(text_is_utf8(value));
    REQUIRE(!text_is_utf8(input) || text_equal(value, input));
    json_object_put(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = size > 0 ? fuzz_input(data, size) : TEXT_LITERAL("");
    struct json_facts facts;
    struct json_writer json;
    struct buffer out;
    /* The longest escape has six bytes, and every text stands there twice. */
    buffer_init(&out, 1024 + 16 * size);
    json_writer_init(&json, &out);
    write_document(&json, input);
    REQUIRE(!buffer_error(&out));
    REQUIRE(json_check(buffer_text(&out), &facts) && facts.object);
    check_whole(out.data, input);
    /* A document that does not fit fails, and never writes past its cap. */
    struct buffer small;
    buffer_init(&small, out.len - 1);
    json_writer_init(&json, &small);
    write_document(&json, input);
    REQUIRE(buffer_error(&small) == ERROR_BODY_TOO_LARGE && small.len < out.len);
    buffer_done(&small);
    buffer_done(&out);
    return 0;
}
