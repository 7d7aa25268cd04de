/*
 * The configuration: environment variables, read once at start into a struct.
 *
 * CONFIG_TABLE is the one list of all of them. docs/configuration.md repeats it for the operator,
 * and a test compares the two. A value that is not understood is refused at start, by name; the
 * value itself is never printed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Kinds: TEXT (any text), SECRET (of at least that many bytes, never logged), NUMBER (whole, least
 * to most), CHOICE (one of a comma list). Columns: kind, field, variable, default, least, most,
 * choices. An empty value counts as not set. A default of "" means none.
 */
/* clang-format off */
#define CONFIG_TABLE(X) \
    X(SECRET, postgres_url, "POSTGRES_URL", "", 0, 0, "") \
    X(SECRET, database_url, "DATABASE_URL", "", 0, 0, "") \
    X(SECRET, postgres_url_non_pooling, "POSTGRES_URL_NON_POOLING", "", 0, 0, "") \
    X(SECRET, db_init_secret, "DB_INIT_SECRET", "", 0, 0, "") \
    X(SECRET, identity_digest_key, "IDENTITY_DIGEST_KEY", "", 32, 0, "") \
    X(TEXT, clerk_jwt_key, "CLERK_JWT_KEY", "", 0, 0, "") \
    X(TEXT, clerk_jwks_url, "CLERK_JWKS_URL", "", 0, 0, "") \
    X(TEXT, clerk_issuer, "CLERK_ISSUER", "", 0, 0, "") \
    X(TEXT, clerk_authorized_parties, "CLERK_AUTHORIZED_PARTIES", "", 0, 0, "") \
    X(TEXT, allowed_origins, "ALLOWED_ORIGINS", "", 0, 0, "") \
    X(CHOICE, log_level, "LOG_LEVEL", "info", 0, 0, "debug,info,warning,error") \
    X(NUMBER, threads, "THREADS", "64", 1, THREADS_MAX, "") \
    X(NUMBER, db_pool_size, "DB_POOL_SIZE", "4", 1, POOL_SIZE_MAX, "") \
    X(CHOICE, db_prepared, "DB_PREPARED", "auto", 0, 0, "auto,prepared,params") \
    X(NUMBER, db_timeout_ms, "DB_TIMEOUT_MS", "5000", 100, 20000, "") \
    X(NUMBER, slow_query_ms, "SLOW_QUERY_MS", "100", 1, 60000, "") \
    X(TEXT, shared_memory, "SHARED_MEMORY", "", 0, 0, "") \
    X(CHOICE, sandbox, "SANDBOX", "on", 0, 0, "on,off") \
    X(TEXT, yookassa_shop_id, "YOOKASSA_SHOP_ID", "", 0, 0, "") \
    X(SECRET, yookassa_secret_key, "YOOKASSA_SECRET_KEY", "", 0, 0, "") \
    X(TEXT, yookassa_api_url, "YOOKASSA_API_URL", "https://api.yookassa.ru/v3", 0, 0, "") \
    X(TEXT, yookassa_webhook_networks, "YOOKASSA_WEBHOOK_NETWORKS", \
      "185.71.76.0/27,185.71.77.0/27,77.75.153.0/25,77.75.154.128/25," \
      "77.75.156.11,77.75.156.35,2a02:5180::/32", 0, 0, "") \
    X(NUMBER, yookassa_vat_code, "YOOKASSA_VAT_CODE", "0", 0, 12, "") \
    X(TEXT, yookassa_receipt_email, "YOOKASSA_RECEIPT_EMAIL", "", 0, 0, "") \
    X(CHOICE, yookassa_test_payments, "YOOKASSA_TEST_PAYMENTS", "off", 0, 0, "off,on") \
    X(NUMBER, yookassa_timeout_ms, "YOOKASSA_TIMEOUT_MS", "10000", 100, 20000, "") \
    X(TEXT, payments_return_url, "PAYMENTS_RETURN_URL", "", 0, 0, "")
/* clang-format on */

/*
 * What the libraries of a handler read by themselves: libpq (a test compares with its own list),
 * OpenSSL, and the sanitizers of a build that has them.
 */
/* clang-format off */
#define CONFIG_LIBRARY_TABLE(X) \
    X("PGAPPNAME") X("PGCHANNELBINDING") X("PGCLIENTENCODING") X("PGCONNECT_TIMEOUT") \
    X("PGDATABASE") X("PGGSSENCMODE") X("PGGSSLIB") X("PGHOST") X("PGHOSTADDR") X("PGKRBSRVNAME") \
    X("PGOPTIONS") X("PGPASSFILE") X("PGPASSWORD") X("PGPORT") X("PGREQUIREPEER") \
    X("PGSERVICE") X("PGSERVICEFILE") X("PGSSLCERT") X("PGSSLCOMPRESSION") X("PGSSLCRL") \
    X("PGSSLCRLDIR") X("PGSSLKEY") X("PGSSLMAXPROTOCOLVERSION") X("PGSSLMINPROTOCOLVERSION") \
    X("PGSSLMODE") X("PGSSLROOTCERT") X("PGSSLSNI") X("PGSYSCONFDIR") X("PGTARGETSESSIONATTRS") \
    X("PGUSER") X("SSL_CERT_FILE") X("SSL_CERT_DIR") X("OPENSSL_CONF") \
    X("ASAN_OPTIONS") X("LSAN_OPTIONS") X("TSAN_OPTIONS") X("UBSAN_OPTIONS")
/* clang-format on */

/* Strings are borrowed from the environment and never NULL; a CHOICE is the index in its list. */
struct config {
#define CONFIG_TYPE_TEXT const char *
#define CONFIG_TYPE_SECRET const char *
#define CONFIG_TYPE_NUMBER int
#define CONFIG_TYPE_CHOICE int
#define CONFIG_FIELD(kind, field, variable, fallback, least, most, choices) \
    CONFIG_TYPE_##kind field;
    CONFIG_TABLE(CONFIG_FIELD)
#undef CONFIG_FIELD
};

/* DB_PREPARED, in the order of its choices. */
enum config_prepared { CONFIG_PREPARED_AUTO, CONFIG_PREPARED_ALWAYS, CONFIG_PREPARED_NEVER };
/* SANDBOX, in the order of its choices. */
enum config_sandbox { CONFIG_SANDBOX_ON, CONFIG_SANDBOX_OFF };
/* YOOKASSA_TEST_PAYMENTS, in the order of its choices. */
enum config_test_payments { CONFIG_TEST_PAYMENTS_OFF, CONFIG_TEST_PAYMENTS_ON };

/*
 * Reads the environment. Returns ERROR_NOT_CONFIGURED and fills problem (a sentence that names the
 * variable and what was expected) for a value that is not understood.
 */
enum error config_load(struct config *ret_config, char problem[static 256]) MUST_CHECK;

/*
 * The names of all variables a handler reads, CONFIG_TABLE first, then CONFIG_LIBRARY_TABLE; NULL
 * for an index beyond the last. scripts/up passes these on and no others.
 */
const char *config_variable(size_t index);

/* POSTGRES_URL, else DATABASE_URL, else "". */
const char *config_database_url(const struct config *config);
/* The variable that config_database_url took its value from, for messages. */
const char *config_database_variable(const struct config *config);
