/*
 * Query strings: values by name, and the page that limit and cursor ask for. Input: a line with the
 * name, then the query string.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/base64url.h"
#include "http/page.h"
#include "support/fuzz.h"

static struct response response;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    response_init(&response);
    return 0;
}

/* name=value with every byte of the value percent-encoded. Owned by the caller. */
static char *encode(const char *name, struct text value)
{
    size_t len = strlen(name);
    char *query = malloc(len + 2 + 3 * value.len);
    REQUIRE(query);
    memcpy(query, name, len);
    query[len++] = '=';
    query[len] = '\0';
    for (size_t i = 0; i < value.len; i++, len += 3)
        snprintf(query + len, 4, "%%%02X", (unsigned char)value.data[i]);
    return query;
}

static void check_value(const struct request *request, const char *name)
{
    char buffer[48];
    char again[48];
    struct text value = TEXT_LITERAL("untouched");
    struct text second;
    enum error err =
        request_query(request, &(struct query_field){name, buffer, sizeof(buffer)}, &value);
    REQUIRE(err == ERROR_OK || err == ERROR_INVALID_PARAMETER);
    if (err || !value.data)
        return;
    REQUIRE(value.data == buffer && value.len < sizeof(buffer) && buffer[value.len] == '\0');
    REQUIRE(!memchr(value.data, '\0', value.len) && text_is_utf8(value));
    REQUIRE(value.len <= request->query.len);
    /* A name with these would mean something else in a query string. */
    if (strpbrk(name, "=& \t"))
        return;
    char *encoded = encode(name, value);
    struct request canonical = {.query = text_from(encoded)};
    REQUIRE(request_query(&canonical, &(struct query_field){name, again, sizeof(again)}, &second) ==
            ERROR_OK);
    REQUIRE(text_equal(second, value));
    free(encoded);
}

/* What page_write_cursor writes for the position of a page. */
static void cursor_of(const struct page *page, struct buffer *out)
{
    struct json_writer json;
    json_writer_init(&json, out);
    json_begin_object(&json);
    page_write_cursor(&json, page, &page->before);
    json_end_object(&json);
    REQUIRE(!buffer_error(out));
}

static void check_page(const struct request *request)
{
    struct page page;
    char text[CURSOR_BYTES_MAX];
    struct text cursor;
    response_begin(&response, NULL);
    enum error err = page_read(request, &response, &page);
    if (err) {
        REQUIRE(err == ERROR_INVALID_PARAMETER);
        REQUIRE(strcmp(response.field, "limit") == 0 || strcmp(response.field, "cursor") == 0);
        return;
    }
    REQUIRE(page.limit >= 1 && page.limit <= PAGE_ITEMS_MAX && page.before.total >= -1);
    REQUIRE(request_query(request, &(struct query_field){"cursor", text, sizeof(text)}, &cursor) ==
            ERROR_OK);
    if (!cursor.data)
        return;
    /* PostgreSQL knows no time before 4714-11-24 BC but its infinity; no cursor asks for one. */
    REQUIRE(page.before.created_at == INT64_MIN ||
            page.before.created_at >= INT64_C(-210866803200000000));
    struct buffer out;
    buffer_init(&out, 256);
    cursor_of(&page, &out);
    char expected[128];
    snprintf(expected, sizeof(expected), "{\"nextCursor\":\"%s\"}", text);
    REQUIRE(text_equal(buffer_text(&out), text_from(expected)));
    buffer_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_input(data, size);
    char *name = fuzz_string(fuzz_line(&input));
    struct request request = {.query = input.len > 0 ? input : TEXT_LITERAL("")};
    check_value(&request, name);
    check_value(&request, "q");
    check_page(&request);
    free(name);
    return 0;
}
