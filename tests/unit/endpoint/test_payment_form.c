/* Where a payment may lead back to, and what passes for an e-mail address. */
#include "call_fixture.h"

#include "endpoint/payment_form.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char APP[] = "https://app.example,https://b.example/";

static struct call begin(struct call_fixture *f, const char *json)
{
    struct call call = {.app = &f->app, .request = &f->request, .response = &f->response};
    call_fixture_init(f, "/a");
    response_begin(&f->response, &f->fake.transport);
    buffer_append_string(&f->request.body, json);
    assert_int_equal(body_parse(&f->request, &f->response, &call.body), ERROR_OK);
    return call;
}

static void finish(struct call_fixture *f, struct call *call)
{
    body_free(call->body);
    call_fixture_done(f);
}

/* Reads a returnUrl under two settings, and compares with what is expected; NULL: refused. */
static void check_url(const char *origins, const char *fallback, const char *url,
                      const char *expected)
{
    struct call_fixture f;
    char json[512];
    struct text read = {NULL, 0};
    struct web_url room;
    snprintf(json, sizeof(json), url ? "{\"returnUrl\":\"%s\"}" : "{}", url);
    struct call call = begin(&f, json);
    f.config.allowed_origins = origins;
    f.config.payments_return_url = fallback;
    enum error err = payment_form_return_url(&call, &room, &read);
    if (err != (expected ? ERROR_OK : ERROR_INVALID_FIELD))
        fail_msg("%s: %s", json, error_describe(err)->name);
    assert_string_equal(f.response.field, expected ? "" : "returnUrl");
    if (expected && !text_equal(read, text_from(expected)))
        fail_msg("%s: %.*s", json, (int)read.len, read.data);
    finish(&f, &call);
}

static void test_defaults(void **state)
{
    (void)state;
    check_url("", "", NULL, NULL);
    check_url(APP, "", NULL, "https://app.example");
    check_url("", "https://c.example/paid", NULL, "https://c.example/paid");
    check_url(APP, "https://c.example/paid", NULL, "https://c.example/paid");
    check_url(",,https://b.example", "", NULL, "https://b.example");
}

/* What the check sees is what a browser opens. */
static void test_origins(void **state)
{
    (void)state;
    static const struct {
        const char *url, *opened; /* under APP and https://c.example/paid; NULL: refused */
    } ROWS[] = {
        {"https://app.example", "https://app.example/"},
        {"https://app.example/a?b#c", "https://app.example/a?b#c"},
        {"https://b.example/x", "https://b.example/x"},
        {"https://c.example/other", "https://c.example/other"},
        {"HTTPS://APP.Example:443/a/../b", "https://app.example/b"},
        {"https:\\\\\\\\app.example\\\\x", "https://app.example/x"},
        {" https://app.ex\\tample/ ", "https://app.example/"},
        {"https://app%2eexample/%2e%2E/x", "https://app.example/x"},
        {"https:app.example/x", "https://app.example/x"},
        {"https://app.example.evil.example/", NULL},
        {"https://evil.example/https://app.example", NULL},
        {"https://evil.example\\\\@app.example/", NULL},
        {"https://app.example\\\\.evil.example/", "https://app.example/.evil.example/"},
        {"https://app.example:8443/", NULL},
        {"http://app.example/", NULL},
        {"https://app.example@evil.example/", NULL},
        {"https://user@app.example/", NULL},
        {"https://app.example./", NULL},
        {"https://evil.example", NULL},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++)
        check_url(APP, "https://c.example/paid", ROWS[i].url, ROWS[i].opened);
    /* A list is read as browsers would, too. */
    check_url("https://App.example:443", "", "https://app.example/", "https://app.example/");
    check_url("https://\xd0\xbf\xd1\x80\xd0\xb8\xd0\xbc\xd0\xb5\xd1\x80.\xd1\x80\xd1\x84", "",
              "https://xn--e1afmkfd.xn--p1ai/", "https://xn--e1afmkfd.xn--p1ai/");
}

/* Nothing is configured: any https URL. */
static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool good;
    } ROWS[] = {
        {"https://x.example/a", true},
        {"https://x.example:8443/a", true},
        {"https://[2001:db8::1]/a", true},
        {"http://localhost/", true},
        {"http://localhost:3000/paid", true},
        {"http://localhost.evil.example/", false},
        {"http://x.example/", false},
        {"http://127.0.0.1/", false},
        {"ftp://x.example/", false},
        {"javascript:alert(1)", false},
        {"//x.example/", false},
        {"/paid", false},
        {"https://", false},
        {"https://user@x.example/", false},
        {"", false},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++)
        check_url("", "", ROWS[i].url, ROWS[i].good ? ROWS[i].url : NULL);
}

static void test_emails(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool good;
    } ROWS[] = {
        {"{}", true},
        {"{\"receiptEmail\":null}", true},
        {"{\"receiptEmail\":\"a@b\"}", true},
        {"{\"receiptEmail\":\"a.b+c@d.example\"}", true},
        {"{\"receiptEmail\":\"\"}", false},
        {"{\"receiptEmail\":\"a\"}", false},
        {"{\"receiptEmail\":\"@b\"}", false},
        {"{\"receiptEmail\":\"a@\"}", false},
        {"{\"receiptEmail\":\"a@b@c\"}", false},
        {"{\"receiptEmail\":\"a @b\"}", false},
        {"{\"receiptEmail\":\"\\u043a@b\"}", false},
        {"{\"receiptEmail\":5}", false},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct call_fixture f;
        struct text email;
        struct call call = begin(&f, ROWS[i].json);
        enum error err = payment_form_receipt_email(&call, &email);
        if (err != (ROWS[i].good ? ERROR_OK : ERROR_INVALID_FIELD))
            fail_msg("%s: %s", ROWS[i].json, error_describe(err)->name);
        assert_string_equal(f.response.field, err ? "receiptEmail" : "");
        finish(&f, &call);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_emails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
