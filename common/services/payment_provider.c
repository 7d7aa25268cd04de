#include "services/payment_provider.h"

#include <stdio.h>

#include "base/config.h"
#include "base/limits.h"
#include "observe/log.h"
#include "observe/metrics.h"

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
