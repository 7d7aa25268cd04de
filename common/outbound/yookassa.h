/*
 * YooKassa's API v3 (https://yookassa.ru/developers/api): payments and refunds.
 *
 * Every POST carries an Idempotence-Key chosen by the caller and is repeated with the same key and
 * body for at most 24 hours. No floating-point numbers, no clock: scheduling is the caller's.
 * Thread-safe. Never called with a database connection borrowed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/money.h"
#include "base/text.h"
#include "base/uuid.h"

struct config;

/* Texts are borrowed from the configuration. */
struct yookassa {
    const char *base_url; /* without a trailing slash */
    const char *shop_id;
    const char *secret_key;
    long timeout_ms; /* for a whole call */
};

/*
 * Checks everything the configuration says of payments. *ret_provider: NULL without a shop, else
 * owned by the caller (yookassa_free). ERROR_NOT_CONFIGURED, and problem is a sentence that names
 * the variable; ERROR_NO_MEMORY.
 */
enum error yookassa_new(const struct config *config, struct yookassa **ret_provider,
                        char problem[static 256]) MUST_CHECK;
void yookassa_free(struct yookassa *provider);

/*
 * The outcome of a call. REFUSED and NOT_FOUND need the error object of the API, because something
 * on the way may answer 403 or 404 as well.
 */
enum yookassa_result {
    YOOKASSA_DONE,      /* 200, and the object was understood */
    YOOKASSA_REFUSED,   /* 400, 403, 405, 415: this call did nothing and never will */
    YOOKASSA_DENIED,    /* 401: shop id or secret key are wrong; this call did nothing */
    YOOKASSA_NOT_FOUND, /* 404 */
    YOOKASSA_LATER,     /* 429, or no connection: this call did nothing; try again later */
    YOOKASSA_UNKNOWN,   /* 5xx, no answer in time, one not understood: it may have happened */
};

enum yookassa_status {
    YOOKASSA_PENDING,
    YOOKASSA_WAITING_FOR_CAPTURE,
    YOOKASSA_SUCCEEDED,
    YOOKASSA_CANCELED,
};
/* "pending", ...: the words of the API and of our own columns. */
const char *yookassa_status_word(enum yookassa_status status);

/* Texts are borrowed from the answer that holds the object. Absent where the object lacks them. */
struct yookassa_payment {
    struct text id;
    enum yookassa_status status;
    struct money amount;
    struct money refunded; /* zero of the same currency when absent */
    bool paid, test, refundable;
    struct text shop_id;                               /* recipient.account_id */
    struct text confirmation_url;                      /* where the person pays */
    struct text metadata_user_id, metadata_payment_id; /* what we sent when it was created */
    struct text payment_method_id;
    bool payment_method_saved;
    struct text cancellation_party, cancellation_reason;
    int64_t created_at; /* microseconds since 1970 */
};

struct yookassa_refund {
    struct text id;
    struct text payment_id;      /* the provider's */
    enum yookassa_status status; /* pending, succeeded or canceled */
    struct money amount;
    struct text metadata_refund_id;
    int64_t created_at;
};

/* An answer and what it holds. Zero-initialise; always yookassa_answer_done. */
struct yookassa_answer {
    enum yookassa_result result;
    long status;            /* HTTP status, 0 without an answer */
    struct text error_code; /* of an error object: "invalid_request", ... */
    struct text error_parameter;
    int64_t retry_after_ms; /* of an error object, else of Retry-After, or 0; at most an hour */
    struct yookassa_payment *payments; /* one, or a page of a list */
    struct yookassa_refund *refunds;
    size_t count;
    size_t skipped;          /* objects of a list that were not understood and are left out */
    struct text next_cursor; /* of a list; absent at its end */
    void *owned;
};
void yookassa_answer_done(struct yookassa_answer *answer);

/*
 * Each returns ERROR_OK when the call was made, with its outcome in ret_answer->result, or
 * ERROR_NO_MEMORY or ERROR_INVALID_PARAMETER (an id or key that is not 1 to 64 of A-Z a-z 0-9 - _,
 * a cursor of more than 256 bytes), when it was not. An answer about another object than the one
 * that was asked for by its id is not understood.
 * body: JSON of yookassa_payment_body or _refund_body.
 */
enum error yookassa_create_payment(const struct yookassa *provider, const char *idempotence_key,
                                   struct text body, struct yookassa_answer *ret_answer) MUST_CHECK;
enum error yookassa_get_payment(const struct yookassa *provider, struct text id,
                                struct yookassa_answer *ret_answer) MUST_CHECK;
/* Captures the whole amount of a payment that waits for it. */
enum error yookassa_capture_payment(const struct yookassa *provider, const char *idempotence_key,
                                    struct text id, struct yookassa_answer *ret_answer) MUST_CHECK;
/* Payments created since a time, newest first. cursor: absent for the first page (of 100). */
enum error yookassa_list_payments(const struct yookassa *provider, int64_t created_since,
                                  struct text cursor,
                                  struct yookassa_answer *ret_answer) MUST_CHECK;
enum error yookassa_create_refund(const struct yookassa *provider, const char *idempotence_key,
                                  struct text body, struct yookassa_answer *ret_answer) MUST_CHECK;
enum error yookassa_get_refund(const struct yookassa *provider, struct text id,
                               struct yookassa_answer *ret_answer) MUST_CHECK;
enum error yookassa_list_refunds(const struct yookassa *provider, int64_t created_since,
                                 struct text cursor, struct yookassa_answer *ret_answer) MUST_CHECK;

/* What a payment is created with. Texts are borrowed for the call. */
struct yookassa_order {
    struct uuid user_id, payment_id; /* go into metadata, as user_id and payment_id */
    struct money amount;
    struct text description; /* cut to 128 characters */
    struct text return_url;  /* absent for a payment by a saved method */
    bool save_payment_method;
    struct text payment_method_id; /* a saved method, or absent */
    struct text receipt_email;     /* absent: no receipt */
    int vat_code;                  /* of the receipt (54-FZ), see YOOKASSA_VAT_CODE */
};
struct buffer;
/* Appends the request as JSON: capture true; confirmation of type redirect with a return_url. */
enum error yookassa_payment_body(const struct yookassa_order *order,
                                 struct buffer *ret_body) MUST_CHECK;

struct yookassa_refund_order {
    struct text provider_payment_id;
    struct uuid refund_id; /* goes into metadata, as refund_id */
    struct money amount;
    struct text description;   /* of the receipt's line */
    struct text receipt_email; /* absent: no receipt */
    int vat_code;
};
enum error yookassa_refund_body(const struct yookassa_refund_order *order,
                                struct buffer *ret_body) MUST_CHECK;

/* A notification. Nothing of it is believed; it only says which object to fetch. */
struct yookassa_notification {
    struct text event;     /* "payment.succeeded", ...; borrowed from owned */
    bool is_payment;       /* event starts with "payment." */
    bool is_refund;        /* event starts with "refund." */
    struct text object_id; /* of one of the two; borrowed from owned */
    void *owned;
};
/*
 * ERROR_MALFORMED_JSON, ERROR_NO_MEMORY, ERROR_INVALID_FIELD: no notification, or about a payment
 * or refund without an id. One about something else, a payout or a deal, is understood as that.
 */
enum error yookassa_notification_parse(struct text body,
                                       struct yookassa_notification *ret_notification) MUST_CHECK;
void yookassa_notification_done(struct yookassa_notification *notification);
