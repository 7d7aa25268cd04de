/* /api/user and /api/stats: profile, statistics, export, erasure, linking a device. */
#include "base/public_id.h"
#include "endpoint/handler.h"
#include "services/link_service.h"
#include "services/user_service.h"

static void write_optional_int(struct json_writer *json, const char *name, bool there, int value)
{
    if (there)
        json_member_int(json, name, value);
    else
        json_member_null(json, name);
}

static void write_optional_time(struct json_writer *json, const char *name, bool there,
                                int64_t value)
{
    if (there)
        json_member_time(json, name, value);
    else
        json_member_null(json, name);
}

static void write_account(struct json_writer *json, const struct user_profile *profile)
{
    json_key(json, "user");
    json_begin_object(json);
    json_member_uuid(json, "id", &profile->id);
    json_member_text(json, "email", profile->email);
    json_member_time(json, "createdAt", profile->created_at);
    json_end_object(json);
    json_key(json, "subscription");
    if (!profile->subscription_plan.data) {
        json_null(json);
        return;
    }
    json_begin_object(json);
    json_member_text(json, "plan", profile->subscription_plan);
    json_member_text(json, "status", profile->subscription_status);
    json_member_string(json, "state", profile->has_grace_ends_at ? "past_due" : "active");
    write_optional_time(json, "periodEnd", profile->has_period_end, profile->period_end);
    write_optional_time(json, "nextAttemptAt", profile->has_next_attempt_at,
                        profile->next_attempt_at);
    write_optional_time(json, "graceEndsAt", profile->has_grace_ends_at, profile->grace_ends_at);
    json_end_object(json);
}

static void write_limits(struct json_writer *json, const struct user_profile *profile)
{
    int left = profile->daily_generations - profile->used_today;
    json_key(json, "limits");
    json_begin_object(json);
    write_optional_int(json, "dailyGenerations", profile->has_daily_generations,
                       profile->daily_generations);
    write_optional_int(json, "maxHistory", profile->has_history_max, profile->history_max);
    json_member_text(json, "quality", profile->quality);
    json_end_object(json);
    json_key(json, "usage");
    json_begin_object(json);
    json_member_int(json, "usedToday", profile->used_today);
    write_optional_int(json, "remaining", profile->has_daily_generations, left > 0 ? left : 0);
    write_optional_int(json, "maxHistory", profile->has_history_max, profile->history_max);
    json_end_object(json);
}

static enum error get_profile(struct call *call)
{
    struct user_profile profile = {.rows = NULL};
    enum error err = user_service_profile(call->app, &call->account, &profile);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    write_account(json, &profile);
    json_member_text(json, "plan", profile.plan);
    json_member_text(json, "status",
                     profile.subscription_status.data ? profile.subscription_status
                                                      : TEXT_LITERAL("active"));
    write_limits(json, &profile);
    write_optional_time(json, "periodEnd", profile.has_period_end, profile.period_end);
    response_data_end(call->response);
    user_profile_done(&profile);
    return ERROR_OK;
}

static enum error get_stats(struct call *call)
{
    struct user_stats stats;
    enum error err = user_service_stats(call->app, &call->account, &stats);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    json_key(json, "user");
    json_begin_object(json);
    json_member_int(json, "total_generations", stats.total_generations);
    json_member_int(json, "today_generations", stats.today_generations);
    json_member_int(json, "week_generations", stats.week_generations);
    json_end_object(json);
    response_data_end(call->response);
    return ERROR_OK;
}

/* The export: one JSON object a line, each with its type; the last line says that it is whole. */
struct export_stream {
    struct response *response;
    struct buffer *out; /* NULL until the first line: failures before it are answered as such */
    int64_t lines;
};

static struct json_writer begin_line(struct export_stream *stream, const char *type)
{
    struct json_writer json;
    if (!stream->out) {
        response_header(stream->response, "Content-Disposition",
                        "attachment; filename=\"dreamlens-export.jsonl\"");
        stream->out = response_stream(stream->response, "application/x-ndjson");
    }
    json_writer_init(&json, stream->out);
    json_begin_object(&json);
    json_member_string(&json, "type", type);
    return json;
}

static bool end_line(struct export_stream *stream, struct json_writer *json)
{
    json_end_object(json);
    buffer_append_char(stream->out, '\n');
    stream->lines++;
    return response_stream_flush(stream->response);
}

