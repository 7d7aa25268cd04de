/*
 * The pool against a stand-in for a server: a thread that lets every client in and says nothing
 * more (PostgreSQL manual, "Message Flow": AuthenticationOk and ReadyForQuery).
 */
#include "database/pool.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/blocking.h"
#include "base/clock.h"
#include "database/connection.h"

enum { CLIENTS_MAX = 64, THREADS = 6, ROUNDS = 300, POOL_SIZE = 2 };

static struct {
    char folder[32];
    char url[200];
    int listen_fd, stop_fd;
    pthread_t thread;
} server;

static void let_in(int fd)
{
    static const char WELCOME[] = "R\0\0\0\10\0\0\0\0Z\0\0\0\5I";
    char startup[1000];
    if (recv(fd, startup, sizeof(startup), 0) > 0)
        send(fd, WELCOME, sizeof(WELCOME) - 1, MSG_NOSIGNAL);
}

static void *serve(void *argument)
{
    int clients[CLIENTS_MAX];
    size_t count = 0;
    struct pollfd poll_fds[] = {{.fd = server.listen_fd, .events = POLLIN},
                                {.fd = server.stop_fd, .events = POLLIN}};
    (void)argument;
    while (poll(poll_fds, 2, -1) > 0 && !poll_fds[1].revents && count < CLIENTS_MAX) {
        clients[count] = accept(server.listen_fd, NULL, NULL);
        let_in(clients[count++]);
    }
    while (count > 0)
        close(clients[--count]);
    return NULL;
}

