#include "repositories/price_repository.h"

#include "queries.h"
#include "repositories/row_access.h"

void price_done(struct price *price)
{
    rows_free(price->rows);
    price->rows = NULL;
}

#define PRICE_COLUMNS                                                         \
    COLUMN(struct price, amount, TEXT), COLUMN(struct price, currency, TEXT), \
        COLUMN(struct price, tokens, INT4)

/* A price keeps the rows that its texts are borrowed from. */
static enum error keep_rows(enum error err, const bool *found, struct rows *rows,
                            struct price *price)
{
    if (!err && *found)
        price->rows = rows;
    return err;
}

STATEMENT(FIND_PACKAGE, .query = &query_price_find_package, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_TEXT), STATEMENT_COLUMNS(struct price, PRICE_COLUMNS));

enum error price_repository_find_package(struct database *database, struct text package,
                                         struct price *ret_price, bool *ret_found)
{
    const struct param params[] = {PARAM_TEXT(package)};
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &FIND_PACKAGE, params, ret_price, ret_found, &rows);
    return keep_rows(err, ret_found, rows, ret_price);
}

STATEMENT(FIND_PLAN, .query = &query_price_find_plan, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_TEXT), STATEMENT_COLUMNS(struct price, PRICE_COLUMNS));

enum error price_repository_find_plan(struct database *database, struct text plan,
                                      struct price *ret_price, bool *ret_found)
{
    const struct param params[] = {PARAM_TEXT(plan)};
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &FIND_PLAN, params, ret_price, ret_found, &rows);
    return keep_rows(err, ret_found, rows, ret_price);
}
