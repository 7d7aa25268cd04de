/*
 * The one enumeration of results of fallible functions, and the answer to the client for each.
 *
 * ERROR_TABLE is the single place to add a result: name, HTTP status, the stable code for programs,
 * the text for a Russian and an English reader, and the advice to the caller.
 * Texts that clients of the original backend compare are kept to the letter (openapi.yaml).
 */
#pragma once

#include <stdbool.h>

/* clang-format off */
#define ERROR_TABLE(X) \
    X(OK, 200, "ok", "", "", "") \
    X(INTERNAL, 500, "internal_error", "Внутренняя ошибка сервера", "Internal server error", \
      "Try again later; quote X-Request-Id when you report it") \
    X(NO_MEMORY, 503, "overloaded", "Сервис перегружен", "Service overloaded", \
      "Try again in a moment") \
    X(OVERLOADED, 503, "overloaded", "Сервис перегружен", "Service overloaded", \
      "Try again in a moment") \
    X(CLIENT_GONE, 400, "client_gone", "Запрос оборван", "Request cut off", \
      "The request ended before its declared length") \
    X(DATABASE_UNAVAILABLE, 503, "database_unavailable", "База данных недоступна", \
      "Database unavailable", "Nothing was changed or the change is kept once; try again") \
    X(DATABASE_BUSY, 503, "database_unavailable", "База данных недоступна", \
      "Database unavailable", "Nothing was changed or the change is kept once; try again") \
    X(DATABASE, 500, "internal_error", "Внутренняя ошибка сервера", "Internal server error", \
      "Try again later; quote X-Request-Id when you report it") \
    X(SCHEMA_UPDATING, 503, "database_updating", "База данных обновляется", \
      "The database is being updated", "Nothing was changed; try again after Retry-After") \
    X(CONFLICT, 409, "conflict", "Конфликт", "Conflict", "The object was changed meanwhile") \
    X(NOT_CONFIGURED, 500, "not_configured", "Сервис не настроен", "Not configured", \
      "The operator has to set the secret for this endpoint") \
    X(UNAUTHORIZED, 401, "unauthorized", "Unauthorized", "Unauthorized", \
      "Authentication required") \
    X(IDENTITY_UNAVAILABLE, 503, "identity_unavailable", "Вход временно недоступен", \
      "Sign-in temporarily unavailable", \
      "The key of this session token could not be fetched yet; try again after Retry-After") \
    X(FORBIDDEN, 403, "forbidden", "Доступ запрещён", "Forbidden", \
      "This address or identity may not use this endpoint") \
    X(ORIGIN_NOT_ALLOWED, 403, "origin_not_allowed", "Запрос с этого сайта не разрешён", \
      "A request from this site is not allowed", \
      "A change by cookie needs an Origin that is allowed, or that of the address asked; " \
      "Authorization: Bearer needs none") \
    X(SIGN_IN_REQUIRED, 403, "sign_in_required", "Войдите в аккаунт", "Sign in first", \
      "The device is linked to an account; send its session token") \
    X(UNSUPPORTED_MEDIA_TYPE, 415, "unsupported_media_type", "Тип данных не поддерживается", \
      "Unsupported media type", "Send Content-Type: application/json") \
    X(NOT_FOUND, 404, "not_found", "Не найдено", "Not found", \
      "There is no such object or path") \
    X(METHOD_NOT_ALLOWED, 405, "method_not_allowed", "Метод не поддерживается", \
      "Method not allowed", "The Allow header lists the methods of this path") \
    X(BODY_TOO_LARGE, 413, "body_too_large", "Слишком большой запрос", "Request too large", \
      "Send a smaller body") \
    X(UNSUPPORTED_ENCODING, 415, "unsupported_encoding", "Сжатые запросы не поддерживаются", \
      "Unsupported Content-Encoding", "Send the body as it is, without Content-Encoding") \
    X(MALFORMED_JSON, 400, "malformed_json", "Некорректный JSON", "Malformed JSON", \
      "Expected one JSON object in UTF-8") \
    X(INVALID_FIELD, 400, "invalid_field", "Некорректное значение поля", "Invalid field", \
      "Correct the named field") \
    X(INVALID_PARAMETER, 400, "invalid_parameter", "Некорректный параметр", \
      "Invalid parameter", "Correct the named parameter") \
    X(IMAGE_URL_REQUIRED, 400, "image_url_required", "imageUrl is required", \
      "imageUrl is required", "Send imageUrl as a string that is not empty") \
    X(BONUS_ALREADY_CLAIMED, 400, "bonus_already_claimed", \
      "Ежедневный бонус уже получен сегодня", "The daily bonus was already claimed today", \
      "The next one can be claimed after midnight UTC") \
    X(DEVICE_ALREADY_LINKED, 409, "device_already_linked", \
      "Устройство уже привязано к другому аккаунту", \
      "The device is already linked to another account", \
      "Sign in with the account it is linked to") \
    X(INSUFFICIENT_TOKENS, 402, "insufficient_tokens", "Недостаточно токенов", \
      "Not enough tokens", "data.balance is what can be spent") \
    X(USER_NOT_FOUND, 404, "user_not_found", "Пользователь не найден", "User not found", \
      "Send the id of an account that exists") \
    X(HOLD_NOT_PENDING, 409, "hold_not_pending", "Резерв уже закрыт", \
      "The hold is not pending", "It was captured, released or has expired") \
    X(ALREADY_REVERSED, 409, "already_reversed", "Операция уже отменена", \
      "The entry was already reversed", "An entry is reversed once") \
    X(PAYMENT_ENTRY, 409, "payment_entry", "Операция относится к платежу", \
      "The entry belongs to a payment", \
      "Its tokens are taken back by a refund: POST /api/payments/{id}/refund") \
    X(BALANCE_LIMIT, 422, "balance_limit", "Превышен предел баланса", \
      "The balance would pass its limit", "A balance is at most 2147483647 tokens") \
    X(BATCH_TOO_LARGE, 413, "batch_too_large", "Слишком много операций", \
      "Too many operations", "Send at most 1000 operations") \
    X(IDEMPOTENCY_KEY_REUSED, 422, "idempotency_key_reused", \
      "Ключ идемпотентности уже использован", "Idempotency key reused", \
      "This Idempotency-Key came with another request; use a new one") \
    X(IDEMPOTENCY_IN_PROGRESS, 409, "idempotency_in_progress", "Запрос уже выполняется", \
      "The request is in progress", "The first request with this Idempotency-Key is running") \
    X(INVALID_PACKAGE, 400, "invalid_package", \
      "Invalid package. Must be \"small\", \"medium\", or \"large\"", \
      "Invalid package. Must be \"small\", \"medium\", or \"large\"", \
      "Send package as one of the packages that are sold") \
    X(SUBSCRIPTION_ACTIVE, 409, "subscription_active", "Подписка уже активна", \
      "The subscription is active already", "It is renewed by itself; DELETE ends it") \
    X(SAVING_NOT_ALLOWED, 422, "saving_not_allowed", "Подписка с продлением недоступна", \
      "A subscription that renews is not available", \
      "The provider may not save how it is paid; send renews false to buy one month") \
    X(PAYMENT_NOT_PAID, 409, "payment_not_paid", "Платёж не оплачен", \
      "The payment was not paid", "Only a payment that succeeded can be refunded") \
    X(PAYMENT_NOT_OURS, 422, "payment_not_ours", "Платёж прошёл через другую систему", \
      "The payment was made through another provider", \
      "It was adopted; its money goes back where it was paid") \
    X(REFUND_EXCEEDS_PAYMENT, 422, "refund_exceeds_payment", \
      "Сумма возврата больше платежа", "The refund exceeds the payment", \
      "Refunds together are at most what was paid") \
    X(PAYMENTS_NOT_CONFIGURED, 503, "payments_not_configured", "Оплата не настроена", \
      "Payments are not configured", \
      "The operator has to set YOOKASSA_SHOP_ID and YOOKASSA_SECRET_KEY") \
    X(PAYMENT_PROVIDER_UNAVAILABLE, 502, "payment_provider_unavailable", \
      "Платёжная система недоступна", "The payment provider is unavailable", \
      "Try again with the same Idempotency-Key; nothing is charged twice") \
    X(PAYMENT_REFUSED, 422, "payment_refused", "Платёжная система отклонила запрос", \
      "The payment provider refused the request", \
      "It would be refused again and nothing was charged; the operator finds why in the log") \
    X(PAYMENT_UNCONFIRMED, 503, "payment_unconfirmed", "Платёж пока не подтверждён", \
      "The payment could not be confirmed yet", \
      "The provider could not be asked; send the notification again") \
    X(RATE_LIMITED, 429, "rate_limited", "Rate limit exceeded", "Rate limit exceeded", \
      "Please wait")
/* clang-format on */

enum error {
#define ERROR_ENUM(name, status, code, russian, english, message) ERROR_##name,
    ERROR_TABLE(ERROR_ENUM)
#undef ERROR_ENUM
        ERROR_COUNT,
};

/* The answer to the client for an error. All strings are constants. */
struct error_info {
    const char *name;    /* the enumerator without ERROR_, for logs */
    int status;          /* HTTP status */
    const char *code;    /* stable snake_case word for programs */
    const char *russian; /* for the person */
    const char *english; /* for the person, when Accept-Language prefers English */
    const char *message; /* what to do */
};

/* Returns the row of ERROR_TABLE; never NULL. err: any enumerator below ERROR_COUNT. */
const struct error_info *error_describe(enum error err);

#define MUST_CHECK __attribute__((warn_unused_result))
