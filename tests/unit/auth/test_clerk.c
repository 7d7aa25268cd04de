/*
 * Where the keys come from: fetching the key set from a server on the loopback, with faults and
 * many threads; and what is remembered of verified tokens. The clocks are the test's own, so that
 * five minutes pass in no time: auth/clerk.c is compiled here once more, under other names.
 */
#include "base/clock.h"

static int64_t fake_monotonic_ms(void);
static int64_t fake_unix_us(void);

#define clerk_new tested_clerk_new
#define clerk_free tested_clerk_free
#define clerk_verify tested_clerk_verify
#define clerk_wait_seconds tested_clerk_wait_seconds
#define clock_monotonic_ms fake_monotonic_ms
#define clock_unix_us fake_unix_us
#include "auth/clerk.c" /* NOLINT: see above */

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "../outbound/local_server.h"
#include "token_maker.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { THREADS = 16, TOKEN_LIFE_SECONDS = 60 };

static atomic_long now_ms; /* of both clocks, since the test began */

static int64_t fake_monotonic_ms(void)
{
    return 1000 + atomic_load(&now_ms);
}

static int64_t fake_unix_us(void)
{
    return (1000000 + atomic_load(&now_ms) / 1000) * 1000000;
}

static EVP_PKEY *keys[3];
static char *key_sets[3]; /* of the first, of the first two, of the third */
static struct local_server server;
static char problem[256];

static char *wrap(const char *first, const char *second)
{
    char *text = NULL;
    assert_true(
        asprintf(&text, "{\"keys\":[%s%s%s]}", first, second ? "," : "", second ? second : "") > 0);
    return text;
}

static int set_up(void **state)
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

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        EVP_PKEY_free(keys[i]);
        free(key_sets[i]);
    }
    return 0;
}

static struct config configure(const char *url, const char *pem)
{
    return (struct config){
        .clerk_jwt_key = pem,
        .clerk_jwks_url = url,
        .clerk_issuer = "",
        .clerk_authorized_parties = "",
    };
}

static void publish(int set)
{
    local_server_set(&server, LOCAL_ANSWER, 200, "", text_from(key_sets[set]));
}

static struct config config;

static struct clerk *start(struct cache *cache)
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

static void stop(struct clerk *clerk)
{
    clerk_free(clerk);
    local_server_stop(&server);
}

/* A token of a key, under a key id, that lives a minute from now. */
static char *make_token(int which, const char *kid, const char *subject)
{
    char header[128];
    char payload[256];
    snprintf(header, sizeof(header), "{\"alg\":\"RS256\",\"kid\":\"%s\"}", kid);
    snprintf(payload, sizeof(payload), "{\"sub\":\"%s\",\"exp\":%lld,\"email\":\"a@example.org\"}",
             subject, (long long)(fake_unix_us() / 1000000 + TOKEN_LIFE_SECONDS));
    return token_maker_sign(keys[which], text_from(header), text_from(payload));
}

static enum error verify(struct clerk *clerk, int which, const char *kid)
{
    struct session_claims claims;
    char *token = make_token(which, kid, "user_1");
    enum error err = clerk_verify(clerk, text_from(token), &claims);
    if (!err)
        assert_string_equal(claims.subject, "user_1");
    free(token);
    return err;
}

static int fetches(void)
{
    return atomic_load(&server.requests);
}

static void pass_ms(long ms)
{
    atomic_fetch_add(&now_ms, ms);
}

static void test_kept_five_minutes(void **state)
{
    (void)state;
    struct clerk *clerk = start(NULL);
    assert_int_equal(fetches(), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(verify(clerk, 0, "k0"), ERROR_OK);
    assert_int_equal(fetches(), 1);
    pass_ms(JWKS_FRESH_MS - 1);
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_OK);
    assert_int_equal(fetches(), 1);
    pass_ms(1);
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_OK);
    assert_int_equal(fetches(), 2);
    /* A key that is no longer published goes at the next fetch. */
    publish(2);
    pass_ms(JWKS_FRESH_MS);
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_UNAUTHORIZED);
    assert_int_equal(verify(clerk, 2, "k2"), ERROR_OK);
    assert_int_equal(fetches(), 3);
    stop(clerk);
}

