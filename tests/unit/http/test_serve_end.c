/* How serving ends: signals, what runs, what is kept, what comes too late; and how it cannot begin.
 */
#include <poll.h>

#include "../await.h"
#include "serve_server.h"

static void test_idle_exit(void **state)
{
    (void)state;
    int fd = open_connection();
    expect_echo(fd, "word");
    close(fd);
    kill(server, SIGTERM);
    assert_int_equal(await_exit(5000), ERROR_OK);
}

/* After SIGTERM: kept connections are served, new ones are left to the next process. */
static void test_drain(void **state)
{
    (void)state;
    int kept = open_connection();
    expect_echo(kept, "before");
    assert_true(is_accepting());
    kill(server, SIGTERM);
    AWAIT(!is_accepting());
    expect_echo(kept, "during");
    int late = open_connection();
    send_request(late, "POST", "/echo", TEXT_LITERAL("late"));
    struct pollfd poll_fd = {.fd = late, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 100), 0);
    expect_echo(kept, "still");
    assert_int_equal(waitpid(server, NULL, WNOHANG), 0);
    close(kept);
    assert_int_equal(await_exit(5000), ERROR_OK);
    close(late);
}

static void test_drain_waits_for_a_request(void **state)
{
    (void)state;
    int fd = open_connection();
    expect_echo(fd, "accepted");
    send_request(fd, "POST", "/slow", TEXT_LITERAL("finished"));
    kill(server, SIGTERM);
    kill(server, SIGTERM);
    expect_end(fd, "finished");
    close(fd);
    assert_int_equal(await_exit(5000), ERROR_OK);
}

static void test_interrupt_ends_it_too(void **state)
{
    (void)state;
    kill(server, SIGINT);
    assert_int_equal(await_exit(5000), ERROR_OK);
}

/* Nothing to listen on: it cannot start, and says so. */
static void test_cannot_start(void **state)
{
    (void)state;
    static struct config config = {.allowed_origins = ""};
    static struct app app = {.handler = "test", .config = &config};
    struct router *router = router_new(&app, &TABLE);
    struct serve_options options = {.listen_fd = -1, .threads = 1, .router = router};
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(serve_run(&options), ERROR_INTERNAL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    router_free(router);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, start_server, stop_server)
    const struct CMUnitTest tests[] = {
        TEST(test_idle_exit),
        TEST(test_drain),
        TEST(test_drain_waits_for_a_request),
        TEST(test_interrupt_ends_it_too),
        cmocka_unit_test(test_cannot_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