/* What an erasure would not remove, said beforehand. */
static bool export_kept(void *context, const struct user_export *user)
{
    struct json_writer json = begin_line(context, "kept_after_erasure");
    json_member_string(&json, "what",
                       "a keyed digest (HMAC-SHA256) of each identity, so that bonuses, free "
                       "generations and limits are once a person; and the ledger, without a name");
    json_member_int(&json, "identityDigestDays", user->digest_days);
    return end_line(context, &json);
}

static bool export_user(void *context, const struct user_export *user)
{
    struct json_writer json = begin_line(context, "user");
    json_member_uuid(&json, "id", &user->id);
    json_member_text(&json, "clerkId", user->clerk_id);
    json_member_text(&json, "deviceId", user->device_id);
    json_member_text(&json, "email", user->email);
    json_member_text(&json, "telegramId", user->telegram_id);
    json_member_text(&json, "firstName", user->first_name);
    json_member_text(&json, "lastName", user->last_name);
    json_member_text(&json, "username", user->username);
    json_member_text(&json, "photoUrl", user->photo_url);
    json_member_text(&json, "languageCode", user->language_code);
    json_member_text(&json, "vkId", user->vk_id);
    json_member_text(&json, "yandexId", user->yandex_id);
    json_member_time(&json, "createdAt", user->created_at);
    json_member_time(&json, "updatedAt", user->updated_at);
    json_member_int(&json, "balance", user->balance);
    json_member_int(&json, "held", user->held);
    if (user->has_last_bonus_date)
        json_member_date(&json, "lastBonusDate", user->last_bonus_date);
    json_member_boolean(&json, "welcomeBonus", user->welcome);
    write_optional_time(&json, "usedBefore", user->has_used_before, user->used_before);
    return end_line(context, &json) && export_kept(context, user);
}

static bool export_identity(void *context, const struct user_identity *identity)
{
    struct json_writer json = begin_line(context, "identity");
    json_member_text(&json, "identity", identity->identity);
    return end_line(context, &json);
}

static bool export_subscription(void *context, const struct subscription *subscription)
{
    struct json_writer json = begin_line(context, "subscription");
    json_member_uuid(&json, "id", &subscription->id);
    json_member_text(&json, "plan", subscription->plan);
    json_member_text(&json, "status", subscription->status);
    write_optional_time(&json, "periodStart", subscription->has_current_period_start,
                        subscription->current_period_start);
    write_optional_time(&json, "periodEnd", subscription->has_current_period_end,
                        subscription->current_period_end);
    json_member_boolean(&json, "cancelAtPeriodEnd", subscription->cancel_at_period_end);
    json_member_text(&json, "paymentMethodId", subscription->payment_method_id);
    json_member_time(&json, "createdAt", subscription->created_at);
    return end_line(context, &json);
}

static bool export_payment(void *context, const struct payment *payment)
{
    struct json_writer json = begin_line(context, "payment");
    json_member_uuid(&json, "id", &payment->id);
    json_member_text(&json, "providerId", payment->provider_id);
    json_member_text(&json, "purpose", payment->purpose);
    json_member_text(&json, "amount", payment->amount);
    json_member_text(&json, "currency", payment->currency);
    json_member_text(&json, "status", payment->status);
    json_member_text(&json, "package", payment->token_package);
    json_member_text(&json, "plan", payment->plan);
    write_optional_int(&json, "tokens", payment->has_tokens_amount, payment->tokens_amount);
    json_member_text(&json, "refundedAmount", payment->refunded_amount);
    json_member_text(&json, "cancellationReason", payment->cancellation_reason);
    json_member_text(&json, "confirmationUrl", payment->confirmation_url);
    json_member_text(&json, "request", payment->request_body);
    json_member_time(&json, "createdAt", payment->created_at);
    return end_line(context, &json);
}

static bool export_refund(void *context, const struct refund *refund)
{
    struct json_writer json = begin_line(context, "refund");
    json_member_uuid(&json, "id", &refund->id);
    json_member_uuid(&json, "paymentId", &refund->payment_id);
    json_member_text(&json, "providerId", refund->provider_id);
    json_member_text(&json, "amount", refund->amount);
    json_member_text(&json, "currency", refund->currency);
    json_member_text(&json, "status", refund->status);
    json_member_int(&json, "tokensTaken", refund->tokens_taken);
    json_member_int(&json, "tokensOwed", refund->tokens_owed);
    json_member_text(&json, "request", refund->request_body);
    json_member_time(&json, "createdAt", refund->created_at);
    return end_line(context, &json);
}