static int start_server(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)state;
    strcpy(server.folder, "/tmp/dreamlens-unit-XXXXXX");
    if (!mkdtemp(server.folder))
        return -1;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.5432", server.folder);
    snprintf(server.url, sizeof(server.url),
             "host=%s port=5432 user=u dbname=d sslmode=disable gssencmode=disable", server.folder);
    server.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    server.stop_fd = eventfd(0, EFD_CLOEXEC);
    if (bind(server.listen_fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(server.listen_fd, 64) != 0)
        return -1;
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int stop_server(void **state)
{
    char path[64];
    uint64_t one = 1;
    (void)state;
    if (write(server.stop_fd, &one, sizeof(one)) != sizeof(one))
        return -1;
    pthread_join(server.thread, NULL);
    close(server.listen_fd);
    close(server.stop_fd);
    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", server.folder);
    unlink(path);
    return rmdir(server.folder);
}

static struct connection *acquire_ok(struct pool *pool)
{
    char problem[256] = "";
    struct connection *connection = NULL;
    enum error err = pool_acquire(pool, clock_monotonic_ms() + 2000, &connection, problem);
    if (err)
        fail_msg("%s", problem);
    assert_non_null(connection);
    return connection;
}

static void assert_count(struct pool *pool, size_t open, size_t idle)
{
    size_t got_open;
    size_t got_idle;
    pool_count(pool, &got_open, &got_idle);
    assert_int_equal(got_open, open);
    assert_int_equal(got_idle, idle);
}

static void test_reuse(void **state)
{
    (void)state;
    struct pool *pool = pool_new(server.url, "test", POOL_SIZE);
    assert_non_null(pool);
    assert_count(pool, 0, 0);
    struct connection *first = acquire_ok(pool);
    struct connection *second = acquire_ok(pool);
    assert_ptr_not_equal(first, second);
    assert_count(pool, 2, 0);
    pool_release(pool, first);
    pool_release(pool, second);
    assert_count(pool, 2, 2);
    assert_ptr_equal(acquire_ok(pool), second); /* the warm one */
    pool_release(pool, second);
    pool_free(pool);
    pool_free(NULL);
}

struct noted {
    struct task task;
    int runs;
};

static void note(struct task *task)
{
    ((struct noted *)task)->runs++;
}

/* What was deferred is done while the thread waits for a connection, or for an answer. */
static void test_deferred_work(void **state)
{
    (void)state;
    char problem[256] = "";
    struct pool *pool = pool_new(server.url, "test", 1);
    struct noted noted = {.task.run = note};
    struct connection *none = NULL;
    struct reply reply;
    blocking_defer(&noted.task);
    struct connection *held = acquire_ok(pool);
    assert_int_equal(noted.runs, 1);
    blocking_defer(&noted.task);
    assert_int_equal(pool_acquire(pool, clock_monotonic_ms() + 30, &none, problem),
                     ERROR_OVERLOADED);
    assert_int_equal(noted.runs, 2);
    blocking_defer(&noted.task);
    connection_execute(held, "SELECT 1", clock_monotonic_ms() + 30, &reply);
    assert_false(reply.ok);
    assert_int_equal(noted.runs, 3);
    blocking_idle();
    assert_int_equal(noted.runs, 3);
    pool_release(pool, held);
    pool_free(pool);
}

static void test_exhausted(void **state)
{
    (void)state;
    char problem[256] = "";
    struct pool *pool = pool_new(server.url, "test", 1);
    struct connection *held = acquire_ok(pool);
    struct connection *none = NULL;
    int64_t before_ms = clock_monotonic_ms();
    assert_int_equal(pool_acquire(pool, before_ms + 30, &none, problem), ERROR_OVERLOADED);
    assert_true(clock_monotonic_ms() >= before_ms + 30);
    assert_int_equal(pool_acquire(pool, before_ms - 1, &none, problem), ERROR_OVERLOADED);
    assert_null(none);
    assert_count(pool, 1, 0);
    pool_release(pool, held);
    /* A free one is given even to who comes late. */
    assert_int_equal(pool_acquire(pool, before_ms - 1, &none, problem), ERROR_OK);
    assert_ptr_equal(none, held);
    pool_release(pool, none);
    pool_free(pool);
}

/* One broken connection tells that those opened before it are not to be trusted either. */
static void test_broken(void **state)
{
    (void)state;
    struct pool *pool = pool_new(server.url, "test", 3);
    struct connection *a = acquire_ok(pool);
    struct connection *b = acquire_ok(pool);
    struct connection *c = acquire_ok(pool);
    uint64_t epoch = a->epoch;
    pool_release(pool, b);
    a->broken = true;
    pool_release(pool, a);
    assert_count(pool, 2, 1);
    struct connection *fresh = acquire_ok(pool); /* b is closed on the way */
    assert_int_equal(fresh->epoch, epoch + 1);
    assert_count(pool, 2, 0);
    /* The second to break of the same generation condemns nobody new. */
    c->broken = true;
    pool_release(pool, c);
    pool_release(pool, fresh);
    assert_ptr_equal(acquire_ok(pool), fresh);
    pool_release(pool, fresh);
    assert_count(pool, 1, 1);
    pool_free(pool);
}

static void test_unreachable(void **state)
{
    (void)state;
    static const char *const URLS[] = {
        "host=/nonexistent-dreamlens user=u password=hunter2 dbname=d",
        "postgresql://u:hunter2@/d?host=/nonexistent-dreamlens",
    };
    for (size_t i = 0; i < sizeof(URLS) / sizeof(URLS[0]); i++) {
        struct pool *pool = pool_new(URLS[i], "test", 1);
        for (int n = 0; n < 3; n++) { /* a failure gives its place back */
            char problem[256] = "";
            struct connection *none = NULL;
            assert_int_equal(pool_acquire(pool, clock_monotonic_ms() + 1000, &none, problem),
                             ERROR_DATABASE_UNAVAILABLE);
            assert_true(problem[0] != '\0');
            assert_null(strstr(problem, "hunter2"));
            assert_null(strchr(problem, '\n'));
            assert_null(none);
            assert_count(pool, 0, 0);
        }
        pool_free(pool);
    }
}

static int in_use; /* guarded by the pool when it is right; ThreadSanitizer tells when not */
static pthread_mutex_t in_use_lock = PTHREAD_MUTEX_INITIALIZER;

static void count_in_use(int change)
{
    pthread_mutex_lock(&in_use_lock);
    in_use += change;
    assert_in_range(in_use, 0, POOL_SIZE);
    pthread_mutex_unlock(&in_use_lock);
}

static void *borrow_often(void *argument)
{
    struct pool *pool = argument;
    for (int i = 0; i < ROUNDS; i++) {
        struct connection *connection = acquire_ok(pool);
        count_in_use(1);
        connection->prepared_count++; /* nobody else has it */
        count_in_use(-1);
        connection->broken = i % 100 == 99;
        pool_release(pool, connection);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    struct pool *pool = pool_new(server.url, "test", POOL_SIZE);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, borrow_often, pool), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    size_t open;
    size_t idle;
    pool_count(pool, &open, &idle);
    assert_int_equal(open, idle);
    assert_true(open <= POOL_SIZE);
    pool_free(pool);
}

static void test_check_url(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool good;
    } ROWS[] = {
        {"postgresql://u:hunter2@h/d", true},
        {"postgres://u:hunter2@h:5432,h2:5433/d?target_session_attrs=read-write", true},
        {"postgresql://", true},
        {"host=h user=u password=hunter2", true},
        {"hunter2", false},
        {"mysql://u:hunter2@h/d", false},
        {"http://u:hunter2@h/?a=b", false},
        {"postgresql://u:hunter2@h:port/d?nonsense=1", false},
        {"postgresql://u:hunter2@[::1/d", false},
        {"host=h hunter2", false},
        {"nonsense=hunter2", false},
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        char problem[128] = "";
        enum error expected = ROWS[i].good ? ERROR_OK : ERROR_NOT_CONFIGURED;
        if (connection_check_url(ROWS[i].url, problem) != expected)
            fail_msg("%s", ROWS[i].url);
        assert_int_equal(problem[0] == '\0', ROWS[i].good);
        assert_null(strstr(problem, "hunter2"));
    }
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, start_server, stop_server)
    const struct CMUnitTest tests[] = {
        TEST(test_reuse),
        TEST(test_deferred_work),
        TEST(test_exhausted),
        TEST(test_broken),
        cmocka_unit_test(test_unreachable),
        TEST(test_threads),
        cmocka_unit_test(test_check_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
