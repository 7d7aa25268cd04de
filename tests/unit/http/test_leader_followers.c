/* Threads with one loop: who waits gives it up, tasks are run, and the end waits for all of it. */
#include "http/leader_followers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "../await.h"
#include "base/blocking.h"

enum { THREADS = 4, TURNS = 2000 };

struct fixture {
    struct leader_followers *set;
    atomic_bool stop;
    atomic_int inside; /* threads in the loop */
    atomic_int most;   /* of them at any time */
    atomic_int turns;  /* of the loop */
    atomic_int tasks_run;
    atomic_int held; /* tasks that hold a thread */
    atomic_bool release;
    atomic_bool burst; /* the next turn is to add tasks */
    void (*turn)(struct fixture *fixture, int number);
};

struct counted {
    struct task task;
    struct fixture *fixture;
};

static void loop(void *context)
{
    struct fixture *fixture = context;
    while (leader_followers_has_loop() && !atomic_load(&fixture->stop)) {
        int inside = atomic_fetch_add(&fixture->inside, 1) + 1;
        if (inside > atomic_load(&fixture->most))
            atomic_store(&fixture->most, inside);
        int number = atomic_fetch_add(&fixture->turns, 1);
        atomic_fetch_sub(&fixture->inside, 1);
        fixture->turn(fixture, number);
    }
}

static void wake(void *context)
{
    struct fixture *fixture = context;
    atomic_store(&fixture->stop, true);
}

static bool comes(const atomic_int *value, int least)
{
    return AWAIT_TRUE(atomic_load(value) >= least);
}

static void start(struct fixture *fixture, int threads,
                  void (*turn)(struct fixture *fixture, int number))
{
    fixture->turn = turn;
    fixture->set = leader_followers_new(threads, loop, fixture);
    assert_non_null(fixture->set);
    assert_true(leader_followers_start(fixture->set));
}

static void stop(struct fixture *fixture)
{
    leader_followers_stop(fixture->set, wake);
    leader_followers_free(fixture->set);
    assert_int_equal(atomic_load(&fixture->most), 1);
}

static void wait_now_and_then(struct fixture *fixture, int number)
{
    (void)fixture;
    if (number % 3 == 0) {
        assert_true(leader_followers_has_loop());
        blocking_begin();
        assert_false(leader_followers_has_loop());
        usleep(50);
        blocking_begin(); /* again, and nothing to give up */
    }
}

/* Many hand-overs: never two threads in the loop, and never none for long. */
static void test_one_has_the_loop(void **state)
{
    (void)state;
    struct fixture fixture = {.set = NULL};
    start(&fixture, THREADS, wait_now_and_then);
    assert_true(comes(&fixture.turns, TURNS));
    stop(&fixture);
}

static void hold_a_thread(struct fixture *fixture, int number)
{
    (void)number;
    if (atomic_load(&fixture->held) >= THREADS - 1)
        return;
    atomic_fetch_add(&fixture->held, 1);
    blocking_begin();
    while (!atomic_load(&fixture->release))
        await_nap();
}

/* All threads but one wait; the loop goes on. */
static void test_the_loop_goes_on_beside_waiting_threads(void **state)
{
    (void)state;
    struct fixture fixture = {.set = NULL};
    start(&fixture, THREADS, hold_a_thread);
    assert_true(comes(&fixture.held, THREADS - 1));
    int before = atomic_load(&fixture.turns);
    assert_true(comes(&fixture.turns, before + TURNS));
    atomic_store(&fixture.release, true);
    stop(&fixture);
}

/* A set of one: the loop waits with its thread, and comes back. */
static void test_one_thread(void **state)
{
    (void)state;
    struct fixture fixture = {.set = NULL};
    start(&fixture, 1, wait_now_and_then);
    assert_true(comes(&fixture.turns, TURNS));
    stop(&fixture);
}

static void count_task(struct task *task)
{
    struct counted *counted = (struct counted *)task;
    blocking_begin();
    usleep(1000);
    atomic_fetch_add(&counted->fixture->tasks_run, 1);
}

enum { TASKS = 100 };
static struct counted tasks[TASKS];

static void add_tasks(struct fixture *fixture, int number)
{
    if (number < TASKS) {
        tasks[number] = (struct counted){.task.run = count_task, .fixture = fixture};
        assert_true(blocking_run(&tasks[number].task));
    }
}

static void test_tasks(void **state)
{
    (void)state;
    struct fixture fixture = {.set = NULL};
    start(&fixture, THREADS, add_tasks);
    assert_true(comes(&fixture.tasks_run, TASKS));
    stop(&fixture);
}

enum { LONG_TASKS = 40 };
static struct counted long_tasks[LONG_TASKS];
static atomic_int turns_meanwhile;

static void run_long(struct task *task)
{
    struct counted *counted = (struct counted *)task;
    int before = atomic_load(&counted->fixture->turns);
    blocking_begin();
    if (comes(&counted->fixture->turns, before + 1))
        atomic_fetch_add(&turns_meanwhile, 1);
    atomic_fetch_add(&counted->fixture->tasks_run, 1);
}

static void add_long_tasks_then_wait(struct fixture *fixture, int number)
{
    if (number < LONG_TASKS) {
        long_tasks[number] = (struct counted){.task.run = run_long, .fixture = fixture};
        assert_true(blocking_run(&long_tasks[number].task));
    } else {
        blocking_begin();
        usleep(1000);
    }
}

