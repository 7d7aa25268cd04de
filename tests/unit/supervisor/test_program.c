/* The states of a program: real processes, a clock that the test moves. */
#include "supervisor/program.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "place.h"

static struct place place;

static int make(void **state)
{
    (void)state;
    place_make(&place);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    place_remove(&place);
    return 0;
}

static struct program opened(const char *name)
{
    struct program program;
    assert_true(program_open(name, &place.folders, &program));
    return program;
}

/* Stops all of a program's processes and sees them end. */
static void finish(struct program *program, int64_t now_ms)
{
    program_stop(program, now_ms);
    for (size_t i = 0; i < PROGRAM_DRAINING_MAX; i++) {
        pid_t pid = program->draining[i].pid;
        if (pid != 0)
            assert_true(program_notify_exit(program, pid, place_reap(pid), now_ms));
    }
    assert_int_equal(program_process_count(program), 0);
    close(program->listen_fd);
}

static void assert_status(const struct program *program, int64_t now_ms, const char *expected)
{
    char line[PROGRAM_STATUS_BYTES_MAX];
    size_t len = program_format_status(program, now_ms, line);
    assert_int_equal(len, strlen(line));
    assert_string_equal(line, expected);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const GOOD[] = {"tokens", "init-db", "a", "0", "payments-webhook"};
    static const char *const BAD[] = {
        "", "-a", "A", "a.b", "../a", "a b", "a_b", "a\n", "abcdefghijklmnopqrstuvwxyz012345",
    };
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++)
        assert_true(program_name_valid(GOOD[i]));
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
        assert_false(program_name_valid(BAD[i]));
}

