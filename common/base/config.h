/*
 * The configuration: environment variables, read once at start into a struct.
 *
 * CONFIG_TABLE is the one list of all of them. docs/configuration.md repeats it for the operator,
 * and a test compares the two. A value that is not understood is refused at start, by name; the
 * value itself is never printed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Kinds: TEXT (any text), SECRET (text that is never logged), NUMBER (whole, least to most),
 * CHOICE (one of a comma list). Columns: kind, field, variable, default, least, most, choices.
 * An empty value counts as not set. A default of "" means none.
 */
/* clang-format off */
#define CONFIG_TABLE(X) \
    X(SECRET, postgres_url, "POSTGRES_URL", "", 0, 0, "") \
    X(SECRET, database_url, "DATABASE_URL", "", 0, 0, "") \
    X(SECRET, postgres_url_non_pooling, "POSTGRES_URL_NON_POOLING", "", 0, 0, "") \
    X(SECRET, db_init_secret, "DB_INIT_SECRET", "", 0, 0, "") \
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
    X(CHOICE, sandbox, "SANDBOX", "on", 0, 0, "on,off")
/* clang-format on */

/* Strings are borrowed from the environment and never NULL; a CHOICE is the index in its list. */
struct config {
#define CONFIG_TYPE_TEXT const char *
#define CONFIG_TYPE_SECRET const char *
#define CONFIG_TYPE_NUMBER int
#define CONFIG_TYPE_CHOICE int
#define CONFIG_FIELD(kind, field, variable, fallback, least, most, choices)                        \
    CONFIG_TYPE_##kind field;
    CONFIG_TABLE(CONFIG_FIELD)
#undef CONFIG_FIELD
};

/* DB_PREPARED, in the order of its choices. */
enum config_prepared { CONFIG_PREPARED_AUTO, CONFIG_PREPARED_ALWAYS, CONFIG_PREPARED_NEVER };
/* SANDBOX, in the order of its choices. */
enum config_sandbox { CONFIG_SANDBOX_ON, CONFIG_SANDBOX_OFF };

/*
 * Reads the environment. Returns ERROR_NOT_CONFIGURED and fills problem (a sentence that names the
 * variable and what was expected) for a value that is not understood.
 */
enum error config_load(struct config *ret_config, char problem[static 256]) MUST_CHECK;

/* POSTGRES_URL, else DATABASE_URL, else "". */
const char *config_database_url(const struct config *config);
/* The variable that config_database_url took its value from, for messages. */
const char *config_database_variable(const struct config *config);