/* Many tasks that wait do not keep all threads from the loop. */
static void test_the_loop_goes_on_beside_tasks(void **state)
{
    (void)state;
    struct fixture fixture = {.set = NULL};
    start(&fixture, THREADS, add_long_tasks_then_wait);
    assert_true(comes(&fixture.tasks_run, LONG_TASKS));
    stop(&fixture);
    assert_int_equal(atomic_load(&turns_meanwhile), LONG_TASKS);
}

static void add_one_task(struct fixture *fixture, int number)
{
    if (number == 0)
        add_tasks(fixture, 0);
}

/* A thread that never waits lets go of the loop for a task that nobody else could run. */
static void test_a_task_beside_a_loop_that_never_waits(void **state)
{
    (void)state;
    struct fixture fixture = {.set = NULL};
    start(&fixture, 1, add_one_task);
    assert_true(comes(&fixture.tasks_run, 1));
    stop(&fixture);
}

/* What was to be run is run before the end. */
static void test_the_end_waits_for_tasks(void **state)
{
    (void)state;
    struct fixture fixture = {.set = NULL};
    start(&fixture, 2, add_tasks);
    assert_true(comes(&fixture.turns, TASKS));
    stop(&fixture);
    assert_int_equal(atomic_load(&fixture.tasks_run), TASKS);
}

enum { BURST = THREADS - 1 };
static struct counted burst[BURST];

static void run_held(struct task *task)
{
    struct fixture *fixture = ((struct counted *)task)->fixture;
    atomic_fetch_add(&fixture->held, 1);
    blocking_begin();
    while (!atomic_load(&fixture->release))
        await_nap();
    atomic_fetch_sub(&fixture->held, 1);
    atomic_fetch_add(&fixture->tasks_run, 1);
}

static void add_burst(struct fixture *fixture, int number)
{
    (void)number;
    if (!atomic_exchange(&fixture->burst, false))
        return;
    for (int i = 0; i < BURST; i++) {
        burst[i] = (struct counted){.task.run = run_held, .fixture = fixture};
        assert_true(blocking_run(&burst[i].task));
    }
}

/* Tasks that come at once have a thread each, with new threads and with idle ones, and the loop
 * too. */
static void test_a_burst_of_tasks(void **state)
{
    (void)state;
    struct fixture fixture = {.set = NULL};
    start(&fixture, THREADS, add_burst);
    for (int round = 1; round <= 50; round++) {
        atomic_store(&fixture.release, false);
        atomic_store(&fixture.burst, true);
        assert_true(comes(&fixture.held, BURST));
        assert_true(comes(&fixture.turns, atomic_load(&fixture.turns) + 10));
        atomic_store(&fixture.release, true);
        assert_true(comes(&fixture.tasks_run, round * BURST));
    }
    stop(&fixture);
}

static void note_policy(struct task *task)
{
    struct fixture *fixture = ((struct counted *)task)->fixture;
    atomic_store(&fixture->held, 1 + sched_getscheduler(0));
}

static struct counted noted;

/* The first turn batches and starts a thread by a task, the second gives the loop up. */
static void batch(struct fixture *fixture, int number)
{
    if (number == 0) {
        assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
        leader_followers_batch();
        assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
        noted = (struct counted){.task.run = note_policy, .fixture = fixture};
        assert_true(blocking_run(&noted.task));
    } else if (number == 1) {
        assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
        blocking_begin();
        leader_followers_batch(); /* not without the loop */
        assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
    }
    usleep(100);
}

/* A thread that batches does until it gives the loop up, and no other one does. */
static void test_the_loop_batches(void **state)
{
    (void)state;
    struct fixture fixture = {.set = NULL};
    start(&fixture, THREADS, batch);
    assert_true(comes(&fixture.turns, 100));
    assert_true(comes(&fixture.held, 1));
    assert_int_equal(atomic_load(&fixture.held), 1 + SCHED_OTHER);
    stop(&fixture);
}

static void batch_and_wait(struct fixture *fixture, int number)
{
    (void)fixture;
    (void)number;
    leader_followers_batch();
    blocking_begin();
    assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
}

/* Whoever runs the process may have chosen a policy for all of it. */
static void test_a_chosen_policy_stays(void **state)
{
    (void)state;
    static const struct sched_param NO_PRIORITY = {.sched_priority = 0};
    struct fixture fixture = {.set = NULL};
    assert_int_equal(sched_setscheduler(0, SCHED_BATCH, &NO_PRIORITY), 0);
    start(&fixture, THREADS, batch_and_wait);
    assert_true(comes(&fixture.turns, TURNS));
    stop(&fixture);
    assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &NO_PRIORITY), 0);
}

static void test_outside_a_crew(void **state)
{
    (void)state;
    struct counted one = {.task.run = count_task};
    assert_false(leader_followers_has_loop());
    leader_followers_batch();
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
    blocking_begin();
    assert_false(blocking_run(&one.task));
    leader_followers_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_has_the_loop),
        cmocka_unit_test(test_the_loop_goes_on_beside_waiting_threads),
        cmocka_unit_test(test_one_thread),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test(test_the_loop_goes_on_beside_tasks),
        cmocka_unit_test(test_a_task_beside_a_loop_that_never_waits),
        cmocka_unit_test(test_the_end_waits_for_tasks),
        cmocka_unit_test(test_a_burst_of_tasks),
        cmocka_unit_test(test_the_loop_batches),
        cmocka_unit_test(test_a_chosen_policy_stays),
        cmocka_unit_test(test_outside_a_crew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
