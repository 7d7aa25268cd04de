/* Limits and cursors: round trip, and every spoilt cursor refused or read as a position in range.
 */
#include "http/page.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base64url.h"
#include "fake_transport.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Before this PostgreSQL has no timestamps (datatype/timestamp.h: 4714-11-24 BC). */
#define FIRST_TIMESTAMP_US (-INT64_C(210866803200000000))

/* Of the request that is read; as a cursor carries it: FNV-1a of the path, 32 bits. */
static const char *path = "/a";
#define LIST_A 0x70d2182dU

static enum error read_page(const char *query, struct page *ret_page, char field[static 64])
{
    struct fake_transport fake;
    struct request request;
    struct response response;
    fake_init(&fake);
    request_init(&request);
    response_init(&response);
    fake.params[0] = (struct fake_param){"QUERY_STRING", query};
    fake.params[1] = (struct fake_param){"DOCUMENT_URI", path};
    request_begin(&request, &fake.transport, "/");
    response_begin(&response, &fake.transport);
    enum error err = page_read(&request, &response, ret_page);
    snprintf(field, 64, "%s", response.field);
    request_done(&request);
    response_done(&response);
    fake_done(&fake);
    return err;
}

static void test_limit(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        int limit; /* 0: refused */
    } ROWS[] = {
        {"", 50},
        {"limit=1", 1},
        {"limit=100", 100},
        {"limit=%31", 1},
        {"limit=007", 7},
        {"x=1&limit=2", 2},
        {"Limit=0", 50},
        {"limit=2&limit=0", 2},
        {"limit=0", 0},
        {"limit=101", 0},
        {"limit=-1", 0},
        {"limit=1000000000", 0},
        {"limit=1e9", 0},
        {"limit=", 0},
        {"limit", 0},
        {"limit=1.0", 0},
        {"limit=+1", 0},
        {"limit=4294967297", 0},
        {"limit=ten", 0},
        {"limit=%00", 0},
        {"limit=%zz", 0},
        {"limit=99999999999999999999", 0},
        {"limit=0000000000000000000000000000000000000000000000000000000000000000001", 0},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct page page;
        char field[64];
        enum error err = read_page(ROWS[i].query, &page, field);
        if (err != (ROWS[i].limit ? ERROR_OK : ERROR_INVALID_PARAMETER))
            fail_msg("%s", ROWS[i].query);
        assert_string_equal(field, err ? "limit" : "");
        if (!err)
            assert_int_equal(page.limit, ROWS[i].limit);
    }
}

static void test_first_page(void **state)
{
    (void)state;
    struct page page;
    char field[64];
    assert_int_equal(read_page("", &page, field), ERROR_OK);
    assert_int_equal(page.before.created_at, INT64_MAX);
    assert_int_equal(page.before.total, -1);
    for (size_t i = 0; i < sizeof(page.before.id.bytes); i++)
        assert_int_equal(page.before.id.bytes[i], 0xFF);
}

/* Writes nextCursor and leaves its text in cursor. */
static void write_cursor(const struct page_position *position, char cursor[static 64])
{
    struct buffer buffer;
    struct json_writer json;
    buffer_init(&buffer, 1000);
    json_writer_init(&json, &buffer);
    page_write_cursor(&json, &(struct page){.list = LIST_A}, position);
    assert_int_equal(buffer_error(&buffer), ERROR_OK);
    if (position)
        assert_int_equal(sscanf(buffer.data, "\"nextCursor\":\"%63[A-Za-z0-9_-]\"", cursor), 1);
    else
        assert_string_equal(buffer.data, "\"nextCursor\":null");
    buffer_done(&buffer);
}

static enum error read_cursor(const char *cursor, struct page *ret_page)
{
    char query[200];
    char field[64];
    snprintf(query, sizeof(query), "cursor=%s", cursor);
    enum error err = read_page(query, ret_page, field);
    assert_string_equal(field, err ? "cursor" : "");
    assert_true(err == ERROR_OK || err == ERROR_INVALID_PARAMETER);
    return err;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const int64_t TIMES[] = {0, 1, -1, 1795000000123456, 253402300799999999};
    static const int32_t TOTALS[] = {-1, 0, 1, INT32_MAX};
    char cursor[64];
    write_cursor(NULL, cursor);
    for (size_t i = 0; i < COUNT(TIMES) * COUNT(TOTALS); i++) {
        struct page_position position = {.created_at = TIMES[i / COUNT(TOTALS)],
                                         .id = uuid_new(),
                                         .total = TOTALS[i % COUNT(TOTALS)]};
        struct page page;
        write_cursor(&position, cursor);
        assert_true(strlen(cursor) < CURSOR_BYTES_MAX);
        assert_int_equal(read_cursor(cursor, &page), ERROR_OK);
        assert_int_equal(page.before.created_at, position.created_at);
        assert_int_equal(page.before.total, position.total);
        assert_true(uuid_equal(&page.before.id, &position.id));
    }
}

/*
 * Every character replaced by every other one: refused, or a position whose time the database can
 * hold, so that a forged cursor is never a failed statement.
 */
