/*
 * Every statement of the library against the files of sql/queries and, when the Python tests call
 * it with a connection string, against a real database:
 *
 *     test_statements --describe URL
 *
 * prints all statements as JSON, with what the server says of each, and exits with 1 when a
 * declared parameter or column is not the server's; the differences are lines on standard error.
 */
#include "database/statement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <libpq-fe.h>

#include "queries.h"

/* Made by the linker: the first and the end of the section that STATEMENT fills. */
extern const struct statement *const __start_statements[];
extern const struct statement *const __stop_statements[];

static size_t field_size(enum sql_type type)
{
    static const size_t SIZES[SQL_TYPE_COUNT] = {
#define FIELD_SIZE(name, oid, c_type) [SQL_##name] = sizeof(c_type),
        SQL_TYPE_TABLE(FIELD_SIZE)
#undef FIELD_SIZE
    };
    return SIZES[type];
}

static void test_each_query_is_declared_once(void **state)
{
    (void)state;
    size_t *declared = calloc(QUERY_COUNT, sizeof(*declared));
    assert_non_null(declared);
    size_t statements = 0;
    for (const struct statement *const *s = __start_statements; s < __stop_statements; s++) {
        assert_in_range((*s)->query->index, 0, QUERY_COUNT - 1);
        declared[(*s)->query->index]++;
        statements++;
        if (declared[(*s)->query->index] > 1)
            fail_msg("%s.sql is declared twice", (*s)->query->name);
    }
    free(declared);
    assert_int_equal(statements, QUERY_COUNT);
}

static void test_names_fit_the_server(void **state)
{
    (void)state;
    for (const struct statement *const *s = __start_statements; s < __stop_statements; s++) {
        const struct query *query = (*s)->query;
        /* PostgreSQL cuts an identifier at 63 bytes; two cut names could be one. */
        assert_in_range(strlen(query->prepared_name), 1, 63);
        assert_int_equal(strncmp(query->prepared_name, query->name, strlen(query->name)), 0);
        assert_true(query->text[0] != '\0');
    }
}

static void check_columns(const struct statement *statement)
{
    bool *taken = calloc(statement->row_size + 1, sizeof(*taken));
    assert_non_null(taken);
    for (size_t i = 0; i < statement->column_count; i++) {
        const struct column *column = &statement->columns[i];
        size_t end = column->offset + field_size(column->type);
        if (end > statement->row_size)
            fail_msg("%s.%s ends outside of its row", statement->query->name, column->name);
        for (size_t at = column->offset; at < end; at++) {
            if (taken[at])
                fail_msg("%s.%s overlaps another", statement->query->name, column->name);
            taken[at] = true;
        }
        if (column->null_offset == NO_NULL_FLAG)
            continue;
        assert_in_range(column->null_offset, 0, statement->row_size - 1);
        assert_false(taken[column->null_offset]);
        taken[column->null_offset] = true;
    }
    free(taken);
}

static void test_columns_fit_their_rows(void **state)
{
    (void)state;
    for (const struct statement *const *s = __start_statements; s < __stop_statements; s++) {
        assert_in_range((*s)->param_count, 0, PARAMS_MAX);
        assert_in_range((*s)->column_count, 1, COLUMNS_MAX);
        check_columns(*s);
    }
}

/* The types of rows and parameters have fixed ids; a text parameter must not become another. */
static void test_type_ids(void **state)
{
    (void)state;
    assert_int_equal(sql_type_oid(SQL_UUID), 2950);
    assert_int_equal(sql_type_oid(SQL_TEXT), 25);
    assert_string_equal(sql_type_name(SQL_TIMESTAMP), "TIMESTAMP");
}

static int complaints;

__attribute__((format(printf, 2, 3))) static void complain(const struct statement *statement,
                                                           const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", statement->query->name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    complaints++;
}

