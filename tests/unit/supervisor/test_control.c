/* Commands over a socket pair, and the queue of restarts. */
#include "supervisor/control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "place.h"

static struct place place;
static struct program_set set;
static struct control control;

static int make(void **state)
{
    (void)state;
    place_make(&place);
    set = (struct program_set){.folders = place.folders};
    control_init(&control, &set);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    if (!set.stopping)
        control_stop(&control);
    for (size_t i = 0; i < set.count; i++) {
        for (size_t j = 0; j < PROGRAM_DRAINING_MAX; j++) {
            pid_t pid = set.programs[i].draining[j].pid;
            if (pid > 0)
                program_set_notify_exit(&set, pid, place_reap(pid), clock_monotonic_ms());
        }
        close(set.programs[i].listen_fd);
    }
    assert_false(program_set_any_process(&set));
    place_remove(&place);
    return 0;
}

/* Connects, sends the text; the end where the answer will be. */
static int ask(const char *text)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    control_accept(&control, ends[1]);
    assert_int_equal(write(ends[0], text, strlen(text)), strlen(text));
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (control.clients[i].fd == ends[1])
            control_read(&control, &control.clients[i]);
    return ends[0];
}

static void assert_answer(int fd, const char *expected)
{
    char text[CONTROL_ANSWER_BYTES_MAX];
    ssize_t len = read(fd, text, sizeof(text) - 1);
    assert_true(len > 0);
    text[len] = '\0';
    assert_string_equal(text, expected);
    close(fd);
}

static void assert_unanswered(int fd)
{
    char byte;
    assert_int_equal(read(fd, &byte, 1), -1);
}

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *line, *answer;
    } ROWS[] = {
        {"status\n", "ok\n"},
        {"restart all\n", "ok\n"},
        {"restart tokens\n", "error: no such handler; `status` lists them\n"},
        {"start ../x\n", "error: expected the name of a handler\n"},
        {"reload\n", "error: expected restart NAME|all, start NAME, status or stop\n"},
        {"restart\n", "error: expected restart NAME|all, start NAME, status or stop\n"},
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        int fd = ask(ROWS[i].line);
        control_advance(&control);
        assert_answer(fd, ROWS[i].answer);
    }
}

static void test_a_line_in_pieces(void **state)
{
    (void)state;
    int fd = ask("sta");
    assert_unanswered(fd);
    assert_int_equal(write(fd, "tus\n", 4), 4);
    control_read(&control, &control.clients[0]);
    assert_answer(fd, "ok\n");
}

static void test_a_line_too_long(void **state)
{
    (void)state;
    char line[2 * CONTROL_COMMAND_BYTES_MAX];
    char byte;
    memset(line, 'a', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    int fd = ask(line);
    /* Closed, with what it sent unread. */
    assert_true(read(fd, &byte, 1) <= 0);
    assert_false(control.clients[0].used);
    close(fd);
}

static void test_start_and_status(void **state)
{
    (void)state;
    char expected[256];
    assert_answer(ask("start sleeper\n"), "ok\n");
    assert_answer(ask("start sleeper\n"), "ok\n");
    assert_int_equal(set.count, 1);
    snprintf(expected, sizeof(expected),
             "sleeper pid=%d state=starting uptime=0 restarts=0 draining=0\nok\n",
             (int)set.programs[0].current.pid);
    set.programs[0].current.started_ms = clock_monotonic_ms();
    assert_answer(ask("status\n"), expected);
}

static void test_restarts_wait_for_one_another(void **state)
{
    (void)state;
    assert_answer(ask("start sleeper\n"), "ok\n");
    struct program *program = &set.programs[0];
    pid_t first = program->current.pid;
    int one = ask("restart sleeper\n");
    int other = ask("restart all\n");
    control_advance(&control);
    pid_t second = program->next.pid;
    assert_true(second > 0);
    assert_unanswered(one);
    program_set_notify_ready(&set, second);
    control_advance(&control);
    assert_answer(one, "ok\n");
    assert_int_equal(program->current.pid, second);
    /* The other's turn: a process newer than the first one's. */
    pid_t third = program->next.pid;
    assert_true(third > 0 && third != second);
    assert_unanswered(other);
    program_set_notify_exit(&set, first, place_reap(first), clock_monotonic_ms());
    program_set_notify_ready(&set, third);
    control_advance(&control);
    assert_answer(other, "ok\n");
    assert_int_equal(program->current.pid, third);
}

static void test_a_failed_restart_tells_why(void **state)
{
    (void)state;
    assert_answer(ask("start wrong\n"), "ok\n");
    struct program *program = &set.programs[0];
    pid_t pid = program->current.pid;
    program_set_notify_exit(&set, pid, place_reap(pid), clock_monotonic_ms());
    int fd = ask("restart wrong\n");
    control_advance(&control);
    pid = program->next.pid;
    program_set_notify_exit(&set, pid, place_reap(pid), clock_monotonic_ms());
    control_advance(&control);
    assert_answer(
        fd,
        "error: wrong: the new process ended before it was ready; see the log of the handler\n");
}

static void test_stop_tells_who_waits(void **state)
{
    (void)state;
    assert_answer(ask("start sleeper\n"), "ok\n");
    int waiting = ask("restart all\n");
    control_advance(&control);
    assert_answer(ask("stop\n"), "ok\n");
    assert_true(set.stopping);
    assert_answer(waiting, "error: the supervisor stops\n");
    assert_answer(ask("status\n"), "error: the supervisor stops\n");
}

static void test_more_clients_than_places(void **state)
{
    (void)state;
    int held[CONTROL_CLIENTS_MAX];
    char byte;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        held[i] = ask("");
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    control_accept(&control, ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        close(held[i]);
        control_read(&control, &control.clients[i]);
        assert_false(control.clients[i].used);
    }
    assert_answer(ask("status\n"), "ok\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, make, clean),
        cmocka_unit_test_setup_teardown(test_a_line_in_pieces, make, clean),
        cmocka_unit_test_setup_teardown(test_a_line_too_long, make, clean),
        cmocka_unit_test_setup_teardown(test_start_and_status, make, clean),
        cmocka_unit_test_setup_teardown(test_restarts_wait_for_one_another, make, clean),
        cmocka_unit_test_setup_teardown(test_a_failed_restart_tells_why, make, clean),
        cmocka_unit_test_setup_teardown(test_stop_tells_who_waits, make, clean),
        cmocka_unit_test_setup_teardown(test_more_clients_than_places, make, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
