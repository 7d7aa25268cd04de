/* The same answer again costs no body. */
#include "call_fixture.h"

#include "endpoint/etag.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static enum error answer(struct call *call)
{
    json_member_int(response_data(call->response, 200), "price", 99);
    response_data_end(call->response);
    etag_answer(call);
    return ERROR_OK;
}

/* SHA-256 of {"success":true,"data":{"price":99}}, the first 16 bytes. */
#define TAG "869f7c7f08edd20f9edda42c3db49d32"

static void test_etag(void **state)
{
    (void)state;
    static const struct {
        const char *if_none_match;
        int status;
    } ROWS[] = {
        {NULL, 200},
        {"", 200},
        {"\"" TAG "\"", 304},
        {"W/\"" TAG "\"", 304},
        {"\"x\", \"" TAG "\"", 304},
        {"*", 304},
        {TAG, 200},
        {"\"x\"", 200},
        {"W/", 200},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct call_fixture f;
        const struct route route = {"POST", "/a", .access = ACCESS_PUBLIC,
                                    .cache_control = "public", .run = answer};
        call_fixture_init(&f, "/a");
        call_fixture_param(&f, "HTTP_IF_NONE_MATCH", ROWS[i].if_none_match);
        if (call_fixture_serve(&f, &route) != ROWS[i].status)
            fail_msg("row %zu: %s", i, fake_sent(&f.fake));
        assert_true(call_fixture_answered(&f, "ETag: \"" TAG "\"\r\n"));
        assert_true(call_fixture_answered(&f, "Cache-Control: public\r\n"));
        assert_int_equal(call_fixture_answered(&f, "price"), ROWS[i].status == 200);
        assert_int_equal(call_fixture_answered(&f, "Content-Length"), ROWS[i].status == 200);
        call_fixture_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_etag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