static void test_unknown_kid(void **state)
{
    (void)state;
    struct clerk *clerk = start(NULL);
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_OK);
    publish(1);
    /* Too soon after the last fetch. */
    pass_ms(JWKS_PAUSE_MS - 1500);
    assert_int_equal(verify(clerk, 1, "k1"), ERROR_IDENTITY_UNAVAILABLE);
    assert_int_equal(clerk_wait_seconds(clerk), 2);
    pass_ms(1499);
    assert_int_equal(verify(clerk, 1, "k1"), ERROR_IDENTITY_UNAVAILABLE);
    assert_int_equal(clerk_wait_seconds(clerk), 1);
    assert_int_equal(fetches(), 1);
    pass_ms(1);
    assert_int_equal(verify(clerk, 1, "k1"), ERROR_OK);
    assert_int_equal(fetches(), 2);
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_OK);
    /* Made-up ids, some under a good signature: a fetch in ten seconds at most, which decides. */
    for (int i = 0; i < 200; i++) {
        char kid[32];
        int fetched = fetches();
        snprintf(kid, sizeof(kid), "made-up-%d", i);
        enum error err = verify(clerk, i % 3, kid);
        assert_int_equal(err,
                         fetches() > fetched ? ERROR_UNAUTHORIZED : ERROR_IDENTITY_UNAVAILABLE);
        pass_ms(500);
    }
    assert_int_equal(fetches(), 2 + 200 * 500 / JWKS_PAUSE_MS - 1);
    /* The key of an id that is known decides: another's signature is no reason to fetch. */
    int before = fetches();
    pass_ms(JWKS_PAUSE_MS);
    assert_int_equal(verify(clerk, 1, "k0"), ERROR_UNAUTHORIZED);
    assert_int_equal(verify(clerk, 2, "k0"), ERROR_UNAUTHORIZED);
    struct session_claims claims;
    static const char *const NO_TOKENS[] = {"", "a.b.c", "e30.e30.e30",
                                            "eyJhbGciOiJSUzI1NiJ9.e30.e30"};
    for (size_t i = 0; i < COUNT(NO_TOKENS); i++)
        assert_int_equal(clerk_verify(clerk, text_from(NO_TOKENS[i]), &claims), ERROR_UNAUTHORIZED);
    assert_int_equal(fetches(), before);
    stop(clerk);
}

/* Whatever a fetch meets, the old keys stay, and the next try is no sooner than ten seconds. */
static void test_failed_fetch(void **state)
{
    (void)state;
    static char huge[JWKS_BYTES_MAX + 1000];
    memset(huge, ' ', sizeof(huge));
    memcpy(huge, key_sets[2], strlen(key_sets[2]));
    const struct {
        enum local_fault fault;
        int status;
        struct text body;
    } ROWS[] = {
        {LOCAL_ANSWER, 500, text_from(key_sets[2])},
        {LOCAL_ANSWER, 302, text_from(key_sets[2])},
        {LOCAL_ANSWER, 404, TEXT_LITERAL("{}")},
        {LOCAL_ANSWER, 204, TEXT_LITERAL("")},
        {LOCAL_ANSWER, 200, TEXT_LITERAL("")},
        {LOCAL_ANSWER, 200, TEXT_LITERAL("<html>")},
        {LOCAL_ANSWER, 200, TEXT_LITERAL("{\"keys\":[]}")},
        {LOCAL_ANSWER, 200, TEXT_LITERAL("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"k0\"}]}")},
        {LOCAL_ANSWER, 200, {huge, sizeof(huge)}},
        {LOCAL_CUT, 200, text_from(key_sets[2])},
        {LOCAL_CLOSE, 200, {NULL, 0}},
        {LOCAL_GARBAGE, 200, {NULL, 0}},
        {LOCAL_ENDLESS, 200, {NULL, 0}},
    };
    struct clerk *clerk = start(NULL);
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_OK);
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        local_server_set(&server, ROWS[i].fault, ROWS[i].status, "", ROWS[i].body);
        pass_ms(JWKS_FRESH_MS);
        int before = fetches();
        for (int again = 0; again < 3; again++) {
            if (verify(clerk, 0, "k0") || verify(clerk, 2, "k2") != ERROR_IDENTITY_UNAVAILABLE)
                fail_msg("row %zu", i);
        }
        assert_int_equal(fetches(), before + 1);
    }
    /* Better again: the next try, ten seconds later, brings the new keys. */
    publish(2);
    pass_ms(JWKS_PAUSE_MS);
    assert_int_equal(verify(clerk, 2, "k2"), ERROR_OK);
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_IDENTITY_UNAVAILABLE);
    pass_ms(JWKS_PAUSE_MS);
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_UNAUTHORIZED);
    stop(clerk);
}

