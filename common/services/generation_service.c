#include "services/generation_service.h"

#include "services/usage_service.h"

struct recording {
    struct new_generation generation;
    const struct operation_key *key;
    struct generation_answer answer; /* result */
};

/* The operation id is made of the account's: one that was opened anew is found by it next time. */
static enum error record(struct app *app, const struct uuid *user_id, void *context)
{
    struct recording *recording = context;
    recording->generation.operation = operation_make(recording->key, user_id);
    enum error err = generation_repository_record(app->database, user_id, &recording->generation,
                                                  &recording->answer);
    bool missing = !err && recording->answer.usage.result == USAGE_NO_ACCOUNT;
    return missing ? ERROR_USER_NOT_FOUND : err;
}

enum error generation_service_record(struct app *app, struct account *account,
                                     const struct generation_draft *draft,
                                     struct generation_recorded *ret_recorded)
{
    struct recording recording = {.generation = draft->generation, .key = draft->key};
    /* A generation counts against the free ones of the day, which the balance answer tells. */
    enum error err = account_service_write(app, account, record, &recording);
    if (err)
        return err;
    const struct new_generation *generation = &recording.generation;
    ret_recorded->usage = recording.answer.usage;
    ret_recorded->generation = (struct generation){
        .id = generation->operation.id,
        .user_id = account->user_id,
        .image_url = generation->image_url,
        .prompt_used = generation->prompt_used,
        .trend = generation->trend,
        .quality = generation->quality,
        .status = TEXT_LITERAL("completed"),
        .created_at = recording.answer.created_at,
        .updated_at = recording.answer.created_at,
    };
    return usage_service_error(recording.answer.usage.result);
}

enum error generation_service_list(struct app *app, const struct account *account,
                                   const struct row_page *page, struct generation_list *ret_list)
{
    return generation_repository_list(app->database, &account->user_id, page, ret_list);
}

enum error generation_service_count(struct app *app, const struct account *account,
                                    int64_t *ret_total)
{
    return generation_repository_count(app->database, &account->user_id, ret_total);
}

enum error generation_service_delete(struct app *app, const struct account *account,
                                     const struct uuid *id)
{
    bool deleted = false;
    enum error err = generation_repository_delete(app->database, &account->user_id, id, &deleted);
    return !err && !deleted ? ERROR_NOT_FOUND : err;
}
