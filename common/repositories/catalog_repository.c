#include "repositories/catalog_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/row_access.h"

void package_list_done(struct package_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct package_list){.count = 0};
}

void plan_list_done(struct plan_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct plan_list){.count = 0};
}

STATEMENT(PACKAGES, .query = &query_package_list, .kind = STATEMENT_READ,
          STATEMENT_COLUMNS(struct package, COLUMN(struct package, package, TEXT),
                            COLUMN(struct package, tokens, INT4),
                            COLUMN(struct package, price, TEXT),
                            COLUMN(struct package, currency, TEXT)));

enum error catalog_repository_packages(struct database *database, struct package_list *ret_list)
{
    return row_access_all(database, &PACKAGES, NULL, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

STATEMENT(PLANS, .query = &query_plan_list, .kind = STATEMENT_READ,
          STATEMENT_COLUMNS(struct plan, COLUMN(struct plan, plan, TEXT),
                            COLUMN_NULLABLE(struct plan, daily_generations, INT4),
                            COLUMN_NULLABLE(struct plan, history_max, INT4),
                            COLUMN(struct plan, quality, TEXT), COLUMN(struct plan, price, TEXT),
                            COLUMN(struct plan, currency, TEXT)));

enum error catalog_repository_plans(struct database *database, struct plan_list *ret_list)
{
    return row_access_all(database, &PLANS, NULL, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}