static void test_no_keys_at_first(void **state)
{
    (void)state;
    struct clerk *clerk = start(NULL);
    local_server_set(&server, LOCAL_CLOSE, 200, "", TEXT_LITERAL(""));
    for (int i = 0; i < 3; i++)
        assert_int_equal(verify(clerk, 0, "k0"), ERROR_IDENTITY_UNAVAILABLE);
    assert_int_equal(fetches(), 1);
    /* What no key could make good is refused at once. */
    assert_int_equal(clerk_wait_seconds(clerk), JWKS_PAUSE_MS / 1000);
    struct session_claims claims;
    assert_int_equal(clerk_verify(clerk, TEXT_LITERAL("a.b.c"), &claims), ERROR_UNAUTHORIZED);
    char *stale = make_token(0, "k0", "user_1");
    pass_ms((TOKEN_LIFE_SECONDS + TOKEN_SKEW_SECONDS) * 1000);
    assert_int_equal(clerk_verify(clerk, text_from(stale), &claims), ERROR_UNAUTHORIZED);
    free(stale);
    publish(0);
    pass_ms(JWKS_PAUSE_MS);
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_OK);
    assert_int_equal(fetches(), 3);
    stop(clerk);
}

struct crowd {
    struct clerk *clerk;
    char *token;
    int rounds;
    enum error expected, other; /* either is right */
    atomic_int wrong;
    int64_t longest_us;
    pthread_barrier_t gate;
    pthread_mutex_t lock; /* guards longest_us */
};

static void *join_crowd(void *context)
{
    struct crowd *crowd = context;
    pthread_barrier_wait(&crowd->gate);
    for (int i = 0; i < crowd->rounds; i++) {
        struct session_claims claims;
        int64_t began_us = clock_monotonic_us();
        enum error err = clerk_verify(crowd->clerk, text_from(crowd->token), &claims);
        if (err != crowd->expected && err != crowd->other)
            atomic_fetch_add(&crowd->wrong, 1);
        int64_t took_us = clock_monotonic_us() - began_us;
        pthread_mutex_lock(&crowd->lock);
        if (took_us > crowd->longest_us)
            crowd->longest_us = took_us;
        pthread_mutex_unlock(&crowd->lock);
    }
    return NULL;
}

/* Sixteen threads verify one token at once. */
static void run_crowd(struct crowd *crowd)
{
    pthread_t threads[THREADS];
    atomic_store(&crowd->wrong, 0);
    crowd->longest_us = 0;
    pthread_barrier_init(&crowd->gate, NULL, THREADS);
    pthread_mutex_init(&crowd->lock, NULL);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, join_crowd, crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&crowd->gate);
    pthread_mutex_destroy(&crowd->lock);
    assert_int_equal(atomic_load(&crowd->wrong), 0);
}

static void test_one_fetch_at_a_time(void **state)
{
    (void)state;
    struct clerk *clerk = start(NULL);
    struct crowd crowd = {.clerk = clerk, .rounds = 2, .expected = ERROR_OK, .other = ERROR_OK};
    server.delay_ms = 50;
    /* All need the first keys: one fetch, the others wait for it. */
    crowd.token = make_token(0, "k0", "user_1");
    run_crowd(&crowd);
    assert_int_equal(fetches(), 1);
    free(crowd.token);

    /* The keys are old: one thread fetches, the others go on with them. */
    pass_ms(JWKS_FRESH_MS);
    crowd.token = make_token(0, "k0", "user_1");
    run_crowd(&crowd);
    assert_int_equal(fetches(), 2);
    free(crowd.token);

    /* A new key: all need it, one fetches. */
    publish(1);
    pass_ms(JWKS_PAUSE_MS);
    crowd.token = make_token(1, "k1", "user_1");
    run_crowd(&crowd);
    assert_int_equal(fetches(), 3);
    free(crowd.token);

    /* Nobody's key: one fetch, all are refused, or told to come back who came after its begin. */
    pass_ms(JWKS_PAUSE_MS);
    crowd.token = make_token(2, "k2", "user_1");
    crowd.expected = ERROR_UNAUTHORIZED;
    crowd.other = ERROR_IDENTITY_UNAVAILABLE;
    run_crowd(&crowd);
    assert_int_equal(fetches(), 4);
    free(crowd.token);
    stop(clerk);
}

