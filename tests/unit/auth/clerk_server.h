/*
 * A verifier of tokens with a server on the loopback that publishes its keys, for the tests of this
 * folder. The clocks are the test's own, so that five minutes pass in no time: auth/clerk.c is
 * compiled here once more, under other names, and calls the test where it fetches and where it
 * exchanges the keys.
 */
#pragma once

#include <pthread.h>

#include "base/clock.h"
#include "outbound/http_client.h"

static enum error watched_call(const struct http_call *call, struct http_answer *ret_answer);
static int watched_wrlock(pthread_rwlock_t *lock);
static int64_t fake_monotonic_ms(void);
static int64_t fake_unix_us(void);

#define clerk_new tested_clerk_new
#define clerk_free tested_clerk_free
#define clerk_verify tested_clerk_verify
#define clerk_wait_seconds tested_clerk_wait_seconds
#define clock_monotonic_ms fake_monotonic_ms
#define clock_unix_us fake_unix_us
#define http_client_call watched_call
#define pthread_rwlock_wrlock watched_wrlock
#include "auth/clerk.c" /* NOLINT: see above */
#undef http_client_call
#undef pthread_rwlock_wrlock

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "../outbound/local_server.h"
#include "token_maker.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { TOKEN_LIFE_SECONDS = 60 };

static atomic_long now_ms; /* of both clocks, since the test began */

static int64_t fake_monotonic_ms(void)
{
    return 1000 + atomic_load(&now_ms);
}

static int64_t fake_unix_us(void)
{
    return (1000000 + atomic_load(&now_ms) / 1000) * 1000000;
}

static atomic_int fetching;      /* calls under way */
static atomic_long reads;        /* what the test counts of the threads that verify */
static atomic_long reads_waited; /* how many there were while the last exchange waited */

/* With more time than a busy machine needs. */
static enum error watched_call(const struct http_call *call, struct http_answer *ret_answer)
{
    struct http_call patient = *call;
    patient.timeout_ms = 120000;
    atomic_fetch_add(&fetching, 1);
    enum error err = http_client_call(&patient, ret_answer);
    atomic_fetch_sub(&fetching, 1);
    return err;
}

static int watched_wrlock(pthread_rwlock_t *lock)
{
    long before = atomic_load(&reads);
    int rc = pthread_rwlock_wrlock(lock);
    atomic_store(&reads_waited, atomic_load(&reads) - before);
    return rc;
}

static EVP_PKEY *keys[3];
static char *key_sets[3]; /* of the first, of the first two, of the third */
static struct local_server server;
static char problem[256];

static inline char *wrap(const char *first, const char *second)
{
    char *text = NULL;
    assert_true(
        asprintf(&text, "{\"keys\":[%s%s%s]}", first, second ? "," : "", second ? second : "") > 0);
    return text;
}

static inline int set_up(void **state)
{
    (void)state;
    static const char *const KIDS[] = {"k0", "k1", "k2"};
    char *jwks[3];
    for (size_t i = 0; i < COUNT(keys); i++) {
        keys[i] = token_maker_key(2048);
        jwks[i] = token_maker_jwk(keys[i], KIDS[i], "");
    }
    key_sets[0] = wrap(jwks[0], NULL);
    key_sets[1] = wrap(jwks[0], jwks[1]);
    key_sets[2] = wrap(jwks[2], NULL);
    for (size_t i = 0; i < COUNT(keys); i++)
        free(jwks[i]);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        EVP_PKEY_free(keys[i]);
        free(key_sets[i]);
    }
    return 0;
}

static inline struct config configure(const char *url, const char *pem)
{
    return (struct config){
        .clerk_jwt_key = pem,
        .clerk_jwks_url = url,
        .clerk_issuer = "",
        .clerk_authorized_parties = "",
    };
}

static inline void publish(int set)
{
    local_server_set(&server, LOCAL_ANSWER, 200, "", text_from(key_sets[set]));
}

static struct config config;

static inline struct clerk *start(struct cache *cache)
{
    struct clerk *clerk = NULL;
    atomic_store(&now_ms, 0);
    local_server_start(&server);
    publish(0);
    config = configure(server.url, "");
    assert_int_equal(clerk_new(&config, NULL, cache, &clerk, problem), ERROR_OK);
    assert_non_null(clerk);
    return clerk;
}

static inline void stop(struct clerk *clerk)
{
    clerk_free(clerk);
    local_server_stop(&server);
}

/* A token of a key, under a key id, that lives a minute from now. */
static inline char *make_token(int which, const char *kid, const char *subject)
{
    char header[128];
    char payload[256];
    snprintf(header, sizeof(header), "{\"alg\":\"RS256\",\"kid\":\"%s\"}", kid);
    snprintf(payload, sizeof(payload), "{\"sub\":\"%s\",\"exp\":%lld,\"email\":\"a@example.org\"}",
             subject, (long long)(fake_unix_us() / 1000000 + TOKEN_LIFE_SECONDS));
    return token_maker_sign(keys[which], text_from(header), text_from(payload));
}

static inline enum error verify(struct clerk *clerk, int which, const char *kid)
{
    struct session_claims claims;
    char *token = make_token(which, kid, "user_1");
    enum error err = clerk_verify(clerk, text_from(token), &claims);
    if (!err)
        assert_string_equal(claims.subject, "user_1");
    free(token);
    return err;
}

static inline int fetches(void)
{
    return atomic_load(&server.requests);
}

static inline void pass_ms(long ms)
{
    atomic_fetch_add(&now_ms, ms);
}
