#include "endpoint/hold_json.h"

#include "base/public_id.h"

static void write_entry(struct json_writer *json, const struct hold *hold)
{
    char id[PUBLIC_ID_SIZE];
    if (!hold->has_captured || !hold->has_entry_user_id) {
        json_member_null(json, "captured");
        json_member_null(json, "transactionId");
        return;
    }
    public_id_format(&hold->entry_user_id, &hold->id, id);
    json_member_int(json, "captured", hold->captured);
    json_member_string(json, "transactionId", id);
}

void hold_json(struct json_writer *json, const struct hold *hold)
{
    char id[PUBLIC_ID_SIZE];
    public_id_format(&hold->user_id, &hold->id, id);
    json_begin_object(json);
    json_member_string(json, "holdId", id);
    json_member_uuid(json, "userId", &hold->user_id);
    json_member_text(json, "status", hold->status);
    json_member_int(json, "amount", hold->amount);
    write_entry(json, hold);
    json_member_text(json, "description", hold->description);
    json_member_time(json, "createdAt", hold->created_at);
    json_member_time(json, "expiresAt", hold->expires_at);
    json_end_object(json);
}

void hold_json_page(struct json_writer *json, const struct hold_list *list, const struct page *page)
{
    size_t limit = (size_t)page->limit;
    bool more = list->count > limit;
    size_t count = more ? limit : list->count;
    json_key(json, "holds");
    json_begin_array(json);
    for (size_t i = 0; i < count; i++)
        hold_json(json, &list->items[i]);
    json_end_array(json);
    struct page_position last = {.total = -1};
    if (more) {
        last.created_at = list->items[count - 1].created_at;
        last.id = list->items[count - 1].id;
    }
    page_write_cursor(json, page, more ? &last : NULL);
}
