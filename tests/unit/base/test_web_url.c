/* URLs as a browser opens them: rows from the rules of url.spec.whatwg.org, and what is refused. */
#include "base/web_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct row {
    const char *input, *href; /* NULL: refused */
};

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct web_url url;
        bool good = !web_url_parse(text_from(rows[i].input), &url);
        if (good != (rows[i].href != NULL))
            fail_msg("%s: %s", rows[i].input, good ? url.href : "refused");
        if (good && strcmp(url.href, rows[i].href) != 0)
            fail_msg("%s: %s", rows[i].input, url.href);
        if (good)
            assert_int_equal(strlen(url.href), web_url_href(&url).len);
    }
}

static void test_scheme_and_slashes(void **state)
{
    (void)state;
    static const struct row ROWS[] = {
        {"https://a.example", "https://a.example/"},
        {"HTTPS://A.Example/B", "https://a.example/B"},
        {"http://a.example/", "http://a.example/"},
        {"https:a.example", "https://a.example/"},
        {"https:/a.example", "https://a.example/"},
        {"https:////a.example/b", "https://a.example/b"},
        {"https:\\\\a.example\\b\\c", "https://a.example/b/c"},
        {"https:/\\a.example/", "https://a.example/"},
        {"  https://a.example/b  ", "https://a.example/b"},
        {"\x01\x1f https://a.example/", "https://a.example/"},
        {"ht\ntps://a.exa\tmple/\rb", "https://a.example/b"},
        {"ftp://a.example/", NULL},
        {"javascript:alert(1)", NULL},
        {"//a.example/", NULL},
        {"/b", NULL},
        {"a.example", NULL},
        {"https", NULL},
        {"https:", NULL},
        {"https://", NULL},
        {"https:///", NULL},
        {"https://?b", NULL},
        {"", NULL},
    };
    check(ROWS, COUNT(ROWS));
}

static void test_host(void **state)
{
    (void)state;
    static const struct row ROWS[] = {
        {"https://a.example:443/", "https://a.example/"},
        {"https://a.example:0443/", "https://a.example/"},
        {"https://a.example:/", "https://a.example/"},
        {"https://a.example:80/", "https://a.example:80/"},
        {"http://a.example:80/", "http://a.example/"},
        {"https://a.example:65535/", "https://a.example:65535/"},
        {"https://a.example:0/", "https://a.example:0/"},
        {"https://a.example:65536/", NULL},
        {"https://a.example:8a/", NULL},
        {"https://a.example:-1/", NULL},
        {"https://:443/", NULL},
        {"https://a%2eexample/", "https://a.example/"},
        {"https://%61.example/", "https://a.example/"},
        {"https://a%00.example/", NULL},
        {"https://a%2f.example/", NULL},
        {"https://a%40b.example/", NULL},
        {"https://a%zz.example/", NULL},
        {"https://a b.example/", NULL},
        {"https://a^b.example/", NULL},
        {"https://a_b.example/", "https://a_b.example/"},
        {"https://a.example./", "https://a.example./"},
        /* Punycode: RFC 3492; mapped as UTS #46 says. */
        {"https://b\xc3\xbc"
         "cher.example/",
         "https://xn--bcher-kva.example/"},
        {"https://B%C3%9CCHER.example/", "https://xn--bcher-kva.example/"},
        {"https://\xd0\xbf\xd1\x80\xd0\xb8\xd0\xbc\xd0\xb5\xd1\x80.\xd1\x80\xd1\x84/",
         "https://xn--e1afmkfd.xn--p1ai/"},
        {"https://XN--e1afmkfd.xn--p1ai/", "https://xn--e1afmkfd.xn--p1ai/"},
        {"https://\xef\xbd\x81\xef\xbc\x8e"
         "example/",
         "https://a.example/"}, /* full-width letter and full stop */
        {"https://a\xe3\x80\x82"
         "example/",
         "https://a.example/"}, /* ideographic full stop */
        {"https://a\xe2\x84\x80"
         "b.example/",
         NULL}, /* U+2100 maps to a/c */
        {"https://a%ff.example/", NULL},
        {"https://127.0.0.1/", "https://127.0.0.1/"},
        {"https://1.2.3.4.example/", "https://1.2.3.4.example/"},
        {"https://127.1/", NULL},
        {"https://0x7f.0.0.1/", NULL},
        {"https://2130706433/", NULL},
        {"https://1.2.3.256/", NULL},
        {"https://1.2.3.4./", NULL},
        {"https://[2001:DB8:0:0::1]/", "https://[2001:db8::1]/"},
        {"https://[::1]:8443/", "https://[::1]:8443/"},
        {"https://[::1/", NULL},
        {"https://[::1]a/", NULL},
        {"https://[fe80::1%25eth0]/", NULL},
        {"https://[a.example]/", NULL},
    };
    check(ROWS, COUNT(ROWS));
}

