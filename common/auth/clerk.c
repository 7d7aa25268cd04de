#include "auth/clerk.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blocking.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/digest.h"
#include "cache/cache.h"
#include "observe/log.h"
#include "outbound/http_client.h"

enum {
    JWKS_FRESH_MS = 300000, /* Clerk's own backend library keeps a key set for five minutes */
    JWKS_PAUSE_MS = 10000,  /* between fetches, so that made-up key ids cannot cause a flood */
    JWKS_TIMEOUT_MS = 5000,
    JWKS_BYTES_MAX = 64 * KIB,
};

struct clerk {
    const struct config *config;
    struct log *log;
    struct cache *cache;
    struct session_policy policy;
    bool remote;
    char url[512]; /* of the key set; empty for a PEM */

    pthread_rwlock_t keys_lock; /* guards keys; held for reading while verifying */
    struct key_set *keys;       /* NULL until the first fetch succeeded */
    pthread_mutex_t fetch_lock; /* one fetch at a time; held to write what follows */
    int64_t fetched_ms;         /* of clock_monotonic_ms; when keys came */
    _Atomic int64_t tried_ms;   /* when the last fetch ended */
    _Atomic uint64_t fetches;   /* begun so far */
    uint64_t keys_fetch;        /* which of them brought the keys */
};

/* What the cache remembers of a verified token: who, until when. */
struct remembered {
    int64_t issued_at_unix;
    int64_t expires_at_unix;
    char subject[64]; /* Clerk's ids have 32 characters */
};

_Static_assert(sizeof(struct remembered) <= CACHE_VALUE_BYTES_MAX, "it fits a cache slot");

static enum error refuse(const char *variable, const char *expected, char problem[static 256])
{
    snprintf(problem, 256, "%s: expected %s", variable, expected);
    return ERROR_NOT_CONFIGURED;
}

static enum error find_keys(struct clerk *clerk, char problem[static 256])
{
    const struct config *config = clerk->config;
    if (config->clerk_jwt_key[0]) {
        enum error err = key_set_from_pem(text_from(config->clerk_jwt_key), &clerk->keys);
        return err == ERROR_NOT_CONFIGURED
                   ? refuse("CLERK_JWT_KEY", "a PEM public key, RSA of 2048 bits or more", problem)
                   : err;
    }
    clerk->remote = true;
    int len = config->clerk_jwks_url[0]
                  ? snprintf(clerk->url, sizeof(clerk->url), "%s", config->clerk_jwks_url)
                  : snprintf(clerk->url, sizeof(clerk->url), "%s/.well-known/jwks.json",
                             config->clerk_issuer);
    if (len < 0 || (size_t)len >= sizeof(clerk->url) || !http_client_url_allowed(clerk->url))
        return refuse(config->clerk_jwks_url[0] ? "CLERK_JWKS_URL" : "CLERK_ISSUER",
                      "an https URL of at most 480 characters", problem);
    return http_client_library_init() ? ERROR_OK : ERROR_NO_MEMORY;
}

/* glibc prefers readers by default: new keys would wait for as long as somebody verifies. */
static void init_keys_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

enum error clerk_new(const struct config *config, struct log *log, struct cache *cache,
                     struct clerk **ret_clerk, char problem[static 256])
{
    *ret_clerk = NULL;
    if (!config->clerk_jwt_key[0] && !config->clerk_jwks_url[0] && !config->clerk_issuer[0])
        return ERROR_OK;
    struct clerk *clerk = key_set_library_init() ? calloc(1, sizeof(*clerk)) : NULL;
    if (!clerk)
        return ERROR_NO_MEMORY;
    clerk->config = config;
    clerk->log = log;
    clerk->cache = cache;
    clerk->policy = (struct session_policy){
        .issuer = text_from(config->clerk_issuer),
        .authorized_parties = text_from(config->clerk_authorized_parties),
    };
    clerk->tried_ms = clerk->fetched_ms = -JWKS_FRESH_MS;
    init_keys_lock(&clerk->keys_lock);
    pthread_mutex_init(&clerk->fetch_lock, NULL);
    enum error err = find_keys(clerk, problem);
    if (err) {
        clerk_free(clerk);
        return err;
    }
    *ret_clerk = clerk;
    return ERROR_OK;
}

void clerk_free(struct clerk *clerk)
{
    if (!clerk)
        return;
    key_set_free(clerk->keys);
    pthread_rwlock_destroy(&clerk->keys_lock);
    pthread_mutex_destroy(&clerk->fetch_lock);
    free(clerk);
}

/* With fetch_lock held. The old keys stay when anything goes wrong. */
static void fetch_keys(struct clerk *clerk)
{
    struct http_answer answer;
    struct key_set *fresh = NULL;
    struct http_call call = {
        .method = "GET",
        .url = clerk->url,
        .timeout_ms = JWKS_TIMEOUT_MS,
        .answer_bytes_max = JWKS_BYTES_MAX,
    };
    uint64_t number = atomic_fetch_add(&clerk->fetches, 1) + 1;
    enum error err = http_client_call(&call, &answer);
    if (!err && answer.status != 200)
        err = ERROR_UNAUTHORIZED;
    if (!err)
        err = key_set_from_jwks(buffer_text(&answer.body), &fresh);
    clerk->tried_ms = clock_monotonic_ms();
    if (err) {
        log_event(clerk->log, LOG_ERROR, "key set not fetched", LOG_STRING("url", clerk->url),
                  LOG_NUMBER("status", answer.status));
    } else {
        clerk->fetched_ms = clerk->tried_ms;
        clerk->keys_fetch = number;
        pthread_rwlock_wrlock(&clerk->keys_lock);
        struct key_set *old = clerk->keys;
        clerk->keys = fresh;
        pthread_rwlock_unlock(&clerk->keys_lock);
        key_set_free(old);
    }
    buffer_done(&answer.body);
}

