/*
 * Natural batching: every item is run once, by one flight, and its waiter returns after that. The
 * clock is the test's own, and stands unless it is moved: database/coalesce.c is compiled here once
 * more, under other names.
 */
#include "base/clock.h"

static int64_t fake_monotonic_ms(void);

#define coalescer_new tested_coalescer_new
#define coalescer_free tested_coalescer_free
#define coalescer_start tested_coalescer_start
#define coalescer_submit tested_coalescer_submit
#define clock_monotonic_ms fake_monotonic_ms
#include "database/coalesce.c" /* NOLINT: see above */

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "../await.h"

enum { THREADS = 32, ROUNDS = 200, SLOTS = 2, FLIGHT_MAX = 8 };

static atomic_long now_ms;

static int64_t fake_monotonic_ms(void)
{
    return 1000 + atomic_load(&now_ms);
}

struct item {
    int value;
    int runs;
    int result;
};

struct recorder {
    atomic_int out; /* flights under way */
    atomic_int most_out;
    atomic_int largest;
    atomic_int flights;
    atomic_bool hold;     /* flights wait while this is set */
    atomic_int hold_only; /* and while not 0, those of at least so many items */
    atomic_int *watched;  /* when not NULL: what the last flight found there when it began */
    int found;
};

static void raise_to(atomic_int *most, int value)
{
    int seen = atomic_load(most);
    while (value > seen && !atomic_compare_exchange_weak(most, &seen, value))
        ;
}

static void run(void *context, void *const *items, size_t count)
{
    struct recorder *recorder = context;
    raise_to(&recorder->most_out, atomic_fetch_add(&recorder->out, 1) + 1);
    raise_to(&recorder->largest, (int)count);
    if (recorder->watched)
        recorder->found = atomic_load(recorder->watched);
    atomic_fetch_add(&recorder->flights, 1);
    blocking_idle(); /* as whoever sends a statement, before it waits for the answer */
    while (atomic_load(&recorder->hold) ||
           (atomic_load(&recorder->hold_only) && (int)count >= atomic_load(&recorder->hold_only)))
        await_nap();
    for (size_t i = 0; i < count; i++) {
        struct item *item = items[i];
        item->runs++;
        item->result = 2 * item->value;
    }
    atomic_fetch_sub(&recorder->out, 1);
}

static struct coalescer *make(struct recorder *recorder, size_t slots, size_t queue_max)
{
    struct coalescer_options options = {
        .slots = slots,
        .flight_max = FLIGHT_MAX,
        .queue_max = queue_max,
        .run = run,
        .context = recorder,
    };
    struct coalescer *coalescer = coalescer_new(&options);
    assert_non_null(coalescer);
    return coalescer;
}

struct submitter {
    struct coalescer *coalescer;
    int first;
    int wrong;
    enum error err;
};

static void *submit_many(void *argument)
{
    struct submitter *submitter = argument;
    for (int i = 0; i < ROUNDS; i++) {
        struct item item = {.value = submitter->first + i};
        enum error err = coalescer_submit(submitter->coalescer, &item);
        if (err || item.runs != 1 || item.result != 2 * item.value)
            submitter->wrong++;
    }
    return NULL;
}

static void *submit_one(void *argument)
{
    struct submitter *submitter = argument;
    struct item item = {.value = submitter->first};
    enum error err = coalescer_submit(submitter->coalescer, &item);
    submitter->wrong = err ? item.runs : item.runs - 1;
    __atomic_store_n(&submitter->err, err, __ATOMIC_RELEASE);
    return NULL;
}

static void test_alone(void **state)
{
    (void)state;
    struct recorder recorder = {.hold = false};
    struct coalescer *coalescer = make(&recorder, 1, 4);
    for (int i = 0; i < 10; i++) {
        struct item item = {.value = i};
        assert_int_equal(coalescer_submit(coalescer, &item), ERROR_OK);
        assert_int_equal(item.result, 2 * i);
    }
    assert_int_equal(atomic_load(&recorder.flights), 10);
    assert_int_equal(atomic_load(&recorder.largest), 1);
    coalescer_free(coalescer);
    coalescer_free(NULL);
}