/* What stands before an at sign is no host, whatever it looks like. */
static void test_names_before_the_host(void **state)
{
    (void)state;
    static const struct row ROWS[] = {
        {"https://user@a.example/", NULL},
        {"https://user:password@a.example/", NULL},
        {"https://a.example@evil.example/", NULL},
        {"https://a.example\\@evil.example/", "https://a.example/@evil.example/"},
        {"https://a.example%40evil.example/", NULL},
        {"https://@a.example/", NULL},
        {"https://a.example/@b", "https://a.example/@b"},
        {"https://a.example?@b", "https://a.example/?@b"},
        {"https://a.example#@b", "https://a.example/#@b"},
    };
    check(ROWS, COUNT(ROWS));
}

static void test_path_query_fragment(void **state)
{
    (void)state;
    static const struct row ROWS[] = {
        {"https://a.example/b/../c", "https://a.example/c"},
        {"https://a.example/../../b", "https://a.example/b"},
        {"https://a.example/b/./c", "https://a.example/b/c"},
        {"https://a.example/b/%2E%2e/c", "https://a.example/c"},
        {"https://a.example/b/.%2e", "https://a.example/"},
        {"https://a.example/b/c/..", "https://a.example/b/"},
        {"https://a.example/b/.", "https://a.example/b/"},
        {"https://a.example/b\\..\\c", "https://a.example/c"},
        {"https://a.example/...", "https://a.example/..."},
        {"https://a.example/b//c", "https://a.example/b//c"},
        {"https://a.example//..", "https://a.example/"},
        {"https://a.example/%2f%5c", "https://a.example/%2f%5c"},
        {"https://a.example/b c\"<>`{}^|", "https://a.example/b%20c%22%3C%3E%60%7B%7D%5E|"},
        {"https://a.example/\xd0\xbf", "https://a.example/%D0%BF"},
        {"https://a.example/%", "https://a.example/%"},
        {"https://a.example?b=\\c d'\"", "https://a.example/?b=\\c%20d%27%22"},
        {"https://a.example/?", "https://a.example/?"},
        {"https://a.example/?b?c#d#e", "https://a.example/?b?c#d#e"},
        {"https://a.example/#", "https://a.example/#"},
        {"https://a.example/#b c'`<\xd0\xbf", "https://a.example/#b%20c'%60%3C%D0%BF"},
        {"https://a.example/?../..", "https://a.example/?../.."},
    };
    check(ROWS, COUNT(ROWS));
}

static void test_parts(void **state)
{
    (void)state;
    struct web_url url;
    assert_false(web_url_parse(TEXT_LITERAL("HTTPS://A.example:8443/b?c#d"), &url));
    assert_true(text_equal(web_url_origin(&url), TEXT_LITERAL("https://a.example:8443")));
    assert_true(text_equal(web_url_host(&url), TEXT_LITERAL("a.example")));
    assert_true(url.secure);
    assert_false(web_url_parse(TEXT_LITERAL("http://[::1]:80"), &url));
    assert_true(text_equal(web_url_origin(&url), TEXT_LITERAL("http://[::1]")));
    assert_true(text_equal(web_url_host(&url), TEXT_LITERAL("[::1]")));
    assert_false(url.secure);
}

/* The form is what is capped: a character that is encoded takes three times its room. */
static void test_lengths(void **state)
{
    (void)state;
    static const char HEAD[] = "https://a.example/";
    char input[URL_BYTES_MAX + 2];
    struct web_url url;
    memset(input, 'x', sizeof(input));
    memcpy(input, HEAD, sizeof(HEAD) - 1);
    assert_false(web_url_parse((struct text){input, URL_BYTES_MAX}, &url));
    assert_int_equal(url.len, URL_BYTES_MAX);
    assert_true(web_url_parse((struct text){input, URL_BYTES_MAX + 1}, &url));
    input[URL_BYTES_MAX - 1] = '"';
    assert_true(web_url_parse((struct text){input, URL_BYTES_MAX}, &url));
    assert_false(web_url_parse((struct text){input, URL_BYTES_MAX - 1}, &url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scheme_and_slashes),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_names_before_the_host),
        cmocka_unit_test(test_path_query_fragment),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