static bool has_keys(struct clerk *clerk)
{
    pthread_rwlock_rdlock(&clerk->keys_lock);
    bool there = clerk->keys != NULL;
    pthread_rwlock_unlock(&clerk->keys_lock);
    return there;
}

/*
 * Fetches when the keys are older than max_age_ms and the last try is not too recent. A thread that
 * can verify with the keys there are does not wait for another's fetch. Returns whether the keys
 * are of a fetch that began after the call, so that what they lack is not there.
 */
static bool refresh_keys(struct clerk *clerk, int64_t max_age_ms)
{
    uint64_t before = atomic_load(&clerk->fetches);
    if (!clerk->remote)
        return true;
    if (max_age_ms > 0 && has_keys(clerk)) {
        if (pthread_mutex_trylock(&clerk->fetch_lock) != 0)
            return false;
    } else {
        blocking_begin();
        pthread_mutex_lock(&clerk->fetch_lock);
    }
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms - clerk->fetched_ms >= max_age_ms && now_ms - clerk->tried_ms >= JWKS_PAUSE_MS)
        fetch_keys(clerk);
    bool current = clerk->keys_fetch > before;
    pthread_mutex_unlock(&clerk->fetch_lock);
    return current;
}

static enum error verify_once(struct clerk *clerk, struct text token, int64_t now_unix,
                              struct session_claims *ret_claims)
{
    enum error err = ERROR_NOT_FOUND;
    pthread_rwlock_rdlock(&clerk->keys_lock);
    if (clerk->keys)
        err = session_token_verify(token, clerk->keys, &clerk->policy, now_unix, ret_claims);
    pthread_rwlock_unlock(&clerk->keys_lock);
    return err;
}

/*
 * After a key id that is not known, or when there are no keys at all. current: the keys were
 * fetched since the token came, as refresh_keys returns it.
 */
static enum error verify_with_new_keys(struct clerk *clerk, struct text token, int64_t now_unix,
                                       struct session_claims *ret_claims, bool current)
{
    enum error err = session_token_needs_key(token, &clerk->policy, now_unix);
    if (err)
        return err;
    current = refresh_keys(clerk, 0) || current;
    err = verify_once(clerk, token, now_unix, ret_claims);
    if (err == ERROR_NOT_FOUND)
        err = current ? ERROR_UNAUTHORIZED : ERROR_IDENTITY_UNAVAILABLE;
    return err;
}

int clerk_wait_seconds(struct clerk *clerk)
{
    if (!clerk)
        return 1;
    int64_t left_ms = clerk->tried_ms + JWKS_PAUSE_MS - clock_monotonic_ms();
    return left_ms > 1000 ? (int)((left_ms + 999) / 1000) : 1;
}

static struct cache_key token_key(struct text token)
{
    unsigned char digest[DIGEST_BYTES];
    struct cache_key key = {.kind = CACHE_SESSION};
    digest_sha256(token, digest);
    memcpy(key.id.bytes, digest, sizeof(key.id.bytes));
    return key;
}

/* Without the e-mail, which is wanted only when the account is looked up, and less often. */
static void remember(struct clerk *clerk, const struct cache_key *key,
                     const struct cache_lease *lease, const struct session_claims *claims)
{
    struct remembered value;
    memset(&value, 0, sizeof(value));
    value.issued_at_unix = claims->issued_at_unix;
    value.expires_at_unix = claims->expires_at_unix;
    if (text_copy(text_from(claims->subject), value.subject, sizeof(value.subject)))
        cache_store(clerk->cache, key, lease, &value, sizeof(value));
}

enum error clerk_verify(struct clerk *clerk, struct text token, struct session_claims *ret_claims)
{
    struct remembered known;
    struct cache_lease lease;
    int64_t now_unix = clock_unix_us() / 1000000;
    if (!clerk || token.len > TOKEN_BYTES_MAX)
        return ERROR_UNAUTHORIZED;
    struct cache_key key = token_key(token);
    if (cache_get(clerk->cache, &key, &known, sizeof(known), &lease)) {
        if (known.expires_at_unix <= now_unix - TOKEN_SKEW_SECONDS)
            return ERROR_UNAUTHORIZED;
        memcpy(ret_claims->subject, known.subject, sizeof(known.subject));
        ret_claims->email[0] = '\0';
        ret_claims->issued_at_unix = known.issued_at_unix;
        ret_claims->expires_at_unix = known.expires_at_unix;
        return ERROR_OK;
    }
    bool current = refresh_keys(clerk, JWKS_FRESH_MS);
    enum error err = verify_once(clerk, token, now_unix, ret_claims);
    if (err == ERROR_NOT_FOUND)
        err = verify_with_new_keys(clerk, token, now_unix, ret_claims, current);
    if (!err)
        remember(clerk, &key, &lease, ret_claims);
    return err;
}