static void test_many_threads(void **state)
{
    (void)state;
    struct recorder recorder = {.hold = false};
    struct coalescer *coalescer = make(&recorder, SLOTS, THREADS);
    struct submitter submitters[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        submitters[i] = (struct submitter){.coalescer = coalescer, .first = i * ROUNDS};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &submitters[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(submitters[i].wrong, 0);
    }
    assert_true(atomic_load(&recorder.most_out) <= SLOTS);
    assert_true(atomic_load(&recorder.largest) <= FLIGHT_MAX);
    coalescer_free(coalescer);
}

static int count_refused(const struct submitter *submitters, int count)
{
    int refused = 0;
    for (int i = 0; i < count; i++)
        refused += __atomic_load_n(&submitters[i].err, __ATOMIC_ACQUIRE) == ERROR_OVERLOADED;
    return refused;
}

/* While a flight is out the rest queues, and one more than the queue holds is refused unrun. */
static void test_queue_is_bounded(void **state)
{
    (void)state;
    enum { QUEUE = 5, EXTRA = 3, ALL = 1 + QUEUE + EXTRA };
    struct recorder recorder = {.hold = true};
    struct coalescer *coalescer = make(&recorder, 1, QUEUE);
    struct submitter submitters[ALL];
    pthread_t threads[ALL];
    for (int i = 0; i < ALL; i++)
        submitters[i] = (struct submitter){.coalescer = coalescer, .first = i};
    pthread_create(&threads[0], NULL, submit_one, &submitters[0]);
    AWAIT(atomic_load(&recorder.out) == 1);
    for (int i = 1; i < ALL; i++)
        pthread_create(&threads[i], NULL, submit_one, &submitters[i]);
    /* The refused ones return by themselves; then the rest may fly. */
    AWAIT(count_refused(submitters, ALL) == EXTRA);
    atomic_store(&recorder.hold, false);
    for (int i = 0; i < ALL; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(submitters[i].wrong, 0);
    }
    assert_int_equal(count_refused(submitters, ALL), EXTRA);
    assert_int_equal(atomic_load(&recorder.flights), 2);
    assert_int_equal(atomic_load(&recorder.largest), QUEUE);
    coalescer_free(coalescer);
}

/* --- items that no thread waits for --- */

struct started {
    struct item item; /* first: the item is found by it */
    atomic_int done;
};

static void note_done(void *context)
{
    struct started *started = context;
    atomic_fetch_add(&started->done, 1);
}

static void test_start_alone(void **state)
{
    (void)state;
    struct recorder recorder = {.hold = false};
    struct coalescer *coalescer = make(&recorder, 1, 4);
    struct started one = {.item.value = 7};
    assert_int_equal(coalescer_start(coalescer, &one, note_done, &one), ERROR_OK);
    assert_int_equal(atomic_load(&one.done), 1);
    assert_int_equal(one.item.result, 14);
    coalescer_free(coalescer);
}

enum { STARTED = 400 };

struct starter {
    struct coalescer *coalescer;
    struct started *all;
    int refused;
};

static void *start_many(void *argument)
{
    struct starter *starter = argument;
    for (int i = 0; i < STARTED; i++) {
        struct started *started = &starter->all[i];
        started->item.value = i;
        enum error err = coalescer_start(starter->coalescer, started, note_done, started);
        starter->refused += err != ERROR_OK;
    }
    return NULL;
}

static bool all_done(struct started *all, int count)
{
    for (int i = 0; i < count; i++)
        if (atomic_load(&all[i].done) == 0)
            return false;
    return true;
}

/* Threads that start and threads that wait share flights; every item is run and told of once. */
static void test_started_and_submitted(void **state)
{
    (void)state;
    enum { STARTERS = 4, WAITERS = 8 };
    struct recorder recorder = {.hold = false};
    struct coalescer *coalescer = make(&recorder, SLOTS, STARTERS * STARTED + WAITERS);
    struct started *all = calloc(STARTERS * STARTED, sizeof(*all));
    struct starter starters[STARTERS];
    struct submitter submitters[WAITERS];
    pthread_t threads[STARTERS + WAITERS];
    assert_non_null(all);
    for (int i = 0; i < STARTERS; i++) {
        starters[i] = (struct starter){.coalescer = coalescer, .all = all + (size_t)i * STARTED};
        pthread_create(&threads[i], NULL, start_many, &starters[i]);
    }
    for (int i = 0; i < WAITERS; i++) {
        submitters[i] = (struct submitter){.coalescer = coalescer, .first = i * ROUNDS};
        pthread_create(&threads[STARTERS + i], NULL, submit_many, &submitters[i]);
    }
    for (int i = 0; i < STARTERS + WAITERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < WAITERS; i++)
        assert_int_equal(submitters[i].wrong, 0);
    AWAIT(all_done(all, STARTERS * STARTED));
    for (int i = 0; i < STARTERS * STARTED; i++) {
        assert_int_equal(starters[i / STARTED].refused, 0);
        assert_int_equal(atomic_load(&all[i].done), 1);
        assert_int_equal(all[i].item.runs, 1);
        assert_int_equal(all[i].item.result, 2 * (i % STARTED));
    }
    assert_true(atomic_load(&recorder.most_out) <= SLOTS);
    free(all);
    coalescer_free(coalescer);
}

static void *start_one(void *argument)
{
    struct starter *starter = argument;
    starter->refused =
        coalescer_start(starter->coalescer, starter->all, note_done, starter->all) != ERROR_OK;
    return NULL;
}

static void start_in_thread(struct starter *starter, pthread_t *thread)
{
    assert_int_equal(pthread_create(thread, NULL, start_one, starter), 0);
}

static void start_here(struct coalescer *coalescer, struct started *items, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(coalescer_start(coalescer, &items[i], note_done, &items[i]), ERROR_OK);
}

static void wait_flights(struct recorder *recorder, int flights)
{
    AWAIT(atomic_load(&recorder->flights) >= flights);
    assert_int_equal(atomic_load(&recorder->flights), flights);
}

enum { LARGE = COALESCE_SMALL + 1 };

/* A large flight that is out and stays, as when somebody holds a row it needs. */
struct held {
    struct recorder recorder;
    struct coalescer *coalescer;
    struct started early[SLOTS]; /* what kept the slots while it gathered; done */
    struct started large[LARGE];
    struct starter starters[SLOTS + 1]; /* the last one is for the test */
    pthread_t threads[SLOTS + 1];
};

static void start_apart(struct held *held, int number, struct started *item)
{
    held->starters[number] = (struct starter){.coalescer = held->coalescer, .all = item};
    start_in_thread(&held->starters[number], &held->threads[number]);
}

static void hold_large_flight(struct held *held, size_t queue_max)
{
    *held = (struct held){.recorder.hold = true};
    held->coalescer = make(&held->recorder, SLOTS, queue_max);
    for (int i = 0; i < SLOTS; i++)
        start_apart(held, i, &held->early[i]);
    wait_flights(&held->recorder, SLOTS);
    start_here(held->coalescer, held->large, LARGE);
    atomic_store(&held->recorder.hold_only, LARGE);
    atomic_store(&held->recorder.hold, false);
    wait_flights(&held->recorder, SLOTS + 1);
    AWAIT(all_done(held->early, SLOTS));
}

static void let_large_flight_go(struct held *held)
{
    atomic_store(&held->recorder.hold_only, 0);
    AWAIT(all_done(held->large, LARGE));
    for (int i = 0; i <= SLOTS; i++)
        pthread_join(held->threads[i], NULL);
    assert_int_equal(held->starters[SLOTS].refused, 0);
}

/* Who comes within the patience waits for it, who comes later does not, and takes those along. */
static void test_a_flight_that_does_not_come_back(void **state)
{
    (void)state;
    struct held held;
    struct started later[3] = {{.item.value = 0}};
    hold_large_flight(&held, 64);
    start_here(held.coalescer, later, 1);
    atomic_fetch_add(&now_ms, COALESCE_PATIENCE_MS - 1);
    start_here(held.coalescer, later + 1, 1);
    assert_int_equal(atomic_load(&held.recorder.flights), SLOTS + 1);
    atomic_fetch_add(&now_ms, 1);
    start_apart(&held, SLOTS, &later[2]);
    AWAIT(all_done(later, 3));
    assert_int_equal(atomic_load(&held.recorder.flights), SLOTS + 2);
    assert_int_equal(atomic_load(&held.recorder.largest), LARGE);
    assert_int_equal(atomic_load(&held.large[0].done), 0);
    let_large_flight_go(&held);
    coalescer_free(held.coalescer);
}

/* A queue that is full beside it: the free slot empties it. */
static void test_a_full_queue_beside_a_held_flight(void **state)
{
    (void)state;
    enum { QUEUE = LARGE };
    struct held held;
    struct started queued[QUEUE + 1] = {{.item.value = 0}};
    hold_large_flight(&held, QUEUE);
    start_here(held.coalescer, queued, QUEUE);
    atomic_fetch_add(&now_ms, COALESCE_PATIENCE_MS);
    start_apart(&held, SLOTS, &queued[QUEUE]);
    /* What was queued is out as well; it is as large, so it stays until both may go. */
    wait_flights(&held.recorder, SLOTS + 2);
    let_large_flight_go(&held);
    AWAIT(all_done(queued, QUEUE + 1));
    coalescer_free(held.coalescer);
}

/* One thread leads two flights: while it waits for the second, the first one's answers are out. */
static void test_answers_do_not_wait_for_the_next_flight(void **state)
{
    (void)state;
    enum { FIRST = 2, SECOND = 3 };
    struct recorder recorder = {.hold = true};
    struct coalescer *coalescer = make(&recorder, 1, 64);
    struct started alone = {.item.value = 0};
    struct started first[FIRST] = {{.item.value = 0}}, second[SECOND] = {{.item.value = 0}};
    struct starter starter = {.coalescer = coalescer, .all = &alone};
    pthread_t thread;
    start_in_thread(&starter, &thread);
    wait_flights(&recorder, 1);
    start_here(coalescer, first, FIRST);
    atomic_store(&recorder.hold_only, FIRST);
    atomic_store(&recorder.hold, false);
    wait_flights(&recorder, 2);
    start_here(coalescer, second, SECOND);
    recorder.watched = &first[0].done;
    atomic_store(&recorder.hold_only, SECOND);
    AWAIT(all_done(first, FIRST));
    wait_flights(&recorder, 3);
    assert_int_equal(recorder.found, 0); /* the second was on its way before that */
    assert_int_equal(atomic_load(&second[0].done), 0);
    atomic_store(&recorder.hold_only, 0);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&second[SECOND - 1].done), 1);
    coalescer_free(coalescer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_queue_is_bounded),
        cmocka_unit_test(test_start_alone),
        cmocka_unit_test(test_started_and_submitted),
        cmocka_unit_test(test_a_flight_that_does_not_come_back),
        cmocka_unit_test(test_a_full_queue_beside_a_held_flight),
        cmocka_unit_test(test_answers_do_not_wait_for_the_next_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
