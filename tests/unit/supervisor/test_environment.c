/* The environment file of the programs: what is taken, what is replaced, what does not fit. */
#include "supervisor/environment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/dl-unit-environment-XXXXXX";

static void write_file(const char *bytes, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void test_entries(void **state)
{
    (void)state;
    static const char BYTES[] = "A=1\0B=two\nlines\0NOTIFY_SOCKET=/elsewhere\0EMPTY=\0";
    struct environment environment;
    write_file(BYTES, sizeof(BYTES) - 1);
    assert_true(environment_load(path, "/state", &environment));
    assert_string_equal(environment.entries[0], "A=1");
    assert_string_equal(environment.entries[1], "B=two\nlines");
    assert_string_equal(environment.entries[2], "EMPTY=");
    assert_string_equal(environment.entries[3], "NOTIFY_SOCKET=/state/notify.sock");
    assert_null(environment.entries[4]);
    environment_done(&environment);
}

static void test_an_empty_file(void **state)
{
    (void)state;
    struct environment environment;
    write_file("", 0);
    assert_true(environment_load(path, "/state", &environment));
    assert_string_equal(environment.entries[0], "NOTIFY_SOCKET=/state/notify.sock");
    assert_null(environment.entries[1]);
    environment_done(&environment);
}

static void test_our_own(void **state)
{
    (void)state;
    struct environment environment;
    bool found = false;
    setenv("DL_UNIT", "here", 1);
    assert_true(environment_load(NULL, "/state", &environment));
    for (char **entry = environment.entries; *entry; entry++)
        found = found || strcmp(*entry, "DL_UNIT=here") == 0;
    assert_true(found);
    environment_done(&environment);
}

static void test_what_does_not_fit(void **state)
{
    (void)state;
    struct environment environment;
    size_t size = 2 * (ENVIRONMENT_ENTRIES_MAX + 1);
    char *bytes = malloc(ENVIRONMENT_BYTES_MAX);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i += 2) {
        bytes[i] = 'A';
        bytes[i + 1] = '\0';
    }
    write_file(bytes, size);
    assert_false(environment_load(path, "/state", &environment));
    environment_done(&environment);
    write_file(bytes, size - 2);
    assert_true(environment_load(path, "/state", &environment));
    assert_non_null(environment.entries[ENVIRONMENT_ENTRIES_MAX]);
    assert_null(environment.entries[ENVIRONMENT_ENTRIES_MAX + 1]);
    environment_done(&environment);
    memset(bytes, 'A', ENVIRONMENT_BYTES_MAX);
    write_file(bytes, ENVIRONMENT_BYTES_MAX);
    assert_false(environment_load(path, "/state", &environment));
    environment_done(&environment);
    free(bytes);
}

static void test_no_file(void **state)
{
    (void)state;
    struct environment environment;
    assert_false(environment_load("/no/such/file", "/state", &environment));
    environment_done(&environment);
}

static int make(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int clean(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries), cmocka_unit_test(test_an_empty_file),
        cmocka_unit_test(test_our_own), cmocka_unit_test(test_what_does_not_fit),
        cmocka_unit_test(test_no_file),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
