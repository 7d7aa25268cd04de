/* Networks: the provider's published list at its borders, both families, and what is no network. */
#include "base/networks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define PUBLISHED                                                    \
    "185.71.76.0/27,185.71.77.0/27,77.75.153.0/25,77.75.154.128/25," \
    "77.75.156.11,77.75.156.35,2a02:5180::/32"

static const struct {
    const char *networks, *address;
    bool contained;
} CONTAIN[] = {
    {PUBLISHED, "185.71.76.0", true},
    {PUBLISHED, "185.71.76.31", true},
    {PUBLISHED, "185.71.76.32", false},
    {PUBLISHED, "185.71.75.255", false},
    {PUBLISHED, "185.71.77.31", true},
    {PUBLISHED, "185.71.78.0", false},
    {PUBLISHED, "77.75.153.127", true},
    {PUBLISHED, "77.75.153.128", false},
    {PUBLISHED, "77.75.154.127", false},
    {PUBLISHED, "77.75.154.128", true},
    {PUBLISHED, "77.75.154.255", true},
    {PUBLISHED, "77.75.156.10", false},
    {PUBLISHED, "77.75.156.11", true},
    {PUBLISHED, "77.75.156.12", false},
    {PUBLISHED, "77.75.156.35", true},
    {PUBLISHED, "2a02:5180::", true},
    {PUBLISHED, "2a02:5180:ffff:ffff:ffff:ffff:ffff:ffff", true},
    {PUBLISHED, "2A02:5180::1", true},
    {PUBLISHED, "2a02:5181::", false},
    {PUBLISHED, "2a02:517f:ffff::", false},
    {PUBLISHED, "127.0.0.1", false},
    {PUBLISHED, "::1", false},
    /* IPv4 in IPv6 clothes counts as what it is. */
    {PUBLISHED, "::ffff:185.71.76.1", true},
    {PUBLISHED, "::ffff:b947:4c01", true},
    {PUBLISHED, "::ffff:185.71.76.32", false},
    /* Forms of addresses that only look like one. */
    {PUBLISHED, "::185.71.76.1", false},
    {PUBLISHED, "64:ff9b::185.71.76.1", false},
    {PUBLISHED, "185.71.76.01", false},
    {PUBLISHED, "185.71.19457", false},
    {PUBLISHED, "0xb9.71.76.1", false},
    {PUBLISHED, " 185.71.76.1", false},
    {PUBLISHED, "185.71.76.1 ", false},
    {PUBLISHED, "185.71.76.1,1.2.3.4", false},
    {PUBLISHED, "185.71.76.0/27", false},
    {PUBLISHED, "185.71.76.1:443", false},
    {PUBLISHED, "2a02:5180::%eth0", false},
    {PUBLISHED, "[2a02:5180::]", false},
    {PUBLISHED, "", false},
    {PUBLISHED, "unix:", false},
    {"0.0.0.0/0", "255.1.2.3", true},
    {"0.0.0.0/0", "::1", false},
    {"::/0", "::1", true},
    {"::/0", "1.2.3.4", false},
    {"::/0", "::ffff:1.2.3.4", false},
    {"::ffff:10.0.0.0/104", "10.1.2.3", true},
    {"::ffff:10.0.0.0/104", "11.1.2.3", false},
    {"127.0.0.0/8", "127.255.255.255", true},
    {"127.0.0.0/8", "128.0.0.0", false},
    {"10.0.0.0/9", "10.127.255.255", true},
    {"10.0.0.0/9", "10.128.0.0", false},
    {"10.0.0.2/31", "10.0.0.3", true},
    {"10.0.0.2/31", "10.0.0.4", false},
    {"10.0.0.2/32", "10.0.0.2", true},
    {"10.0.0.2/32", "10.0.0.3", false},
    {"2001:db8::8/125", "2001:db8::f", true},
    {"2001:db8::8/125", "2001:db8::10", false},
    {" 10.0.0.1 , 10.0.0.2\t", "10.0.0.2", true},
    {"", "10.0.0.1", false},
    /* An item that is none does not let anybody in. */
    {"no,10.0.0.0/8", "10.0.0.1", true},
    {"10.0.0.0/", "10.0.0.0", false},
    {"10.0.0.0/-1", "10.0.0.0", false},
};

static void test_contain(void **state)
{
    (void)state;
    static const struct text ABSENT = {NULL, 0};
    for (size_t i = 0; i < COUNT(CONTAIN); i++)
        if (networks_contain(text_from(CONTAIN[i].networks), text_from(CONTAIN[i].address)) !=
            CONTAIN[i].contained)
            fail_msg("%s in %s", CONTAIN[i].address, CONTAIN[i].networks);
    assert_false(networks_contain(ABSENT, TEXT_LITERAL("10.0.0.1")));
    assert_false(networks_contain(TEXT_LITERAL("10.0.0.0/8"), ABSENT));
    static const struct text WITH_NUL = {"10.0.0.1\0", 9};
    assert_false(networks_contain(TEXT_LITERAL("10.0.0.0/8"), WITH_NUL));
}

static void test_valid(void **state)
{
    (void)state;
    static const char *const VALID[] = {
        PUBLISHED, "127.0.0.0/8", "::/0",    "0.0.0.0/0",           "1.2.3.4",
        "::1",     "1.2.3.4/32",  "::1/128", "::ffff:10.0.0.0/104", " 10.0.0.1 , 10.0.0.2",
    };
    static const char *const INVALID[] = {
        "",
        " ",
        ",",
        "10.0.0.1,",
        ",10.0.0.1",
        "10.0.0.1,,10.0.0.2",
        "10.0.0.1/24",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "/8",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "10.0.0.0/a",
        "10.0.0/8",
        "10.0.0.0/+8",
        "10.0.0.0/ 8",
        "10.0.0.256",
        "::1/127",
        "::/129",
        "2a02:5180::1/32",
        "::ffff:10.0.0.0/8",
        "::ffff:0:0/95",
        "example.org",
        "10.0.0.1 10.0.0.2",
        "10.0.0.1;::1",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/4294967304",
    };
    for (size_t i = 0; i < COUNT(VALID); i++)
        if (!networks_valid(text_from(VALID[i])))
            fail_msg("%s was refused", VALID[i]);
    for (size_t i = 0; i < COUNT(INVALID); i++)
        if (networks_valid(text_from(INVALID[i])))
            fail_msg("%s was accepted", INVALID[i]);
    assert_false(networks_valid((struct text){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contain),
        cmocka_unit_test(test_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
