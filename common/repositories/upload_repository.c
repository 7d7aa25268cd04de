#include "repositories/upload_repository.h"

#include <stdlib.h>

#include "database/database.h"
#include "queries.h"
#include "repositories/row_access.h"

STATEMENT(EXPORT, .query = &query_upload_export, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_INT4),
          STATEMENT_COLUMNS(struct upload, COLUMN(struct upload, id, UUID),
                            COLUMN(struct upload, url, TEXT),
                            COLUMN(struct upload, file_path, TEXT),
                            COLUMN_NULLABLE(struct upload, quality_score, INT4),
                            COLUMN(struct upload, mime_type, TEXT),
                            COLUMN(struct upload, created_at, TIMESTAMP)));

enum error upload_repository_export(struct database *database, const struct uuid *user_id,
                                    const struct row_range *range, struct upload_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_UUID(range->after_id),
                                   PARAM_INT4(range->limit)};
    return row_access_all(database, &EXPORT, params, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

void upload_list_done(struct upload_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct upload_list){.count = 0};
}