static json_object *describe_params(const struct statement *statement, const PGresult *described)
{
    json_object *list = json_object_new_array();
    if (PQnparams(described) != statement->param_count)
        complain(statement, "declared with %d parameters, the server expects %d",
                 statement->param_count, PQnparams(described));
    for (int i = 0; i < statement->param_count; i++) {
        unsigned expected = sql_type_oid(statement->params[i]);
        if (i < PQnparams(described) && PQparamtype(described, i) != expected)
            complain(statement, "$%d is declared %u, the server expects %u", i + 1, expected,
                     PQparamtype(described, i));
        json_object_array_add(list, json_object_new_string(sql_type_name(statement->params[i])));
    }
    return list;
}

static json_object *describe_columns(const struct statement *statement, const PGresult *described)
{
    json_object *list = json_object_new_array();
    if (PQnfields(described) != statement->column_count)
        complain(statement, "declared with %d columns, the server returns %d",
                 statement->column_count, PQnfields(described));
    for (int i = 0; i < statement->column_count && i < PQnfields(described); i++) {
        const struct column *column = &statement->columns[i];
        if (strcmp(PQfname(described, i), column->name) != 0)
            complain(statement, "column %d is declared %s, the server returns %s", i + 1,
                     column->name, PQfname(described, i));
        if (PQftype(described, i) != sql_type_oid(column->type))
            complain(statement, "column %s is declared %s, the server returns type %u",
                     column->name, sql_type_name(column->type), PQftype(described, i));
        json_object *entry = json_object_new_object();
        json_object_object_add(entry, "name", json_object_new_string(column->name));
        json_object_object_add(entry, "type", json_object_new_string(sql_type_name(column->type)));
        json_object_object_add(entry, "nullable",
                               json_object_new_boolean(column->null_offset != NO_NULL_FLAG));
        json_object_object_add(entry, "table", json_object_new_int64(PQftable(described, i)));
        json_object_object_add(entry, "table_column",
                               json_object_new_int(PQftablecol(described, i)));
        json_object_array_add(list, entry);
    }
    return list;
}

static json_object *describe(PGconn *connection, const struct statement *statement)
{
    const struct query *query = statement->query;
    Oid types[PARAMS_MAX] = {0};
    json_object *entry = json_object_new_object();
    for (int i = 0; i < statement->param_count; i++)
        types[i] = sql_type_oid(statement->params[i]);
    PGresult *result =
        PQprepare(connection, query->prepared_name, query->text, statement->param_count, types);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        complain(statement, "cannot be prepared: %s", PQresultErrorMessage(result));
    PQclear(result);
    result = PQdescribePrepared(connection, query->prepared_name);
    json_object_object_add(entry, "name", json_object_new_string(query->name));
    json_object_object_add(entry, "text", json_object_new_string(query->text));
    json_object_object_add(
        entry, "kind",
        json_object_new_string(statement->kind == STATEMENT_READ ? "read" : "write"));
    json_object_object_add(entry, "params", describe_params(statement, result));
    json_object_object_add(entry, "columns", describe_columns(statement, result));
    PQclear(result);
    return entry;
}

static int describe_all(const char *url)
{
    PGconn *connection = PQconnectdb(url);
    json_object *list = json_object_new_array();
    if (PQstatus(connection) != CONNECTION_OK) {
        fprintf(stderr, "cannot connect: %s", PQerrorMessage(connection));
        complaints++;
    }
    for (const struct statement *const *s = __start_statements;
         PQstatus(connection) == CONNECTION_OK && s < __stop_statements; s++)
        json_object_array_add(list, describe(connection, *s));
    puts(json_object_to_json_string(list));
    json_object_put(list);
    PQfinish(connection);
    return complaints > 0;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(test_each_query_is_declared_once),
        cmocka_unit_test(test_names_fit_the_server),
        cmocka_unit_test(test_columns_fit_their_rows),
        cmocka_unit_test(test_type_ids),
    };
    if (argc == 3 && strcmp(argv[1], "--describe") == 0)
        return describe_all(argv[2]);
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
