/* Every variable of CONFIG_TABLE: its default, good values, and refusal by name without the value.
 */
#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "base/limits.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum kind { KIND_TEXT, KIND_SECRET, KIND_NUMBER, KIND_CHOICE };

static const struct row {
    enum kind kind;
    const char *field, *variable, *fallback;
    long least, most;
    const char *choices;
    size_t offset;
} ROWS[] = {
#define ROW(kind, field, variable, fallback, least, most, choices) \
    {KIND_##kind, #field, variable, fallback, least, most, choices, offsetof(struct config, field)},
    CONFIG_TABLE(ROW)
#undef ROW
};

static int clear_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ROWS); i++)
        unsetenv(ROWS[i].variable);
    return 0;
}

static const void *field_of(const struct config *config, const struct row *row)
{
    return (const char *)config + row->offset;
}

static const char *text_of(const struct config *config, const struct row *row)
{
    return *(const char *const *)field_of(config, row);
}

static int number_of(const struct config *config, const struct row *row)
{
    return *(const int *)field_of(config, row);
}

static void load_ok(const char *variable, const char *value, struct config *ret_config)
{
    char problem[256] = "";
    if (variable)
        setenv(variable, value, 1);
    enum error err = config_load(ret_config, problem);
    assert_string_equal(problem, "");
    assert_int_equal(err, ERROR_OK);
}

static void assert_refused(const struct row *row, const char *value)
{
    struct config config;
    char problem[256] = "";
    setenv(row->variable, value, 1);
    if (config_load(&config, problem) != ERROR_NOT_CONFIGURED)
        fail_msg("%s accepted %s", row->variable, value);
    assert_memory_equal(problem, row->variable, strlen(row->variable));
    assert_int_equal(problem[strlen(row->variable)], ':');
    assert_null(strstr(problem, value));
    assert_null(strchr(problem, '\n'));
    unsetenv(row->variable);
}

static void test_defaults(void **state)
{
    (void)state;
    struct config config;
    struct config empty;
    load_ok(NULL, NULL, &config);
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        if (ROWS[i].kind == KIND_NUMBER)
            assert_int_equal(number_of(&config, &ROWS[i]), atoi(ROWS[i].fallback));
        else if (ROWS[i].kind != KIND_CHOICE)
            assert_string_equal(text_of(&config, &ROWS[i]), ROWS[i].fallback);
        setenv(ROWS[i].variable, "", 1);
    }
    assert_int_equal(config.log_level, 1); /* info */
    assert_int_equal(config.db_prepared, CONFIG_PREPARED_AUTO);
    load_ok(NULL, NULL, &empty);
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        if (ROWS[i].kind == KIND_NUMBER || ROWS[i].kind == KIND_CHOICE)
            assert_int_equal(number_of(&config, &ROWS[i]), number_of(&empty, &ROWS[i]));
        else
            assert_string_equal(text_of(&config, &ROWS[i]), text_of(&empty, &ROWS[i]));
    }
}

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct config config;
        if (ROWS[i].kind != KIND_TEXT && ROWS[i].kind != KIND_SECRET)
            continue;
        load_ok(ROWS[i].variable, "any text, пусть, and 32 bytes long", &config);
        assert_string_equal(text_of(&config, &ROWS[i]), "any text, пусть, and 32 bytes long");
        for (long len = 1; ROWS[i].kind == KIND_SECRET && len < ROWS[i].least; len++) {
            char value[64] = "0123456789012345678901234567890";
            value[len] = '\0';
            assert_refused(&ROWS[i], value);
        }
        unsetenv(ROWS[i].variable);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        const struct row *row = &ROWS[i];
        struct config config;
        char value[32];
        if (row->kind != KIND_NUMBER)
            continue;
        long good[] = {row->least, row->most, (row->least + row->most) / 2};
        for (size_t n = 0; n < COUNT(good); n++) {
            snprintf(value, sizeof(value), "%ld", good[n]);
            load_ok(row->variable, value, &config);
            assert_int_equal(number_of(&config, row), good[n]);
        }
        snprintf(value, sizeof(value), "%ld.0", row->least);
        assert_refused(row, value);
        snprintf(value, sizeof(value), "0%ld", row->most + 1);
        assert_refused(row, value);
        snprintf(value, sizeof(value), "-%ld", row->most + 1);
        assert_refused(row, value);
        static const char *const BAD[] = {
            "many",      "0x7Q", "+7", " 7", "7 ", "7;", "４", "1e2", "99999999999999999999",
            "4294967297"};
        for (size_t n = 0; n < COUNT(BAD); n++)
            assert_refused(row, BAD[n]);
    }
}

static void test_choices(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        const struct row *row = &ROWS[i];
        if (row->kind != KIND_CHOICE)
            continue;
        char choices[128];
        char *saved = NULL;
        int index = 0;
        snprintf(choices, sizeof(choices), "%s", row->choices);
        for (char *item = strtok_r(choices, ",", &saved); item;
             item = strtok_r(NULL, ",", &saved)) {
            struct config config;
            load_ok(row->variable, item, &config);
            assert_int_equal(number_of(&config, row), index++);
        }
        assert_refused(row, "never heard of");
        assert_refused(row, "INFO");
        assert_refused(row, ";");
        assert_refused(row, "info ");
    }
}

static void test_database_url(void **state)
{
    (void)state;
    struct config config;
    load_ok(NULL, NULL, &config);
    assert_string_equal(config_database_url(&config), "");
    load_ok("DATABASE_URL", "second", &config);
    assert_string_equal(config_database_url(&config), "second");
    assert_string_equal(config_database_variable(&config), "DATABASE_URL");
    load_ok("POSTGRES_URL", "first", &config);
    assert_string_equal(config_database_url(&config), "first");
    assert_string_equal(config_database_variable(&config), "POSTGRES_URL");
}

static bool is_listed(const char *variable)
{
    const char *name;
    for (size_t i = 0; (name = config_variable(i)); i++)
        if (strcmp(name, variable) == 0)
            return true;
    return false;
}

/* What scripts/up passes on: our own variables and those of libpq, each once, and no shell's. */
static void test_names_of_all_variables(void **state)
{
    (void)state;
    const char *name;
    size_t count = 0;
    for (; (name = config_variable(count)); count++)
        for (size_t i = 0; i < count; i++)
            assert_string_not_equal(config_variable(i), name);
    assert_true(count > COUNT(ROWS));
    for (size_t i = 0; i < COUNT(ROWS); i++)
        assert_string_equal(config_variable(i), ROWS[i].variable);
    PQconninfoOption *options = PQconndefaults();
    assert_non_null(options);
    for (PQconninfoOption *option = options; option->keyword; option++)
        if (option->envvar && !is_listed(option->envvar))
            fail_msg("libpq reads %s", option->envvar);
    PQconninfoFree(options);
    static const char *const OTHERS[] = {"PATH", "HOME", "LD_PRELOAD", "STATE_DIR", "TLS_KEY"};
    for (size_t i = 0; i < COUNT(OTHERS); i++)
        assert_false(is_listed(OTHERS[i]));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup(function, clear_environment)
    const struct CMUnitTest tests[] = {
        TEST(test_defaults), TEST(test_texts),        TEST(test_numbers),
        TEST(test_choices),  TEST(test_database_url), TEST(test_names_of_all_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
