/* What a process can still do in the sandbox, tried by children of their own. */
#include "process/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRICT false
#else
#define STRICT true
#endif

enum { KILLED = -SIGSYS, WORKED = 0 };

static char readable[64]; /* what is outside of what is needed */

static int result_of(long result)
{
    return result < 0 ? errno : WORKED;
}

static int try_execve(void)
{
    char *arguments[] = {(char *)(uintptr_t) "true", NULL};
    execve("/bin/true", arguments, NULL);
    return errno;
}

static int try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return result_of(pid);
}

static int try_ptrace(void)
{
    return result_of(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int try_write(void)
{
    return result_of(open(readable, O_WRONLY | O_CLOEXEC));
}

static int try_create(void)
{
    return result_of(open("/tmp/dreamlens-unit-new", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
}

static int try_temporary(void)
{
    return result_of(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

static int try_unlink(void)
{
    return result_of(unlinkat(AT_FDCWD, readable, 0));
}

static int try_read_elsewhere(void)
{
    return result_of(open(readable, O_RDONLY | O_CLOEXEC));
}

static int try_read_hosts(void)
{
    return result_of(open("/etc/hosts", O_RDONLY | O_CLOEXEC));
}

static int try_read_other_process(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/environ", (int)getppid());
    return result_of(open(path, O_RDONLY | O_CLOEXEC));
}

static int try_write_and_execute(void)
{
    void *memory =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? errno : WORKED;
}

static int try_make_executable(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return result_of(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
}

static int try_mount(void)
{
    return result_of(syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL));
}

static int try_namespace(void)
{
    return result_of(unshare(CLONE_NEWUSER));
}

static int try_bpf(void)
{
    return result_of(syscall(SYS_bpf, 0, NULL, 0));
}

static int try_setuid(void)
{
    return result_of(syscall(SYS_setresuid, 1, 1, 1));
}

static int try_io_uring(void)
{
    return result_of(syscall(SYS_io_uring_setup, 1, NULL));
}

static int try_keyctl(void)
{
    return result_of(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
}

static int try_kill_parent(void)
{
    return result_of(kill(getppid(), 0));
}

static int try_kill_self(void)
{
    return result_of(kill(getpid(), 0));
}

static int schedule(pid_t pid, int policy, int priority)
{
    const struct sched_param parameters = {.sched_priority = priority};
    return result_of(sched_setscheduler(pid, policy, &parameters));
}

static int try_batch(void)
{
    int batch = schedule(0, SCHED_BATCH, 0);
    return batch == WORKED ? schedule(0, SCHED_OTHER, 0) : batch;
}

static int try_real_time(void)
{
    return schedule(0, SCHED_FIFO, 1);
}

static int try_batch_of_the_parent(void)
{
    return schedule(getppid(), SCHED_BATCH, 0);
}

static int try_packet_socket(void)
{
    return result_of(socket(AF_PACKET, SOCK_DGRAM, 0));
}

static int try_listen(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return result_of(listen(fd, 1));
}

static int try_bind_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return result_of(bind(fd, (struct sockaddr *)&address, sizeof(address)));
}

static int try_connect_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(1)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int cause = result_of(connect(fd, (struct sockaddr *)&address, sizeof(address)));
    return cause == ECONNREFUSED ? WORKED : cause;
}

static void *nothing(void *argument)
{
    return argument;
}

static int try_thread(void)
{
    pthread_t thread;
    int cause = pthread_create(&thread, NULL, nothing, NULL);
    return cause ? cause : pthread_join(thread, NULL);
}

static int try_resolve(void)
{
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    int cause = getaddrinfo("localhost", "80", &hints, &found);
    if (!cause)
        freeaddrinfo(found);
    return cause;
}

/* ANY: the kernel's version decides; it must not work, and no more is asked. */
enum { ANY_REFUSAL = 1000 };

static const struct attempt {
    const char *name;
    int (*try)(void);
    int expected;       /* WORKED, KILLED, an errno or ANY_REFUSAL */
    bool in_sanitizers; /* holds there as well */
    int landlock;       /* the least ABI it needs */
} ATTEMPTS[] = {
    {"execve", try_execve, KILLED, true, 0},
    {"fork", try_fork, KILLED, false, 0},
    {"ptrace", try_ptrace, KILLED, false, 0},
    {"open for writing", try_write, EACCES, true, 0},
    {"create a file", try_create, EACCES, true, 0},
    {"create a temporary file", try_temporary, EACCES, true, 0},
    {"unlink", try_unlink, ANY_REFUSAL, true, 1},
    {"read a file elsewhere", try_read_elsewhere, EACCES, false, 1},
    {"read /etc/hosts", try_read_hosts, WORKED, true, 0},
    {"read another process's environment", try_read_other_process, EACCES, false, 1},
    {"writable and executable memory", try_write_and_execute, EPERM, false, 0},
    {"make memory executable", try_make_executable, EPERM, false, 0},
    {"mount", try_mount, KILLED, true, 0},
    {"user namespace", try_namespace, KILLED, true, 0},
    {"bpf", try_bpf, KILLED, true, 0},
    {"setresuid", try_setuid, KILLED, true, 0},
    {"io_uring", try_io_uring, ENOSYS, false, 0},
    {"keyctl", try_keyctl, ENOSYS, false, 0},
    {"signal the parent", try_kill_parent, EPERM, false, 0},
    {"signal itself", try_kill_self, WORKED, true, 0},
    {"schedule itself as a batch", try_batch, WORKED, true, 0},
    {"schedule itself in real time", try_real_time, EPERM, true, 0},
    {"schedule the parent", try_batch_of_the_parent, EPERM, true, 0},
    {"packet socket", try_packet_socket, EAFNOSUPPORT, false, 0},
    {"listen", try_listen, ENOSYS, false, 0},
    {"bind a TCP port", try_bind_tcp, EACCES, true, 4},
    {"connect", try_connect_tcp, WORKED, true, 0},
    {"thread", try_thread, WORKED, true, 0},
    {"resolve a name", try_resolve, WORKED, true, 0},
};

/* Enters the sandbox in a child, tries there, and returns what came of it. */
static int in_child(const struct config *config, int (*try)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (!sandbox_enter(config, NULL))
            abort();
        /* Past what a sanitizer does at the end, which is not what is tried here. */
        _exit(try());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int landlock_abi(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1U);
}

static const struct config NO_FILES = {
    .postgres_url = "", .database_url = "", .postgres_url_non_pooling = ""};

static void test_attempts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ATTEMPTS) / sizeof(ATTEMPTS[0]); i++) {
        const struct attempt *attempt = &ATTEMPTS[i];
        if ((!STRICT && !attempt->in_sanitizers) || landlock_abi() < attempt->landlock)
            continue;
        int found = in_child(&NO_FILES, attempt->try);
        bool right =
            attempt->expected == ANY_REFUSAL ? found != WORKED : found == attempt->expected;
        if (!right)
            fail_msg("%s: got %d, expected %d", attempt->name, found, attempt->expected);
    }
}

/* A table that is refused everywhere would prove nothing: without the sandbox the same things work.
 */
static void test_off(void **state)
{
    (void)state;
    struct config config = NO_FILES;
    config.sandbox = CONFIG_SANDBOX_OFF;
    assert_int_equal(in_child(&config, try_write), WORKED);
    assert_int_equal(in_child(&config, try_fork), WORKED);
    assert_int_equal(in_child(&config, try_read_elsewhere), WORKED);
    assert_int_equal(in_child(&config, try_write_and_execute), WORKED);
    assert_int_equal(in_child(&config, try_listen), WORKED);
    assert_int_equal(in_child(&config, try_bind_tcp), WORKED);
}

/* The certificate a connection string names is read at every connect. */
static void test_connection_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/dreamlens-unit-XXXXXX";
    char url[128];
    struct config config = NO_FILES;
    assert_non_null(mkdtemp(folder));
    snprintf(readable, sizeof(readable), "%s", folder);
    char path[64];
    snprintf(path, sizeof(path), "%s/ca", folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    snprintf(url, sizeof(url), "host=localhost sslrootcert=%s", path);
    config.postgres_url = url;
    /* readable is the folder now: allowed with the file in it, so that it may be renewed. */
    assert_int_equal(in_child(&config, try_read_elsewhere), WORKED);
    assert_int_equal(in_child(&config, try_create), EACCES);
    if (STRICT && landlock_abi() >= 1)
        assert_int_equal(in_child(&NO_FILES, try_read_elsewhere), EACCES);
    unlink(path);
    rmdir(folder);
}

static int make_file(void **state)
{
    (void)state;
    snprintf(readable, sizeof(readable), "/tmp/dreamlens-unit-XXXXXX");
    int fd = mkstemp(readable);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(readable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_attempts, make_file, remove_file),
        cmocka_unit_test(test_connection_files),
        cmocka_unit_test_setup_teardown(test_off, make_file, remove_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
