/* What scripts/embed-sql made: texts that are the files to the byte, numbers without a gap. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "database/function.h"
#include "database/migration.h"
#include "database/statement.h"

static void hexadecimal(struct text data, char ret_text[static 2 * DIGEST_BYTES + 1])
{
    unsigned char digest[DIGEST_BYTES];
    digest_sha256(data, digest);
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        snprintf(ret_text + 2 * i, 3, "%02x", digest[i]);
}

/* The checksum is of the file, so it is the text's own if quotes and backslashes came through. */
static void test_migrations(void **state)
{
    (void)state;
    assert_in_range(MIGRATION_COUNT, 1, MIGRATIONS_MAX);
    for (size_t i = 0; i < MIGRATION_COUNT; i++) {
        char checksum[2 * DIGEST_BYTES + 1];
        const struct migration *migration = &MIGRATIONS[i];
        hexadecimal(text_from(migration->text), checksum);
        assert_string_equal(migration->checksum, checksum);
        assert_int_equal(migration->version, i + 1);
        assert_true(migration->name[0] != '\0' && migration->name[0] != '_');
        assert_true(text_is_utf8(text_from(migration->text)));
    }
}

/* By name, each once; the declaration is what stands before LANGUAGE. */
static void test_functions(void **state)
{
    (void)state;
    assert_true(FUNCTION_COUNT > 1);
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        char digest[2 * DIGEST_BYTES + 1];
        const struct function *function = &FUNCTIONS[i];
        hexadecimal(text_from(function->text), digest);
        assert_string_equal(function->digest, digest);
        assert_true(i == 0 || strcmp(FUNCTIONS[i - 1].name, function->name) < 0);
        const char *bare = strncmp(function->declaration, "public.", 7) == 0
                               ? function->declaration + 7
                               : function->declaration;
        size_t length = strlen(function->name);
        assert_memory_equal(bare, function->name, length);
        assert_int_equal(bare[length], '(');
        assert_non_null(strstr(bare, ") RETURNS "));
        assert_null(strstr(bare, "LANGUAGE"));
        assert_null(strpbrk(bare, "\n$"));
        assert_null(strstr(bare, "  "));
        char created[128];
        snprintf(created, sizeof(created), "CREATE OR REPLACE FUNCTION %.*s(",
                 (int)(bare + length - function->declaration), function->declaration);
        assert_non_null(strstr(function->text, created));
    }
}

static void check_query(const struct query *query)
{
    char checksum[2 * DIGEST_BYTES + 1];
    char prepared_name[128];
    struct text text = text_from(query->text);
    assert_true(text.len > 1 && text.data[text.len - 1] == '\n');
    hexadecimal((struct text){text.data, text.len - 1}, checksum);
    snprintf(prepared_name, sizeof(prepared_name), "%s_%.8s", query->name, checksum);
    assert_string_equal(query->prepared_name, prepared_name);
    assert_true(strlen(prepared_name) < 64); /* NAMEDATALEN: longer names are cut */
    assert_null(strstr(query->text, "\n\n"));
    assert_null(strstr(query->text, "\n--"));
    assert_true(query->index < QUERY_COUNT);
}

/* Every embedded query belongs to a statement, by itself or as a flight, and no two to one. */
static void test_queries(void **state)
{
    (void)state;
    size_t count;
    size_t queries = 0;
    const struct statement *const *statements = statement_all(&count);
    bool *seen = calloc(QUERY_COUNT, sizeof(*seen));
    assert_non_null(seen);
    for (size_t i = 0; i < 2 * count; i++) {
        const struct statement *statement = statements[i / 2];
        const struct query *query = i % 2 == 0 ? statement->query : statement->flight;
        if (!query)
            continue;
        check_query(query);
        assert_false(seen[query->index]);
        seen[query->index] = true;
        queries++;
    }
    free(seen);
    assert_int_equal(queries, QUERY_COUNT);
}

/* Each parameter that is declared occurs in the text, and none beyond. */
static void check_params(const struct query *query, unsigned declared)
{
    unsigned highest = 0;
    for (const char *at = strchr(query->text, '$'); at; at = strchr(at + 1, '$')) {
        unsigned number = 0;
        if (isdigit((unsigned char)at[1]) && sscanf(at + 1, "%u", &number) == 1 && number > highest)
            highest = number;
    }
    if (highest != declared)
        fail_msg("%s: $%u, %u declared", query->name, highest, declared);
}

static void test_params(void **state)
{
    (void)state;
    size_t count;
    const struct statement *const *statements = statement_all(&count);
    for (size_t i = 0; i < count; i++) {
        check_params(statements[i]->query, statements[i]->param_count);
        if (statements[i]->flight)
            check_params(statements[i]->flight, statements[i]->param_count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migrations),
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_params),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
