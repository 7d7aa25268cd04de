/* Keys and many threads: one fetches, nobody waits who can do without. */
#include "clerk_server.h"

#include "../await.h"

enum { THREADS = 16 };

struct crowd {
    struct clerk *clerk;
    char *token;
    int rounds;
    enum error expected, other; /* either is right */
    atomic_int wrong;
    pthread_barrier_t gate;
};

static void *join_crowd(void *context)
{
    struct crowd *crowd = context;
    pthread_barrier_wait(&crowd->gate);
    for (int i = 0; i < crowd->rounds; i++) {
        struct session_claims claims;
        enum error err = clerk_verify(crowd->clerk, text_from(crowd->token), &claims);
        if (err != crowd->expected && err != crowd->other)
            atomic_fetch_add(&crowd->wrong, 1);
    }
    return NULL;
}

/* Sixteen threads verify one token at once. */
static void run_crowd(struct crowd *crowd)
{
    pthread_t threads[THREADS];
    atomic_store(&crowd->wrong, 0);
    pthread_barrier_init(&crowd->gate, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, join_crowd, crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&crowd->gate);
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
    AWAIT(fetches() == 2);
    struct crowd crowd = {.clerk = clerk, .rounds = 5, .expected = ERROR_OK};
    crowd.token = make_token(0, "k0", "user_1");
    run_crowd(&crowd);
    assert_int_equal(atomic_load(&fetching), 1);
    free(crowd.token);
    /* Ends the hang. */
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
        atomic_fetch_add(&reads, 1);
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
    atomic_store(&reads, 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_always, &crowd), 0);
    AWAIT(atomic_load(&reads) > 4 * THREADS);
    publish(1);
    pass_ms(JWKS_PAUSE_MS);
    assert_int_equal(verify(clerk, 1, "k1"), ERROR_OK);
    atomic_store(&readers_stop, true);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    /* Each thread had one under way, and perhaps one that it had not counted yet. */
    assert_in_range(atomic_load(&reads_waited), 0, 2 * THREADS);
    free(crowd.token);
    stop(clerk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_fetch_at_a_time),
        cmocka_unit_test(test_hanging_fetch_holds_nobody_up),
        cmocka_unit_test(test_new_keys_among_readers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
