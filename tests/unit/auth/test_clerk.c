/* Where the keys come from, with faults of their server; and what is remembered of tokens. */
#include "clerk_server.h"

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
#define clerk_wait_seconds tested_clerk_wait_seconds
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
        cmocka_unit_test(test_kept_five_minutes), cmocka_unit_test(test_unknown_kid),
        cmocka_unit_test(test_failed_fetch),      cmocka_unit_test(test_no_keys_at_first),
        cmocka_unit_test(test_remembered),        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_configuration),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
