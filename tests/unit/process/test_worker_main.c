/* A worker in a process of its own: its steps, how it ends, and when it must not begin. */
#include "process/worker_main.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Seen by the test and by the worker. */
static struct shared {
    atomic_int first, second, hanging;
} * shared;

static bool no_defaults; /* of libpq: memory is out */

/* libpq's, which the sandbox asks for the files that connections read. */
struct _PQconninfoOption *PQconndefaults(void);
struct _PQconninfoOption *PQconndefaults(void)
{
    return no_defaults ? NULL : calloc(1, 64); /* an empty list, for PQconninfoFree */
}

static enum error step_first(struct app *app, bool *ret_worked)
{
    (void)app;
    *ret_worked = atomic_fetch_add(&shared->first, 1) < 9;
    return ERROR_OK;
}

/* Fails each time; that it says it worked counts for nothing then. */
static enum error step_second(struct app *app, bool *ret_worked)
{
    (void)app;
    *ret_worked = true;
    atomic_fetch_add(&shared->second, 1);
    return ERROR_DATABASE_UNAVAILABLE;
}

static enum error step_hanging(struct app *app, bool *ret_worked)
{
    (void)app;
    (void)ret_worked;
    atomic_fetch_add(&shared->hanging, 1);
    clock_sleep_ms(600000);
    return ERROR_OK;
}

static worker_step *const IN_TURN[] = {step_first, step_second, NULL};
static worker_step *const HANGING[] = {step_hanging, NULL};
static const struct worker_duty DUTIES[] = {{IN_TURN, 1}};
static const struct worker_duty HANGING_DUTIES[] = {{IN_TURN, 2}, {HANGING, 3}};

static struct worker worker = {
    .name = "test", .duties = DUTIES, .duty_count = 1, .idle_ms = 3600000, .stop_ms = 30000};

static pid_t start_worker(const char *url)
{
    memset(shared, 0, sizeof(*shared));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("POSTGRES_URL", url, 1);
        _exit(worker_main(&worker));
    }
    assert_true(pid > 0);
    return pid;
}

static int exit_status(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void wait_for(const atomic_int *count, int least)
{
    for (int i = 0; i < 3000 && atomic_load(count) < least; i++)
        clock_sleep_ms(10);
    assert_true(atomic_load(count) >= least);
}

/* Nine rounds with work, one without, then the pause, which a signal ends. */
static void test_steps_in_turn(void **state)
{
    (void)state;
    pid_t pid = start_worker("postgresql://u@localhost/d");
    wait_for(&shared->second, 10);
    kill(pid, SIGTERM);
    assert_int_equal(exit_status(pid), 0);
    assert_int_equal(atomic_load(&shared->first), 10);
    assert_int_equal(atomic_load(&shared->second), 10);
}

/* What hangs does not keep the worker: it leaves as one that is done. */
static void test_cut_off(void **state)
{
    (void)state;
    struct worker as_it_was = worker;
    worker.duties = HANGING_DUTIES;
    worker.duty_count = COUNT(HANGING_DUTIES);
    worker.stop_ms = 50;
    pid_t pid = start_worker("postgresql://u@localhost/d");
    wait_for(&shared->hanging, 3);
    kill(pid, SIGINT);
    assert_int_equal(exit_status(pid), 0);
    worker = as_it_was;
}

/* What it would read later might not be allowed then: it does not begin. */
static void test_not_confined(void **state)
{
    (void)state;
    no_defaults = true;
    pid_t pid = start_worker("postgresql://u@localhost/d");
    assert_int_equal(exit_status(pid), EXIT_FAILURE);
    no_defaults = false;
    assert_int_equal(atomic_load(&shared->first), 0);
}

static void test_wrong_setting(void **state)
{
    (void)state;
    pid_t pid = start_worker("nonsense");
    assert_int_equal(exit_status(pid), EX_CONFIG);
    assert_int_equal(atomic_load(&shared->first), 0);
}

int main(void)
{
    char prefix[64];
    char path[96];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_in_turn),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_not_confined),
        cmocka_unit_test(test_wrong_setting),
    };
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return EXIT_FAILURE;
    snprintf(prefix, sizeof(prefix), "/dev/shm/dl-unit-worker-%d", (int)getpid());
    setenv("SHARED_MEMORY", prefix, 1);
    unsetenv("NOTIFY_SOCKET");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s.%s", prefix, i == 0 ? "cache" : "metrics");
        unlink(path);
    }
    return failed;
}
