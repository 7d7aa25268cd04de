/*
 * JSON bodies: parsing and the rules for text members. A second parser (support/json_check.h) says
 * what must be accepted and what must not.
 */
#include <stdlib.h>

#include "base/limits.h"
#include "http/body.h"
#include "support/fuzz.h"
#include "support/json_check.h"

static const struct body_text_rule RULES[] = {
    {.name = "imageUrl", .required = true, .bytes_max = 40},
    {.name = "promptUsed", .bytes_max = 40, .characters_max = 10},
    {.name = "trend", .required = true, .bytes_max = 40, .characters_max = 10},
    {.name = "quality", .bytes_max = 10, .choices = "1K,2K,4K"},
};

static struct response response;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    response_init(&response);
    return 0;
}

static size_t count_characters(struct text text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    return count;
}

static void check_text(const struct body *body, const struct body_text_rule *rule)
{
    struct text value = TEXT_LITERAL("untouched");
    enum error err = body_text(body, rule, &value);
    if (err) {
        REQUIRE(err == ERROR_INVALID_FIELD && text_equal(value, TEXT_LITERAL("untouched")));
        REQUIRE(strcmp(response.field, rule->name) == 0);
        REQUIRE(strncmp(response.detail, rule->name, strlen(rule->name)) == 0);
        return;
    }
    if (!value.data) {
        REQUIRE(!rule->required);
        return;
    }
    REQUIRE(value.len <= rule->bytes_max && (value.len > 0 || !rule->required));
    REQUIRE(!memchr(value.data, '\0', value.len) && text_is_utf8(value));
    REQUIRE(!rule->characters_max || count_characters(value) <= rule->characters_max);
    REQUIRE(!rule->choices || text_equal(value, TEXT_LITERAL("1K")) ||
            text_equal(value, TEXT_LITERAL("2K")) || text_equal(value, TEXT_LITERAL("4K")));
}

/* Whether a body has nothing but what JSON calls blanks. */
static bool is_blank(struct text text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!memchr(" \t\r\n", text.data[i], 4))
            return false;
    return true;
}

/* json-c counts a scalar as a level, so the last one may or may not be taken. */
static void check_verdict(struct text input, bool accepted)
{
    struct json_facts facts;
    bool valid = json_check(input, &facts);
    if (is_blank(input)) {
        REQUIRE(accepted);
        return;
    }
    if (accepted) {
        REQUIRE(valid && facts.object && facts.depth <= JSON_DEPTH_MAX);
        REQUIRE(!facts.duplicate_name && !facts.nul_name);
    } else {
        REQUIRE(!valid || !facts.object || facts.depth >= JSON_DEPTH_MAX || facts.duplicate_name ||
                facts.escaped_name || facts.crowded);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_input(data, size);
    struct request request;
    struct body *body = NULL;
    request_init(&request);
    buffer_append_text(&request.body, input);
    if (!buffer_error(&request.body)) {
        response_begin(&response, NULL);
        enum error err = body_parse(&request, &response, &body);
        REQUIRE(err == ERROR_OK || err == ERROR_MALFORMED_JSON);
        REQUIRE(!err == (body != NULL));
        REQUIRE(!err || response.detail[0]);
        REQUIRE(text_is_utf8(text_from(response.field)));
        check_verdict(input, !err);
        for (size_t i = 0; !err && i < sizeof(RULES) / sizeof(RULES[0]); i++)
            check_text(body, &RULES[i]);
        body_free(body);
    }
    request_done(&request);
    return 0;
}
