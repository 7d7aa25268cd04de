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

#include "database/flight.h"
#include "queries.h"

/* Every statement as it is sent: those that are registered, and what does many of one that flies.
 */
static struct statement *all;
static size_t all_count;

static int collect(void **state)
{
    (void)state;
    size_t count;
    const struct statement *const *registered = statement_all(&count);
    all = calloc(2 * count, sizeof(*all));
    if (!all)
        return 1;
    for (size_t i = 0; i < count; i++) {
        all[all_count++] = *registered[i];
        if (registered[i]->flight)
            flight_statement(registered[i], &all[all_count++]);
    }
    return 0;
}

static int forget(void **state)
{
    (void)state;
    free(all);
    return 0;
}

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
    for (size_t i = 0; i < all_count; i++) {
        const struct query *query = all[i].query;
        assert_in_range(query->index, 0, QUERY_COUNT - 1);
        declared[query->index]++;
        if (declared[query->index] > 1)
            fail_msg("%s.sql is declared twice", query->name);
    }
    free(declared);
    assert_int_equal(all_count, QUERY_COUNT);
}

static void test_names_fit_the_server(void **state)
{
    (void)state;
    for (size_t i = 0; i < all_count; i++) {
        const struct query *query = all[i].query;
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
    size_t count;
    const struct statement *const *registered = statement_all(&count);
    for (size_t i = 0; i < count; i++) {
        assert_in_range(registered[i]->param_count, 0, PARAMS_MAX);
        assert_in_range(registered[i]->column_count, 1, COLUMNS_MAX);
        check_columns(registered[i]);
    }
}

/* An array for each parameter, and the place before the columns. */
static void test_flights(void **state)
{
    (void)state;
    size_t count;
    size_t flying = 0;
    const struct statement *const *registered = statement_all(&count);
    for (size_t i = 0; i < count; i++) {
        const struct statement *statement = registered[i];
        struct statement together;
        if (!statement->flight)
            continue;
        flight_statement(statement, &together);
        flying++;
        assert_ptr_equal(together.query, statement->flight);
        assert_int_equal(together.kind, statement->kind);
        assert_int_equal(together.param_count, statement->param_count);
        for (size_t j = 0; j < statement->param_count; j++) {
            char array[32];
            snprintf(array, sizeof(array), "%s_ARRAY", sql_type_name(statement->params[j]));
            assert_string_equal(sql_type_name(together.params[j]), array);
        }
        assert_int_equal(together.column_count, statement->column_count + 1);
        assert_string_equal(together.columns[0].name, "place");
        for (size_t j = 0; j < statement->column_count; j++)
            assert_string_equal(together.columns[j + 1].name, statement->columns[j].name);
    }
    assert_int_equal(flying, 6);
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
    for (size_t i = 0; PQstatus(connection) == CONNECTION_OK && i < all_count; i++)
        json_object_array_add(list, describe(connection, &all[i]));
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
        cmocka_unit_test(test_flights),
        cmocka_unit_test(test_type_ids),
    };
    if (argc == 3 && strcmp(argv[1], "--describe") == 0)
        return collect(NULL) ? 1 : describe_all(argv[2]);
    return cmocka_run_group_tests(TESTS, collect, forget);
}
