#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

void supervisor_log(const char *level, const char *handler, const char *message, int64_t number)
{
    char when[CLOCK_TIME_SIZE];
    clock_format_time(clock_unix_us(), when);
    dprintf(STDERR_FILENO,
            "{\"time\":\"%s\",\"level\":\"%s\",\"handler\":\"supervisor\",\"pid\":%d,"
            "\"message\":\"%s\",\"process\":\"%s\",\"value\":%lld}\n",
            when, level, (int)getpid(), message, handler ? handler : "", (long long)number);
}

bool handler_name_valid(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && name[0] != '-' && name[len] == '\0' && len < HANDLER_NAME_BYTES_MAX;
}

/* --- sockets --- */

static bool socket_path(const struct folders *folders, const char *name, const char *suffix,
                        struct sockaddr_un *ret_address)
{
    ret_address->sun_family = AF_UNIX;
    int len = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%s/sockets/%s.sock%s",
                       folders->state, name, suffix);
    return len > 0 && (size_t)len < sizeof(ret_address->sun_path);
}

bool handler_open(struct handler *handler, const char *name, const struct folders *folders)
{
    *handler = (struct handler){.listen_fd = -1, .backoff_ms = BACKOFF_FIRST_MS};
    snprintf(handler->name, sizeof(handler->name), "%s", name);
    struct sockaddr_un temporary;
    struct sockaddr_un final;
    if (!socket_path(folders, name, ".new", &temporary) ||
        !socket_path(folders, name, "", &final)) {
        supervisor_log("error", name, "socket path longer than a Unix socket allows", 0);
        return false;
    }
    unlink(temporary.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* bind creates the file with 0777 less the umask: 0660, nginx connects through the group. */
    mode_t before = umask(0117);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&temporary, sizeof(temporary)) == 0;
    umask(before);
    if (!bound || listen(fd, LISTEN_BACKLOG) != 0 ||
        rename(temporary.sun_path, final.sun_path) != 0) {
        supervisor_log("error", name, "cannot make the listening socket, errno", errno);
        if (fd >= 0)
            close(fd);
        return false;
    }
    handler->listen_fd = fd;
    return true;
}

void handler_unlink(const struct handler *handler, const struct folders *folders)
{
    struct sockaddr_un address;
    if (socket_path(folders, handler->name, "", &address))
        unlink(address.sun_path);
}

/* --- starting a process --- */

/* The environment of a process: entries point into text, which the supervisor owns. */
struct environment {
    char *text;
    char *entries[ENVIRONMENT_ENTRIES_MAX + 2]; /* NOTIFY_SOCKET and the closing NULL */
    char notify[PATH_BYTES_MAX + sizeof("NOTIFY_SOCKET=")];
};

static bool environment_add(struct environment *environment, size_t *count, char *entry)
{
    if (strncmp(entry, "NOTIFY_SOCKET=", sizeof("NOTIFY_SOCKET=") - 1) == 0 || entry[0] == '\0')
        return true;
    if (*count >= ENVIRONMENT_ENTRIES_MAX)
        return false;
    environment->entries[(*count)++] = entry;
    return true;
}