static void *verify_slowly(void *context)
{
    assert_int_equal(verify(context, 0, "k0"), ERROR_OK);
    return NULL;
}

/* While one thread waits for a server that hangs, the others use the keys there are. */
static void test_hanging_fetch_holds_nobody_up(void **state)
{
    (void)state;
    struct clerk *clerk = start(NULL);
    pthread_t slow;
    /* On a thread of its own, which takes its connection along: the server serves one at a time. */
    assert_int_equal(pthread_create(&slow, NULL, verify_slowly, clerk), 0);
    pthread_join(slow, NULL);
    local_server_set(&server, LOCAL_HANG, 200, "", TEXT_LITERAL(""));
    pass_ms(JWKS_FRESH_MS);
    assert_int_equal(pthread_create(&slow, NULL, verify_slowly, clerk), 0);
    for (int i = 0; i < 1000 && fetches() < 2; i++)
        clock_sleep_ms(1);
    assert_int_equal(fetches(), 2);
    struct crowd crowd = {.clerk = clerk, .rounds = 5, .expected = ERROR_OK};
    crowd.token = make_token(0, "k0", "user_1");
    run_crowd(&crowd);
    assert_true(crowd.longest_us < 1000000);
    free(crowd.token);
    /* Ends the hang before the time-out of five seconds does. */
    local_server_stop(&server);
    pthread_join(slow, NULL);
    clerk_free(clerk);
}

static atomic_bool readers_stop;

static void *read_always(void *context)
{
    struct crowd *crowd = context;
    while (!atomic_load(&readers_stop)) {
        struct session_claims claims;
        if (clerk_verify(crowd->clerk, text_from(crowd->token), &claims))
            atomic_fetch_add(&crowd->wrong, 1);
    }
    return NULL;
}

/* New keys get in although somebody verifies at every moment. */
static void test_new_keys_among_readers(void **state)
{
    (void)state;
    struct clerk *clerk = start(NULL);
    struct crowd crowd = {.clerk = clerk, .token = make_token(0, "k0", "user_1")};
    pthread_t threads[THREADS];
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_OK);
    atomic_store(&readers_stop, false);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_always, &crowd), 0);
    publish(1);
    pass_ms(JWKS_PAUSE_MS);
    int64_t began_us = clock_monotonic_us();
    assert_int_equal(verify(clerk, 1, "k1"), ERROR_OK);
    int64_t took_us = clock_monotonic_us() - began_us;
    atomic_store(&readers_stop, true);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    if (took_us > 2000000)
        fail_msg("new keys waited %lld us for the readers", (long long)took_us);
    free(crowd.token);
    stop(clerk);
}

static void test_remembered(void **state)
{
    (void)state;
    char path[64];
    struct cache *cache = NULL;
    struct session_claims claims;
    struct cache_stats stats;
    snprintf(path, sizeof(path), "/dev/shm/dl-test-clerk-%d.cache", (int)getpid());
    assert_int_equal(cache_open(path, &cache, problem), ERROR_OK);
    struct clerk *clerk = start(cache);
    char *token = make_token(0, "k0", "user_1");
    assert_int_equal(clerk_verify(clerk, text_from(token), &claims), ERROR_OK);
    assert_string_equal(claims.email, "a@example.org");
    assert_int_equal(clerk_verify(clerk, text_from(token), &claims), ERROR_OK);
    assert_string_equal(claims.subject, "user_1");
    assert_string_equal(claims.email, ""); /* not kept, and not needed for a known caller */
    cache_read_stats(cache, &stats);
    assert_int_equal(stats.hits, 1);

    /* Remembered by the whole token: one that differs in a byte is another. */
    token[strlen(token) - 5] ^= 1;
    assert_int_equal(clerk_verify(clerk, text_from(token), &claims), ERROR_UNAUTHORIZED);
    token[strlen(token) - 5] ^= 1;
    /* To the end of its life and the skew, not a second longer. */
    pass_ms((TOKEN_LIFE_SECONDS + TOKEN_SKEW_SECONDS - 1) * 1000);
    assert_int_equal(clerk_verify(clerk, text_from(token), &claims), ERROR_OK);
    pass_ms(1000);
    assert_int_equal(clerk_verify(clerk, text_from(token), &claims), ERROR_UNAUTHORIZED);
    cache_read_stats(cache, &stats);
    assert_int_equal(stats.stores, 1);
    free(token);

    /* A subject that is too long to remember is verified each time. */
    char subject[101];
    memset(subject, 'x', 100);
    subject[100] = '\0';
    token = make_token(0, "k0", subject);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(clerk_verify(clerk, text_from(token), &claims), ERROR_OK);
        assert_string_equal(claims.subject, subject);
    }
    free(token);
    /* Nothing that was refused is remembered. */
    assert_int_equal(verify(clerk, 2, "k2"), ERROR_UNAUTHORIZED);
    cache_read_stats(cache, &stats);
    assert_int_equal(stats.stores, 1);
    stop(clerk);
    cache_close(cache);
    unlink(path);
    strcat(path, ".lock");
    unlink(path);
}

