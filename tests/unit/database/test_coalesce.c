/* Natural batching: every item is run once, by one flight, and its waiter returns after that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "database/coalesce.h"

enum { THREADS = 32, ROUNDS = 200, LANES = 2, FLIGHT_MAX = 8 };

struct item {
    int value;
    int runs;
    int result;
};

struct recorder {
    atomic_int out;       /* flights under way */
    atomic_int most_out;
    atomic_int largest;
    atomic_int flights;
    atomic_bool hold;     /* flights wait while this is set */
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
    atomic_fetch_add(&recorder->flights, 1);
    while (atomic_load(&recorder->hold))
        usleep(100);
    for (size_t i = 0; i < count; i++) {
        struct item *item = items[i];
        item->runs++;
        item->result = 2 * item->value;
    }
    atomic_fetch_sub(&recorder->out, 1);
}

static struct coalescer *make(struct recorder *recorder, size_t lanes, size_t queue_max)
{
    struct coalescer_options options = {
        .lanes = lanes,
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
    struct coalescer *coalescer = make(&recorder, LANES, THREADS);
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
    assert_true(atomic_load(&recorder.most_out) <= LANES);
    assert_true(atomic_load(&recorder.largest) <= FLIGHT_MAX);
    coalescer_free(coalescer);
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
    while (atomic_load(&recorder.out) == 0)
        usleep(100);
    for (int i = 1; i < ALL; i++)
        pthread_create(&threads[i], NULL, submit_one, &submitters[i]);
    /* The refused ones return by themselves; then the rest may fly. */
    int refused = 0;
    for (int wait = 0; wait < 5000 && refused < EXTRA; wait++) {
        refused = 0;
        for (int i = 1; i < ALL; i++)
            refused += __atomic_load_n(&submitters[i].err, __ATOMIC_ACQUIRE) == ERROR_OVERLOADED;
        usleep(1000);
    }
    atomic_store(&recorder.hold, false);
    for (int i = 0; i < ALL; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(submitters[i].wrong, 0);
    }
    assert_int_equal(refused, EXTRA);
    assert_int_equal(atomic_load(&recorder.flights), 2);
    assert_int_equal(atomic_load(&recorder.largest), QUEUE);
    coalescer_free(coalescer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_queue_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
