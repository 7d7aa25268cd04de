/* What the supervisor hears, through a path and through the abstract name space. */
#include "process/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* One datagram, or the empty string when none came. */
static void assert_heard(int fd, const char *expected)
{
    char message[64];
    ssize_t n = recv(fd, message, sizeof(message) - 1, MSG_DONTWAIT);
    message[n > 0 ? n : 0] = '\0';
    assert_string_equal(message, expected);
}

static void test_path(void **state)
{
    (void)state;
    char folder[] = "/tmp/dreamlens-unit-XXXXXX";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(folder));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", folder);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    notify_ready();
    assert_heard(fd, "READY=1");
    assert_heard(fd, "");
    close(fd);
    notify_ready(); /* nobody listens any more */
    unlink(address.sun_path);
    notify_ready();
    rmdir(folder);
}

static void test_abstract(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(address);
    char name[sizeof(address.sun_path) + 1] = "@";
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    memcpy(name + 1, address.sun_path + 1, len - offsetof(struct sockaddr_un, sun_path) - 1);
    setenv("NOTIFY_SOCKET", name, 1);
    notify_ready();
    assert_heard(fd, "READY=1");
    close(fd);
}

static void test_nothing_to_tell(void **state)
{
    (void)state;
    char long_name[300];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    const char *const names[] = {"", "/", "@", "relative", "/nonexistent/notify", long_name};
    int before = dup(0);
    close(before);
    unsetenv("NOTIFY_SOCKET");
    notify_ready();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        notify_ready();
    }
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_abstract),
        cmocka_unit_test(test_nothing_to_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
