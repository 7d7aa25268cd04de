#include "services/payment_provider.h"

#include <stdio.h>

#include "base/config.h"
#include "base/limits.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "repositories/reconcile_repository.h"

int32_t payment_provider_lease_seconds(const struct app *app, int32_t calls)
{
    return calls * (app->config->yookassa_timeout_ms / 1000 + 1) + PAYMENT_LEASE_SPARE_SECONDS;
}

static const char *word(enum yookassa_result result)
{
    switch (result) {
    case YOOKASSA_DONE:
        return "done";
    case YOOKASSA_REFUSED:
        return "refused";
    case YOOKASSA_DENIED:
        return "denied";
    case YOOKASSA_NOT_FOUND:
        return "not_found";
    case YOOKASSA_LATER:
        return "later";
    case YOOKASSA_UNKNOWN:
        return "unknown";
    }
    return "unknown";
}

/* An absent text would be logged as a number. */
static struct text text_or_empty(struct text text)
{
    return text.data ? text : TEXT_LITERAL("");
}

void payment_provider_report(const struct app *app, const char *call,
                             const struct yookassa_answer *answer)
{
    char labels[METRIC_LABELS_BYTES_MAX];
    snprintf(labels, sizeof(labels), "call=\"%s\",result=\"%s\"", call, word(answer->result));
    metric_add(metrics_series(app->metrics, "payment_provider_calls_total", labels), 1);
    if (answer->skipped > 0)
        log_event(app->log, LOG_ERROR, "payment provider: objects that are not understood",
                  LOG_STRING("call", call), LOG_NUMBER("count", (int64_t)answer->skipped));
    if (answer->result == YOOKASSA_DONE || answer->result == YOOKASSA_NOT_FOUND)
        return;
    /* What was refused would be refused again: somebody has to look. */
    bool ours = answer->result == YOOKASSA_REFUSED || answer->result == YOOKASSA_DENIED;
    log_event(app->log, ours ? LOG_ERROR : LOG_WARNING, "payment provider",
              LOG_STRING("call", call), LOG_STRING("result", word(answer->result)),
              LOG_NUMBER("status", answer->status),
              LOG_TEXT("code", text_or_empty(answer->error_code)),
              LOG_TEXT("parameter", text_or_empty(answer->error_parameter)));
}

void payment_provider_difference(const struct app *app, struct text kind, struct text provider_id)
{
    char labels[METRIC_LABELS_BYTES_MAX];
    snprintf(labels, sizeof(labels), "kind=\"%.*s\"", (int)kind.len, kind.data);
    metric_add(metrics_series(app->metrics, "payment_differences_total", labels), 1);
    log_event(app->log, LOG_WARNING, "payment difference", LOG_TEXT("kind", kind),
              LOG_TEXT("provider_id", provider_id));
}

enum error payment_provider_blocked(const struct app *app, struct text kind, const char *action)
{
    bool is_new = false;
    const struct payment_difference difference = {
        .kind = kind,
        .provider_id = TEXT_LITERAL(DIFFERENCE_SHOP),
        .details = text_from(action),
    };
    log_event(app->log, LOG_ERROR, "payment provider: the operator has to act",
              LOG_TEXT("kind", kind), LOG_STRING("action", action));
    enum error err = reconcile_repository_record_difference(app->database, &difference, &is_new);
    if (!err && is_new)
        payment_provider_difference(app, kind, difference.provider_id);
    return err;
}

enum error payment_provider_denied(const struct app *app)
{
    return payment_provider_blocked(
        app, TEXT_LITERAL("denied"),
        "YooKassa denies the shop: check YOOKASSA_SHOP_ID and YOOKASSA_SECRET_KEY");
}
