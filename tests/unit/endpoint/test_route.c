/* Which routes are refused, what each says of itself, and that a handler with a bad one stops. */
#include "endpoint/handler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static enum error run(struct call *call)
{
    response_empty(call->response, 204);
    return ERROR_OK;
}

static void start(struct call *call)
{
    call_answer(call, ERROR_OK);
}

static void test_problems(void **state)
{
    (void)state;
    static const struct {
        struct route route;
        const char *problem; /* part of it; NULL for none */
    } ROWS[] = {
        {{"GET", "/a", .run = run}, "no access"},
        {{"GET", "/a", .access = ACCESS_COUNT, .run = run}, "no access"},
        {{"GET", "/a", .access = (enum access) - 1, .run = run}, "no access"},
        {{"GET", "/a", .access = ACCESS_PUBLIC}, "either run or start"},
        {{"GET", "/a", .access = ACCESS_PUBLIC, .run = run, .start = start}, "either run or start"},
        {{"GET", "/a/{id}", .access = ACCESS_PUBLIC, .run = run}, "id"},
        {{"GET", "/a", .access = ACCESS_PUBLIC, .id = ROUTE_ID_UUID, .run = run}, "id"},
        {{"POST", "/a", .access = ACCESS_PUBLIC, .idempotent = true, .run = run}, "nobody's"},
        {{"POST", "/a", .access = ACCESS_INIT_SECRET, .idempotent = true, .run = run}, "nobody's"},
        {{"POST", "/a", .access = ACCESS_PROVIDER, .idempotent = true, .run = run}, "nobody's"},
        {{"POST", "/a", .access = ACCESS_LOOPBACK, .idempotent = true, .run = run}, "nobody's"},
        {{"GET", "/a", .access = ACCESS_PUBLIC, .run = run}, NULL},
        {{"GET", "/a", .access = ACCESS_PUBLIC, .start = start}, NULL},
        {{"POST", "/a", .access = ACCESS_ACCOUNT, .idempotent = true, .run = run}, NULL},
        {{"POST", "/a", .access = ACCESS_CLERK, .idempotent = true, .run = run}, NULL},
        {{"POST", "/a", .access = ACCESS_SERVICE_SPEND, .idempotent = true, .run = run}, NULL},
        {{"POST", "/a", .access = ACCESS_SERVICE_REFUND, .idempotent = true, .run = run}, NULL},
        {{"GET", "/a/{id}/b", .access = ACCESS_ACCOUNT, .id = ROUTE_ID_PUBLIC, .run = run}, NULL},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        const char *problem = route_problem(&ROWS[i].route);
        if (!problem != !ROWS[i].problem || (problem && !strstr(problem, ROWS[i].problem)))
            fail_msg("row %zu: %s", i, problem ? problem : "accepted");
    }
}

static void test_personal(void **state)
{
    (void)state;
    for (enum access access = ACCESS_PUBLIC; access < ACCESS_COUNT; access++) {
        const struct route route = {.access = access};
        assert_int_equal(route_is_personal(&route), access != ACCESS_PUBLIC &&
                                                        access != ACCESS_PROVIDER &&
                                                        access != ACCESS_LOOPBACK);
    }
}

/* What handler_main prints and returns, in a child. POSTGRES_URL is not set: it cannot start. */
static int main_in_child(const struct handler *handler, const char *argument, char text[static 512])
{
    char *argv[] = {(char *)"test", (char *)argument, NULL};
    FILE *output = tmpfile();
    int status;
    assert_non_null(output);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fileno(output), STDOUT_FILENO);
        dup2(fileno(output), STDERR_FILENO);
        unsetenv("POSTGRES_URL");
        unsetenv("DATABASE_URL");
        status = handler_main(handler, argument ? 2 : 1, argv);
        fflush(NULL);
        _exit(status);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rewind(output);
    text[fread(text, 1, 511, output)] = '\0';
    fclose(output);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_handler(void **state)
{
    (void)state;
    static const struct route OPEN[] = {
        {"GET", "/good", .access = ACCESS_PUBLIC, .run = run},
        {"POST", "/forgotten", .run = run},
    };
    static const struct route GOOD[] = {
        {"POST", "/good/{id}", .access = ACCESS_SERVICE_HOLD, .idempotent = true, .body = true,
         .id = ROUTE_ID_PUBLIC, .start = start},
    };
    struct handler handler = {.name = "test", .routes = OPEN, .route_count = COUNT(OPEN)};
    char text[512];
    assert_int_equal(main_in_child(&handler, NULL, text), EX_SOFTWARE);
    assert_string_equal(text, "test: POST /forgotten declares no access\n");
    assert_int_equal(main_in_child(&handler, "--routes", text), EX_SOFTWARE);

    handler.routes = GOOD;
    handler.route_count = COUNT(GOOD);
    assert_int_equal(main_in_child(&handler, NULL, text), EX_CONFIG);
    assert_non_null(strstr(text, "POSTGRES_URL"));
    assert_int_equal(main_in_child(&handler, "--routes", text), 0);
    assert_string_equal(text, "POST   /good/{id}                                 service:hold "
                              "key body\n");
    assert_int_equal(main_in_child(&handler, "--help", text), EX_USAGE);
    assert_string_equal(text, "test: expected no argument, or --routes\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_problems),
        cmocka_unit_test(test_personal),
        cmocka_unit_test(test_handler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
