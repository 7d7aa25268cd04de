/* Whose page a request comes from, by what its browser says. */
#include "auth/origin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char EVIL[] = "https://evil.example";
static const char OWN[] = "api.example";
static const char ALLOWED[] = "https://app.example/, http://localhost:3000";

static const struct {
    const char *origin, *referer, *fetch_site, *host;
    bool trusted;
} TRUSTED[] = {
    /* An origin that is listed, whatever the browser calls the relation. */
    {"https://app.example", NULL, NULL, OWN, true},
    {"https://app.example", NULL, "cross-site", OWN, true},
    {"https://app.example", NULL, "same-site", NULL, true},
    {"http://localhost:3000", NULL, "cross-site", OWN, true},
    {"http://app.example", NULL, NULL, OWN, false},
    {"https://app.example:8443", NULL, NULL, OWN, false},
    {"https://app.example.evil.example", NULL, NULL, OWN, false},
    {"https://localhost:3000", NULL, NULL, OWN, false},
    /* The address that is asked. */
    {"https://api.example", NULL, NULL, OWN, true},
    {"https://api.example", NULL, NULL, "API.example", true},
    {"https://api.example", NULL, NULL, "api.example:443", true},
    {"https://api.example:8443", NULL, NULL, "api.example:8443", true},
    {"https://[::1]:8443", NULL, NULL, "[::1]:8443", true},
    {"https://api.example:8443", NULL, NULL, OWN, false},
    {"https://api.example", NULL, NULL, "api.example:8443", false},
    {"http://api.example", NULL, NULL, OWN, false},
    {"https://api.example.evil.example", NULL, NULL, OWN, false},
    {"https://evil.api.example", NULL, "same-site", OWN, false},
    {"https://", NULL, NULL, "", false},
    {"https://", NULL, NULL, NULL, false},
    {"https://", NULL, NULL, ":443", false},
    /* Strangers, and what is no origin. */
    {EVIL, NULL, NULL, OWN, false},
    {EVIL, NULL, "cross-site", OWN, false},
    {EVIL, NULL, "none", OWN, false},
    {EVIL, "https://app.example/", NULL, OWN, false},
    {"null", "https://app.example/", NULL, OWN, false},
    {"", "https://app.example/", NULL, OWN, false},
    {"app.example", NULL, NULL, OWN, false},
    /* The browser's own word, where a proxy changed Host or a policy took Origin away. */
    {"https://public.example", NULL, "same-origin", "backend.internal", true},
    {"null", NULL, "same-origin", OWN, true},
    {NULL, NULL, "same-origin", OWN, true},
    {NULL, NULL, "Same-Origin", OWN, false},
    {NULL, NULL, "same-site", OWN, false},
    {NULL, NULL, "cross-site", OWN, false},
    {NULL, NULL, "none", OWN, false},
    {NULL, NULL, "", OWN, false},
    /* Referer, where a browser sends nothing else. */
    {NULL, "https://app.example/page?x=1#y", NULL, OWN, true},
    {NULL, "https://app.example", NULL, OWN, true},
    {NULL, "https://api.example/", NULL, OWN, true},
    {NULL, "https://api.example?x", NULL, OWN, true},
    {NULL, "http://localhost:3000/x", NULL, OWN, true},
    {NULL, "https://evil.example/https://app.example", NULL, OWN, false},
    {NULL, "https://evil.example?https://app.example", NULL, OWN, false},
    {NULL, "https://evil.example#https://app.example", NULL, OWN, false},
    {NULL, "https://app.example@evil.example/", NULL, OWN, false},
    {NULL, "http://api.example/", NULL, OWN, false},
    {NULL, "about:blank", NULL, OWN, false},
    {NULL, "", NULL, OWN, false},
    /* A program that is no browser and says nothing. */
    {NULL, NULL, NULL, OWN, false},
    {NULL, NULL, NULL, NULL, false},
};

static void test_trusted(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(TRUSTED); i++) {
        struct origin_headers headers = {
            .origin = text_from(TRUSTED[i].origin),
            .referer = text_from(TRUSTED[i].referer),
            .fetch_site = text_from(TRUSTED[i].fetch_site),
            .host = text_from(TRUSTED[i].host),
        };
        if (origin_is_trusted(&headers, ALLOWED) != TRUSTED[i].trusted)
            fail_msg("row %zu", i);
        /* Without a list, the own address and the browser's word are left. */
        bool own = TRUSTED[i].trusted && !origin_is_listed(ALLOWED, headers.origin) &&
                   (!TRUSTED[i].referer || !strstr(TRUSTED[i].referer, "app.example")) &&
                   (!TRUSTED[i].referer || !strstr(TRUSTED[i].referer, "localhost"));
        if (origin_is_trusted(&headers, "") != own)
            fail_msg("row %zu without a list", i);
    }
}

static void test_listed(void **state)
{
    (void)state;
    static const struct {
        const char *origins, *origin;
        bool listed;
    } ROWS[] = {
        {"https://a.example", "https://a.example", true},
        {" https://a.example// , https://b.example ", "https://a.example", true},
        {" https://a.example// , https://b.example ", "https://b.example", true},
        {"https://a.example", "https://a.example/", false},
        {"https://a.example", "https://A.example", false},
        {",,/,", "", false},
        {",,/,", "/", false},
        {"", "", false},
        {"", "https://a.example", false},
        {NULL, "https://a.example", false},
        {"https://a.example", NULL, false},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++)
        if (origin_is_listed(ROWS[i].origins, text_from(ROWS[i].origin)) != ROWS[i].listed)
            fail_msg("row %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trusted),
        cmocka_unit_test(test_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
