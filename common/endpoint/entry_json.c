#include "endpoint/entry_json.h"

#include "base/public_id.h"

static void write_entry(struct json_writer *json, const struct transaction *entry)
{
    char id[PUBLIC_ID_SIZE];
    public_id_format(&entry->user_id, &entry->id, id);
    json_begin_object(json);
    json_member_string(json, "id", id);
    json_member_int(json, "amount", entry->amount);
    json_member_text(json, "type", entry->type);
    json_member_text(json, "description", entry->description);
    json_member_int(json, "balanceAfter", entry->balance_after);
    json_member_time(json, "createdAt", entry->created_at);
    json_end_object(json);
}

void entry_json_page(struct json_writer *json, const char *name,
                     const struct transaction_list *list, const struct page *page)
{
    size_t limit = (size_t)page->limit;
    bool more = list->count > limit;
    size_t count = more ? limit : list->count;
    json_key(json, name);
    json_begin_array(json);
    for (size_t i = 0; i < count; i++)
        write_entry(json, &list->items[i]);
    json_end_array(json);
    struct page_position last = {.total = -1};
    if (more) {
        last.created_at = list->items[count - 1].created_at;
        last.id = list->items[count - 1].id;
    }
    page_write_cursor(json, page, more ? &last : NULL);
}