/* Reads the environment file whole. Returns bytes read, or -1. */
static ssize_t read_whole(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t len = 0;
    ssize_t got = 0;
    while (len < size && (got = read(fd, buffer + len, size - len)) != 0) {
        if (got < 0 && errno != EINTR)
            break;
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    return got < 0 || len == size ? -1 : (ssize_t)len;
}

/*
 * Read anew for every process, so that a changed setting reaches the handlers by a restart that
 * drops nothing. Freed by the caller with free(environment->text).
 */
static bool environment_load(struct environment *environment, const struct folders *folders)
{
    size_t count = 0;
    bool fits = true;
    environment->text = NULL;
    if (folders->environment) {
        environment->text = malloc(ENVIRONMENT_BYTES_MAX + 1);
        if (!environment->text)
            return false;
        ssize_t len = read_whole(folders->environment, environment->text, ENVIRONMENT_BYTES_MAX);
        if (len < 0)
            return false;
        environment->text[len] = '\0';
        char *end = environment->text + len;
        for (char *entry = environment->text; entry < end; entry += strlen(entry) + 1)
            fits = fits && environment_add(environment, &count, entry);
    } else {
        for (char **entry = environ; *entry; entry++)
            fits = fits && environment_add(environment, &count, *entry);
    }
    int len = snprintf(environment->notify, sizeof(environment->notify),
                       "NOTIFY_SOCKET=%s/notify.sock", folders->state);
    environment->entries[count++] = environment->notify;
    environment->entries[count] = NULL;
    return fits && len > 0 && (size_t)len < sizeof(environment->notify);
}

/* Runs in the child between fork and exec: only async-signal-safe calls. */
static void become_handler(const struct handler *handler, const char *path, int log_fd,
                           pid_t supervisor, char **environment)
{
    /* The death of the supervisor is SIGTERM here; it may have come before this call. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != supervisor)
        _exit(EXIT_FAILURE);
    setpgid(0, 0);
    /* dup2 clears close-on-exec, except when source and target are the same descriptor. */
    if (dup2(handler->listen_fd, 0) != 0 || dup2(log_fd, 1) != 1 || dup2(log_fd, 2) != 2)
        _exit(EXIT_FAILURE);
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    char *arguments[] = {(char *)handler->name, NULL};
    execve(path, arguments, environment);
    static const char MESSAGE[] = "supervisor: cannot execute the handler's file\n";
    ssize_t ignored = write(2, MESSAGE, sizeof(MESSAGE) - 1);
    (void)ignored;
    _exit(127);
}

/* Returns false, with a log line, when no process could be made. */
static bool process_start(struct process *process, const struct handler *handler,
                          const struct folders *folders)
{
    char path[PATH_BYTES_MAX];
    char log_path[PATH_BYTES_MAX];
    struct environment environment;
    int log_fd = -1;
    pid_t pid = -1;
    int len = snprintf(path, sizeof(path), "%s/%s", folders->bin, handler->name);
    int log_len = snprintf(log_path, sizeof(log_path), "%s/%s.log", folders->logs, handler->name);
    *process = (struct process){0};
    if (!environment_load(&environment, folders) || len >= (int)sizeof(path) ||
        log_len >= (int)sizeof(log_path)) {
        supervisor_log("error", handler->name, "cannot read the environment file, errno", errno);
        goto out;
    }
    log_fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (log_fd < 0) {
        supervisor_log("error", handler->name, "cannot open the log file, errno", errno);
        goto out;
    }
    pid_t supervisor = getpid();
    pid = fork();
    if (pid == 0)
        become_handler(handler, path, log_fd, supervisor, environment.entries);
    if (pid < 0) {
        supervisor_log("error", handler->name, "cannot fork, errno", errno);
        goto out;
    }
    process->pid = pid;
    process->started_ms = clock_monotonic_ms();
    supervisor_log("info", handler->name, "started, pid", pid);
out:
    if (log_fd >= 0)
        close(log_fd);
    free(environment.text);
    return pid > 0;
}

/* --- the life of a handler --- */

static void plan_start(struct handler *handler)
{
    handler->start_at_ms = clock_monotonic_ms() + handler->backoff_ms;
    handler->backoff_ms = handler->backoff_ms * 2 < BACKOFF_MS_MAX ? handler->backoff_ms * 2
                                                                   : (int64_t)BACKOFF_MS_MAX;
}

void handler_start(struct handler *handler, const struct folders *folders)
{
    handler->start_at_ms = 0;
    if (!process_start(&handler->current, handler, folders))
        plan_start(handler);
}

/* Tells a process to leave and files it among the draining ones. */
static void drain(struct handler *handler, struct process *process)
{
    for (size_t i = 0; process->pid != 0 && i < DRAINING_MAX; i++) {
        struct process *slot = &handler->draining[i];
        if (slot->pid != 0)
            continue;
        *slot = *process;
        slot->kill_at_ms = clock_monotonic_ms() + DRAIN_KILL_MS;
        kill(slot->pid, SIGTERM);
        break;
    }
    *process = (struct process){0};
}

bool handler_restart_begin(struct handler *handler, const struct folders *folders,
                           const char **ret_reason)
{
    /* Two free places: the old process after a success, the new one after a failure. */
    if (handler_draining_count(handler) + 2 > DRAINING_MAX) {
        *ret_reason = "too many old processes still finish their requests; try again in 35 s";
        return false;
    }
    if (!process_start(&handler->next, handler, folders)) {
        *ret_reason = "the process could not be started; see the log of the supervisor";
        return false;
    }
    return true;
}

enum restart_result handler_restart_poll(struct handler *handler, int64_t now_ms,
                                         const char **ret_reason)
{
    if (handler->next.pid == 0) {
        *ret_reason = "the new process ended before it was ready; see the log of the handler";
        return RESTART_FAILED;
    }
    if (handler->next.ready) {
        struct process old = handler->current;
        handler->current = handler->next;
        handler->next = (struct process){0};
        handler->start_at_ms = 0;
        handler->misconfigured = false;
        handler->backoff_ms = BACKOFF_FIRST_MS;
        drain(handler, &old);
        return RESTART_DONE;
    }
    if (now_ms - handler->next.started_ms >= READY_MS_MAX) {
        drain(handler, &handler->next);
        *ret_reason = "the new process was not ready within 10 s";
        return RESTART_FAILED;
    }
    return RESTART_PENDING;
}

bool handler_notify_ready(struct handler *handler, pid_t pid)
{
    struct process *process = handler->current.pid == pid ? &handler->current
                              : handler->next.pid == pid  ? &handler->next
                                                          : NULL;
    if (!process)
        return false;
    process->ready = true;
    supervisor_log("info", handler->name, "ready, pid", pid);
    return true;
}

static void current_ended(struct handler *handler, int wait_status)
{
    bool configuration = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_CONFIGURATION;
    int64_t lived_ms = clock_monotonic_ms() - handler->current.started_ms;
    handler->current = (struct process){0};
    if (configuration) {
        handler->misconfigured = true;
        supervisor_log("error", handler->name,
                       "configuration error, not started again; exit status", EXIT_CONFIGURATION);
        return;
    }
    if (WIFSIGNALED(wait_status))
        supervisor_log("error", handler->name, "killed by signal", WTERMSIG(wait_status));
    else
        supervisor_log("error", handler->name, "ended, exit status", WEXITSTATUS(wait_status));
    if (lived_ms >= BACKOFF_RESET_MS)
        handler->backoff_ms = BACKOFF_FIRST_MS;
    handler->restarts++;
    plan_start(handler);
}

bool handler_notify_exit(struct handler *handler, pid_t pid, int wait_status)
{
    if (handler->current.pid == pid) {
        current_ended(handler, wait_status);
        return true;
    }
    if (handler->next.pid == pid) {
        handler->next = (struct process){0};
        supervisor_log("error", handler->name, "the new process ended before it was ready, pid",
                       pid);
        return true;
    }
    for (size_t i = 0; i < DRAINING_MAX; i++) {
        if (handler->draining[i].pid == pid) {
            handler->draining[i] = (struct process){0};
            supervisor_log("info", handler->name, "drained, pid", pid);
            return true;
        }
    }
    return false;
}

void handler_tick(struct handler *handler, const struct folders *folders, int64_t now_ms)
{
    if (handler->start_at_ms != 0 && handler->start_at_ms <= now_ms)
        handler_start(handler, folders);
    for (size_t i = 0; i < DRAINING_MAX; i++) {
        struct process *process = &handler->draining[i];
        if (process->pid != 0 && process->kill_at_ms <= now_ms) {
            supervisor_log("warning", handler->name, "drained too long, killed, pid", process->pid);
            kill(process->pid, SIGKILL);
            /* Its exit is about to be reported; do not come back before. */
            process->kill_at_ms = INT64_MAX;
        }
    }
}

int64_t handler_next_deadline(const struct handler *handler)
{
    int64_t deadline = handler->start_at_ms != 0 ? handler->start_at_ms : INT64_MAX;
    if (handler->next.pid != 0 && handler->next.started_ms + READY_MS_MAX < deadline)
        deadline = handler->next.started_ms + READY_MS_MAX;
    for (size_t i = 0; i < DRAINING_MAX; i++)
        if (handler->draining[i].pid != 0 && handler->draining[i].kill_at_ms < deadline)
            deadline = handler->draining[i].kill_at_ms;
    return deadline;
}

void handler_stop(struct handler *handler)
{
    handler->start_at_ms = 0;
    drain(handler, &handler->current);
    drain(handler, &handler->next);
}

size_t handler_draining_count(const struct handler *handler)
{
    size_t count = 0;
    for (size_t i = 0; i < DRAINING_MAX; i++)
        count += handler->draining[i].pid != 0;
    return count;
}

size_t handler_process_count(const struct handler *handler)
{
    return handler_draining_count(handler) + (handler->current.pid != 0) + (handler->next.pid != 0);
}