static bool export_generation(void *context, const struct generation *generation)
{
    struct json_writer json = begin_line(context, "generation");
    json_member_uuid(&json, "id", &generation->id);
    json_member_text(&json, "imageUrl", generation->image_url);
    json_member_text(&json, "promptUsed", generation->prompt_used);
    json_member_text(&json, "trend", generation->trend);
    json_member_text(&json, "quality", generation->quality);
    json_member_text(&json, "status", generation->status);
    json_member_text(&json, "errorMessage", generation->error_message);
    json_member_time(&json, "createdAt", generation->created_at);
    json_member_time(&json, "updatedAt", generation->updated_at);
    return end_line(context, &json);
}

static bool export_upload(void *context, const struct upload *upload)
{
    struct json_writer json = begin_line(context, "upload");
    json_member_uuid(&json, "id", &upload->id);
    json_member_text(&json, "url", upload->url);
    json_member_text(&json, "filePath", upload->file_path);
    if (upload->has_quality_score)
        json_member_int(&json, "qualityScore", upload->quality_score);
    json_member_text(&json, "mimeType", upload->mime_type);
    json_member_time(&json, "createdAt", upload->created_at);
    return end_line(context, &json);
}

static bool export_transaction(void *context, const struct transaction *transaction)
{
    char id[PUBLIC_ID_SIZE];
    struct json_writer json = begin_line(context, "transaction");
    public_id_format(&transaction->user_id, &transaction->id, id);
    json_member_string(&json, "id", id);
    json_member_int(&json, "amount", transaction->amount);
    json_member_text(&json, "kind", transaction->type);
    json_member_text(&json, "description", transaction->description);
    json_member_int(&json, "balanceAfter", transaction->balance_after);
    json_member_time(&json, "createdAt", transaction->created_at);
    return end_line(context, &json);
}

static bool export_usage(void *context, const struct usage_entry *entry)
{
    struct json_writer json = begin_line(context, "usage");
    json_member_uuid(&json, "id", &entry->id);
    json_member_text(&json, "action", entry->action);
    json_member_text(&json, "ipAddress", entry->ip_address);
    json_member_time(&json, "createdAt", entry->created_at);
    return end_line(context, &json);
}

static bool export_hold(void *context, const struct hold_entry *hold)
{
    struct json_writer json = begin_line(context, "hold");
    json_member_uuid(&json, "id", &hold->id);
    json_member_int(&json, "amount", hold->amount);
    json_member_text(&json, "status", hold->status);
    json_member_text(&json, "description", hold->description);
    json_member_time(&json, "expiresAt", hold->expires_at);
    json_member_time(&json, "createdAt", hold->created_at);
    write_optional_time(&json, "settledAt", hold->has_settled_at, hold->settled_at);
    return end_line(context, &json);
}

static enum error export_all(struct call *call)
{
    struct export_stream stream = {.response = call->response};
    struct export_sink sink = {
        .context = &stream,
        .user = export_user,
        .identity = export_identity,
        .subscription = export_subscription,
        .payment = export_payment,
        .refund = export_refund,
        .generation = export_generation,
        .upload = export_upload,
        .transaction = export_transaction,
        .hold = export_hold,
        .usage = export_usage,
    };
    enum error err = user_service_export(call->app, &call->account, &sink);
    if (err)
        return err;
    int64_t lines = stream.lines;
    struct json_writer json = begin_line(&stream, "end");
    json_member_int(&json, "lines", lines);
    end_line(&stream, &json);
    return ERROR_OK;
}

static enum error erase(struct call *call)
{
    enum error err = user_service_erase(call->app, &call->account);
    if (err)
        return err;
    response_empty(call->response, 204);
    return ERROR_OK;
}

static enum error link_device(struct call *call)
{
    struct identity device;
    bool moved = false;
    if (identity_from_device(request_param(call->request, "HTTP_X_DEVICE_ID"), &device))
        return response_invalid(call->response, ERROR_INVALID_PARAMETER, "X-Device-Id",
                                "expected device_ and 13 to 248 letters, digits, - or _");
    enum error err = link_service_link(call->app, &call->account, &device, &moved);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    json_member_boolean(json, "linked", true);
    response_data_end(call->response);
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/user", .access = ACCESS_PERSON, .run = get_profile},
        {"DELETE", "/api/user", .access = ACCESS_PERSON, .run = erase},
        {"POST", "/api/user/link", .access = ACCESS_CLERK, .run = link_device},
        {"GET", "/api/user/stats", .access = ACCESS_ACCOUNT, .run = get_stats},
        {"GET", "/api/stats", .access = ACCESS_ACCOUNT, .run = get_stats},
        {"GET", "/api/user/export", .access = ACCESS_PERSON, .run = export_all},
    };
    static const struct handler HANDLER = {
        .name = "user",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    return handler_main(&HANDLER, argc, argv);
}