static void test_socket(void **state)
{
    (void)state;
    char path[128];
    struct stat status;
    struct program program = opened("sleeper");
    snprintf(path, sizeof(path), "%s/sockets/sleeper.sock", place.root);
    assert_int_equal(stat(path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0660);
    program_unlink(&program, &place.folders);
    assert_int_equal(stat(path, &status), -1);
    close(program.listen_fd);
}

static void test_from_start_to_ready(void **state)
{
    (void)state;
    char expected[128];
    struct program program = opened("sleeper");
    assert_int_equal(program_get_state(&program), PROGRAM_WAITING);
    assert_status(&program, 0, "sleeper pid=0 state=waiting uptime=0 restarts=0 draining=0\n");
    program_start(&program, &place.folders, 0);
    pid_t pid = program.current.pid;
    assert_true(pid > 0);
    assert_int_equal(program_get_state(&program), PROGRAM_STARTING);
    assert_int_equal(program_next_deadline(&program), INT64_MAX);
    assert_false(program_notify_ready(&program, pid + 1));
    assert_int_equal(program_get_state(&program), PROGRAM_STARTING);
    assert_true(program_notify_ready(&program, pid));
    snprintf(expected, sizeof(expected),
             "sleeper pid=%d state=ready uptime=61 restarts=0 draining=0\n", (int)pid);
    assert_status(&program, program.current.started_ms + 61999, expected);
    finish(&program, clock_monotonic_ms());
}

static void test_a_death_is_followed_by_a_start(void **state)
{
    (void)state;
    struct program program = opened("brief");
    program_start(&program, &place.folders, 0);
    for (int64_t delay_ms = 100; delay_ms <= 400; delay_ms *= 2) {
        pid_t pid = program.current.pid;
        int64_t died_ms = program.current.started_ms + 5;
        assert_true(program_notify_exit(&program, pid, place_reap(pid), died_ms));
        assert_int_equal(program_get_state(&program), PROGRAM_WAITING);
        assert_int_equal(program_next_deadline(&program), died_ms + delay_ms);
        program_tick(&program, &place.folders, died_ms + delay_ms - 1);
        assert_int_equal(program.current.pid, 0);
        program_tick(&program, &place.folders, died_ms + delay_ms);
        assert_true(program.current.pid > 0 && program.current.pid != pid);
    }
    assert_int_equal(program.restarts, 3);
    finish(&program, clock_monotonic_ms());
}

static void test_a_refused_configuration_is_not_started_again(void **state)
{
    (void)state;
    const char *reason = "";
    struct program program = opened("wrong");
    program_start(&program, &place.folders, 0);
    pid_t pid = program.current.pid;
    assert_true(program_notify_exit(&program, pid, place_reap(pid), 0));
    assert_status(&program, 0, "wrong pid=0 state=misconfigured uptime=0 restarts=0 draining=0\n");
    assert_int_equal(program_next_deadline(&program), INT64_MAX);
    program_tick(&program, &place.folders, INT64_MAX);
    assert_int_equal(program.current.pid, 0);

    /* A restart is what ends it, once the new process is ready. */
    place_write(&place, "wrong", "#!/bin/sh\nexec sleep 600\n");
    assert_true(program_restart_begin(&program, &place.folders, &reason));
    assert_int_equal(program_get_state(&program), PROGRAM_MISCONFIGURED);
    assert_true(program_notify_ready(&program, program.next.pid));
    assert_int_equal(program_restart_poll(&program, 0, &reason), RESTART_DONE);
    assert_int_equal(program_get_state(&program), PROGRAM_READY);
    finish(&program, clock_monotonic_ms());
    place_write(&place, "wrong", "#!/bin/sh\nexit 78\n");
}

static void test_the_old_process_leaves_after_the_new_one_is_ready(void **state)
{
    (void)state;
    const char *reason = "";
    struct program program = opened("sleeper");
    program_start(&program, &place.folders, 0);
    pid_t old = program.current.pid;
    program_notify_ready(&program, old);
    assert_true(program_restart_begin(&program, &place.folders, &reason));
    pid_t new = program.next.pid;
    int64_t now_ms = program.next.started_ms;
    assert_int_equal(program_restart_poll(&program, now_ms, &reason), RESTART_PENDING);
    assert_int_equal(program_next_deadline(&program), now_ms + PROCESS_READY_MS_MAX);
    assert_int_equal(program.current.pid, old);
    assert_int_equal(kill(old, 0), 0);
    program_notify_ready(&program, new);
    assert_int_equal(program_restart_poll(&program, now_ms, &reason), RESTART_DONE);
    assert_int_equal(program.current.pid, new);
    assert_int_equal(program_draining_count(&program), 1);
    assert_int_equal(program_next_deadline(&program), now_ms + PROCESS_DRAIN_MS_MAX);
    int wait_status = place_reap(old);
    assert_true(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGTERM);
    assert_true(program_notify_exit(&program, old, wait_status, now_ms));
    assert_int_equal(program_draining_count(&program), 0);
    assert_int_equal(program.restarts, 0);
    finish(&program, now_ms);
}

static void test_a_restart_that_fails_keeps_the_old_process(void **state)
{
    (void)state;
    const char *reason = "";
    struct program program = opened("sleeper");
    program_start(&program, &place.folders, 0);
    pid_t old = program.current.pid;
    program_notify_ready(&program, old);

    /* Never ready. */
    assert_true(program_restart_begin(&program, &place.folders, &reason));
    int64_t late_ms = program.next.started_ms + PROCESS_READY_MS_MAX;
    assert_int_equal(program_restart_poll(&program, late_ms, &reason), RESTART_FAILED);
    assert_string_equal(reason, "the new process was not ready within 10 s");
    assert_int_equal(program.current.pid, old);

    /* Ended at once. */
    assert_true(program_restart_begin(&program, &place.folders, &reason));
    pid_t new = program.next.pid;
    kill(new, SIGKILL);
    assert_true(program_notify_exit(&program, new, place_reap(new), late_ms));
    assert_int_equal(program_restart_poll(&program, late_ms, &reason), RESTART_FAILED);
    assert_string_equal(reason,
                        "the new process ended before it was ready; see the log of the handler");
    assert_int_equal(program_get_state(&program), PROGRAM_READY);
    assert_int_equal(program.current.pid, old);
    finish(&program, late_ms);
}

static void test_what_does_not_leave_is_killed(void **state)
{
    (void)state;
    place_write(&place, "deaf", "#!/bin/sh\ntrap '' TERM\nsleep 600 & wait\nwait\n");
    struct program program = opened("deaf");
    program_start(&program, &place.folders, 0);
    pid_t pid = program.current.pid;
    program_stop(&program, 1000);
    assert_int_equal(program_next_deadline(&program), 1000 + PROCESS_DRAIN_MS_MAX);
    program_tick(&program, &place.folders, 999 + PROCESS_DRAIN_MS_MAX);
    assert_int_equal(program_next_deadline(&program), 1000 + PROCESS_DRAIN_MS_MAX);
    program_tick(&program, &place.folders, 1000 + PROCESS_DRAIN_MS_MAX);
    assert_int_equal(program_next_deadline(&program), INT64_MAX);
    int wait_status = place_reap(pid);
    kill(-pid, SIGKILL); /* its sleep; it leads a group of its own */
    assert_true(WIFSIGNALED(wait_status));
    assert_true(program_notify_exit(&program, pid, wait_status, 1000 + PROCESS_DRAIN_MS_MAX));
    assert_int_equal(program_process_count(&program), 0);
    close(program.listen_fd);
}

static void test_a_start_that_fails_is_tried_again(void **state)
{
    (void)state;
    struct program program = opened("sleeper");
    place.folders.environment = "/no/such/file";
    program_start(&program, &place.folders, 1000);
    assert_int_equal(program_get_state(&program), PROGRAM_WAITING);
    assert_int_equal(program_next_deadline(&program), 1100);
    program_tick(&program, &place.folders, 1100);
    assert_int_equal(program_next_deadline(&program), 1300);
    place.folders.environment = place.environment;
    program_tick(&program, &place.folders, 1300);
    assert_int_equal(program_get_state(&program), PROGRAM_STARTING);
    finish(&program, clock_monotonic_ms());
}

static void test_stopping_cancels_a_planned_start(void **state)
{
    (void)state;
    struct program program = opened("brief");
    program_start(&program, &place.folders, 0);
    pid_t pid = program.current.pid;
    program_notify_exit(&program, pid, place_reap(pid), 0);
    assert_int_not_equal(program_next_deadline(&program), INT64_MAX);
    program_stop(&program, 0);
    assert_int_equal(program_next_deadline(&program), INT64_MAX);
    program_tick(&program, &place.folders, INT64_MAX);
    assert_int_equal(program_process_count(&program), 0);
    close(program.listen_fd);
}

static void test_restarts_end_where_places_do(void **state)
{
    (void)state;
    const char *reason = "";
    struct program program = opened("sleeper");
    /* As if each of these were an old process that still finishes its requests. */
    for (size_t i = 0; i < PROGRAM_DRAINING_MAX - 1; i++)
        program.draining[i] = (struct process){.pid = 1, .kill_at_ms = INT64_MAX};
    assert_false(program_restart_begin(&program, &place.folders, &reason));
    assert_string_equal(reason,
                        "too many old processes still finish their requests; try again in 35 s");
    close(program.listen_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_socket),
        cmocka_unit_test(test_from_start_to_ready),
        cmocka_unit_test(test_a_death_is_followed_by_a_start),
        cmocka_unit_test(test_a_refused_configuration_is_not_started_again),
        cmocka_unit_test(test_the_old_process_leaves_after_the_new_one_is_ready),
        cmocka_unit_test(test_a_restart_that_fails_keeps_the_old_process),
        cmocka_unit_test(test_what_does_not_leave_is_killed),
        cmocka_unit_test(test_a_start_that_fails_is_tried_again),
        cmocka_unit_test(test_stopping_cancels_a_planned_start),
        cmocka_unit_test(test_restarts_end_where_places_do),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
