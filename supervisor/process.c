#include "supervisor/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor/environment.h"
#include "supervisor/journal.h"

/* What the child needs between fork and exec; everything was made before. */
struct child {
    const char *name;
    const char *path;
    int listen_fd, log_fd;
    pid_t supervisor;
    char **environment;
};

/* Runs in the child between fork and exec: only async-signal-safe calls. */
static _Noreturn void become_program(const struct child *child)
{
    /* The death of the supervisor is SIGTERM here; it may have come before this call. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != child->supervisor)
        _exit(EXIT_FAILURE);
    setpgid(0, 0);
    /* dup2 clears close-on-exec, except when source and target are the same descriptor. */
    if (dup2(child->listen_fd, 0) != 0 || dup2(child->log_fd, 1) != 1 ||
        dup2(child->log_fd, 2) != 2)
        _exit(EXIT_FAILURE);
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    char *arguments[] = {(char *)child->name, NULL};
    execve(child->path, arguments, child->environment);
    static const char MESSAGE[] = "supervisor: cannot execute the program's file\n";
    ssize_t ignored = write(2, MESSAGE, sizeof(MESSAGE) - 1);
    (void)ignored;
    _exit(127);
}

bool process_start(const char *name, int listen_fd, const struct folders *folders,
                   struct process *ret_process)
{
    char path[PROCESS_PATH_BYTES_MAX];
    char log_path[PROCESS_PATH_BYTES_MAX];
    struct environment environment;
    int log_fd = -1;
    pid_t pid = -1;
    int len = snprintf(path, sizeof(path), "%s/%s", folders->bin, name);
    int log_len = snprintf(log_path, sizeof(log_path), "%s/%s.log", folders->logs, name);
    if (!environment_load(folders->environment, folders->state, &environment) ||
        len >= (int)sizeof(path) || log_len >= (int)sizeof(log_path)) {
        journal_write("error", name, "cannot read the environment file, errno", errno);
        goto out;
    }
    log_fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (log_fd < 0) {
        journal_write("error", name, "cannot open the log file, errno", errno);
        goto out;
    }
    const struct child child = {
        .name = name,
        .path = path,
        .listen_fd = listen_fd,
        .log_fd = log_fd,
        .supervisor = getpid(),
        .environment = environment.entries,
    };
    pid = fork();
    if (pid == 0)
        become_program(&child);
    if (pid < 0) {
        journal_write("error", name, "cannot fork, errno", errno);
        goto out;
    }
    *ret_process = (struct process){.pid = pid, .started_ms = clock_monotonic_ms()};
    journal_write("info", name, "started, pid", pid);
out:
    if (log_fd >= 0)
        close(log_fd);
    environment_done(&environment);
    return pid > 0;
}

void process_terminate(struct process *process, int64_t now_ms)
{
    process->kill_at_ms = now_ms + PROCESS_DRAIN_MS_MAX;
    kill(process->pid, SIGTERM);
}

void process_kill_when_due(struct process *process, const char *name, int64_t now_ms)
{
    if (process->pid == 0 || process->kill_at_ms == 0 || process->kill_at_ms > now_ms)
        return;
    journal_write("warning", name, "drained too long, killed, pid", process->pid);
    kill(process->pid, SIGKILL);
    /* Its exit is about to be reported; do not come back before. */
    process->kill_at_ms = INT64_MAX;
}