static void test_pem(void **state)
{
    (void)state;
    struct clerk *clerk = NULL;
    char *pem = token_maker_pem(keys[0]);
    atomic_store(&now_ms, 0);
    local_server_start(&server);
    config = configure(server.url, pem);
    assert_int_equal(clerk_new(&config, NULL, NULL, &clerk, problem), ERROR_OK);
    assert_int_equal(verify(clerk, 0, "any"), ERROR_OK);
    assert_int_equal(verify(clerk, 1, "any"), ERROR_UNAUTHORIZED);
    pass_ms(10 * JWKS_FRESH_MS);
    assert_int_equal(verify(clerk, 0, "k0"), ERROR_OK);
    assert_int_equal(fetches(), 0);
    stop(clerk);
    free(pem);
}

static void test_configuration(void **state)
{
    (void)state;
    static char long_url[600] = "https://";
    memset(long_url + 8, 'x', 590);
    static const struct {
        const char *pem, *url, *issuer, *variable; /* variable: the one a refusal names */
    } ROWS[] = {
        {"", "https://clerk.example/jwks.json", "", NULL},
        {"", "", "https://clerk.example", NULL},
        {"", "http://127.0.0.1:1/jwks.json", "", NULL},
        {"not a key", "", "", "CLERK_JWT_KEY"},
        {"not a key", "https://clerk.example/jwks.json", "", "CLERK_JWT_KEY"},
        {"", "http://clerk.example/jwks.json", "", "CLERK_JWKS_URL"},
        {"", "file:///etc/passwd", "", "CLERK_JWKS_URL"},
        {"", long_url, "", "CLERK_JWKS_URL"},
        {"", "", "http://clerk.example", "CLERK_ISSUER"},
        {"", "", "clerk.example", "CLERK_ISSUER"},
        {"", "", long_url, "CLERK_ISSUER"},
    };
    struct clerk *clerk = NULL;
    struct session_claims claims;
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        config = configure(ROWS[i].url, ROWS[i].pem);
        config.clerk_issuer = ROWS[i].issuer;
        problem[0] = '\0';
        enum error err = clerk_new(&config, NULL, NULL, &clerk, problem);
        assert_int_equal(err, ROWS[i].variable ? ERROR_NOT_CONFIGURED : ERROR_OK);
        assert_int_equal(clerk == NULL, ROWS[i].variable != NULL);
        if (ROWS[i].variable)
            assert_memory_equal(problem, ROWS[i].variable, strlen(ROWS[i].variable));
        clerk_free(clerk);
    }
    /* Not configured: no token is accepted. */
    config = configure("", "");
    assert_int_equal(clerk_new(&config, NULL, NULL, &clerk, problem), ERROR_OK);
    assert_null(clerk);
    char *token = make_token(0, "k0", "user_1");
    assert_int_equal(clerk_verify(NULL, text_from(token), &claims), ERROR_UNAUTHORIZED);
    free(token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_five_minutes),
        cmocka_unit_test(test_unknown_kid),
        cmocka_unit_test(test_failed_fetch),
        cmocka_unit_test(test_no_keys_at_first),
        cmocka_unit_test(test_one_fetch_at_a_time),
        cmocka_unit_test(test_hanging_fetch_holds_nobody_up),
        cmocka_unit_test(test_new_keys_among_readers),
        cmocka_unit_test(test_remembered),
        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_configuration),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
