#include "repositories/provider_state.h"

#include <string.h>

#include "repositories/outcome.h"
#include "repositories/row_access.h"

enum error provider_state_apply(struct database *database, const struct statement *statement,
                                const struct param *params, struct applied *ret_applied)
{
    static const char *const WORDS[] = {[APPLY_DONE] = "applied",
                                        [APPLY_UNCHANGED] = "unchanged",
                                        [APPLY_CONFLICT] = "conflict",
                                        [APPLY_UNCREDITED] = "uncredited"};
    struct applied_row row;
    struct rows *rows = NULL;
    bool found;
    int outcome = APPLY_NOT_FOUND;
    char kind[DIFFERENCE_KIND_SIZE] = "";
    enum error err = row_access_one(database, statement, params, &row, &found, &rows);
    if (!err && found)
        err = OUTCOME_READ(WORDS, row.outcome, &outcome);
    if (!err && found && !text_copy(row.kind, kind, sizeof(kind)))
        err = ERROR_INTERNAL;
    rows_free(rows);
    if (err)
        return err;
    ret_applied->outcome = (enum apply_outcome)outcome;
    memcpy(ret_applied->kind, kind, sizeof(kind));
    return ERROR_OK;
}
