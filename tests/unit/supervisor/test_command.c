/* The lines of the control socket, good and bad. */
#include "supervisor/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_commands(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum command_kind kind;
        const char *argument;
    } ROWS[] = {
        {"restart tokens", COMMAND_RESTART, "tokens"},
        {"restart all", COMMAND_RESTART, "all"},
        {"start usage", COMMAND_START, "usage"},
        {"status", COMMAND_STATUS, NULL},
        {"stop", COMMAND_STOP, NULL},
        /* What a name may be is not this module's to say. */
        {"start a b", COMMAND_START, "a b"},
        {"restart ", COMMAND_RESTART, ""},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        char line[64];
        struct command command;
        snprintf(line, sizeof(line), "%s", ROWS[i].line);
        assert_true(command_parse(line, &command));
        assert_int_equal(command.kind, ROWS[i].kind);
        if (ROWS[i].argument)
            assert_string_equal(command.argument, ROWS[i].argument);
        else
            assert_null(command.argument);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const LINES[] = {
        "",        " ",       "restart", "start",      "status tokens", "stop now", "Status",
        "statusx", " status", "stat",    "reload all", "status ",       "stop\r",
    };
    for (size_t i = 0; i < COUNT(LINES); i++) {
        char line[64];
        struct command command = {.kind = COMMAND_STOP, .argument = "untouched"};
        snprintf(line, sizeof(line), "%s", LINES[i]);
        assert_false(command_parse(line, &command));
        assert_string_equal(command.argument, "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