static void test_mutations(void **state)
{
    (void)state;
    static const char ALPHABET[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.~";
    struct page_position position = {.created_at = 1795000000123456, .id = uuid_new(), .total = 3};
    char cursor[64];
    write_cursor(&position, cursor);
    for (size_t at = 0; cursor[at]; at++) {
        for (size_t i = 0; ALPHABET[i]; i++) {
            char spoilt[64];
            struct page page;
            memcpy(spoilt, cursor, sizeof(spoilt));
            spoilt[at] = ALPHABET[i];
            if (read_cursor(spoilt, &page))
                continue;
            assert_true(page.before.created_at >= FIRST_TIMESTAMP_US);
            assert_true(page.before.total >= -1);
        }
    }
}

/* A cursor as nobody was given it: version, list, time, sixteen zeros, total. */
struct forged {
    unsigned char version;
    uint32_t list;
    uint64_t created_at;
    uint32_t total;
};

enum { FORGED_BYTES = 33, FORGED_SIZE = BASE64URL_SIZE(FORGED_BYTES) };

static void forge(const struct forged *forged, char cursor[static FORGED_SIZE])
{
    unsigned char bytes[FORGED_BYTES] = {forged->version};
    uint32_t list = htobe32(forged->list);
    uint64_t created_at = htobe64(forged->created_at);
    uint32_t total = htobe32(forged->total);
    memcpy(bytes + 1, &list, 4);
    memcpy(bytes + 5, &created_at, 8);
    memcpy(bytes + 29, &total, 4);
    base64url_encode(bytes, sizeof(bytes), cursor);
}

static void test_forged(void **state)
{
    (void)state;
    static const uint64_t FIRST = (uint64_t)FIRST_TIMESTAMP_US;
    static const struct {
        struct forged forged;
        bool good;
    } ROWS[] = {
        {{2, LIST_A, 0, 0}, true},
        {{2, LIST_A, 0, UINT32_MAX}, true}, /* total -1: unknown */
        {{1, LIST_A, 0, 0}, false},
        {{3, LIST_A, 0, 0}, false},
        {{2, LIST_A + 1, 0, 0}, false},
        {{2, 0, 0, 0}, false},
        {{2, LIST_A, (uint64_t)INT64_MIN, 0}, false},
        {{2, LIST_A, (uint64_t)INT64_MIN + 1, 0}, false},
        {{2, LIST_A, 0, UINT32_MAX - 1}, false}, /* total -2 */
        {{2, LIST_A, 0, UINT32_C(1) << 31}, false},
    };
    char cursor[FORGED_SIZE];
    struct page page;
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        forge(&ROWS[i].forged, cursor);
        if (read_cursor(cursor, &page) != (ROWS[i].good ? ERROR_OK : ERROR_INVALID_PARAMETER))
            fail_msg("row %zu", i);
    }
    for (int off = -1; off <= 1; off++) {
        forge(&(struct forged){2, LIST_A, FIRST + (uint64_t)off, 0}, cursor);
        assert_int_equal(read_cursor(cursor, &page), off < 0 ? ERROR_INVALID_PARAMETER : ERROR_OK);
    }
    /* A character short, and one more. */
    forge(&ROWS[0].forged, cursor);
    cursor[FORGED_SIZE - 2] = '\0';
    assert_int_equal(read_cursor(cursor, &page), ERROR_INVALID_PARAMETER);
    forge(&ROWS[0].forged, cursor);
    char longer[FORGED_SIZE + 1];
    snprintf(longer, sizeof(longer), "%sA", cursor);
    assert_int_equal(read_cursor(longer, &page), ERROR_INVALID_PARAMETER);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const ROWS[] = {
        "",
        "x",
        "AQ",
        "null",
        "1",
        "%00",
        "%ff",
        "'%3B+DROP+TABLE+users%3B+--",
        "01234567-89ab-cdef-fedc-ba9876543210",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* of version 1, which named no list */
        "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "A",
    };
    struct page page;
    for (size_t i = 0; i < COUNT(ROWS); i++)
        if (read_cursor(ROWS[i], &page) == ERROR_OK)
            fail_msg("accepted: %s", ROWS[i]);
}

/* A cursor counts for the path it was given at, whatever the case of an id in it. */
static void test_another_list(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool good;
    } ROWS[] = {{"/a", true}, {"/A", true}, {"/b", false}, {"/a/", false}, {"/", false}};
    struct page_position position = {.created_at = 1, .id = uuid_new(), .total = -1};
    char cursor[64];
    struct page page;
    write_cursor(&position, cursor);
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        path = ROWS[i].path;
        if (read_cursor(cursor, &page) != (ROWS[i].good ? ERROR_OK : ERROR_INVALID_PARAMETER))
            fail_msg("%s", path);
    }
    path = "/a";
}

/* All eight bytes of the time at random: whatever is accepted is in range. */
static void test_forged_times(void **state)
{
    (void)state;
    int accepted = 0;
    for (int i = 0; i < 4096; i++) {
        struct forged forged = {.version = 2, .list = LIST_A, .total = 0};
        char cursor[FORGED_SIZE];
        struct page page;
        memcpy(&forged.created_at, uuid_new().bytes + 8, 8);
        forged.created_at = forged.created_at >> 12 | (uint64_t)i << 52;
        forge(&forged, cursor);
        if (read_cursor(cursor, &page))
            continue;
        accepted++;
        assert_true(page.before.created_at >= FIRST_TIMESTAMP_US);
    }
    assert_true(accepted > 0 && accepted < 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),      cmocka_unit_test(test_first_page),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_forged_times),
        cmocka_unit_test(test_forged),     cmocka_unit_test(test_another_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
