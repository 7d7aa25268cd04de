#include "process/sandbox_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* Clang has a feature test where gcc has a macro. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RELAXED 1
#else
#define RELAXED 0
#endif

#ifdef FILTER_ARCHITECTURE

enum {
    PROGRAM_MAX = 1024, /* 160 calls x 2 steps and 20 conditions x 10; the kernel's is 4096 */
    VALUES_MAX = 8,     /* that one condition compares with */
    X32_CALL_BIT = 0x40000000, /* calls of the x32 interface, under the architecture of x86-64 */
};
/* Two conditions of a call are skipped in one jump; a jump of BPF goes 255 steps at most. */
_Static_assert(2 * (VALUES_MAX + 3) + 1 <= UINT8_MAX, "a jump reaches the next call");

static const uint16_t ALLOWED[] = {
    /* Descriptors that are open. */
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_lseek,
    SYS_close,
    SYS_fcntl,
    SYS_dup,
    SYS_dup3,
    SYS_pipe2,
    SYS_eventfd2,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_ppoll,
    SYS_pselect6,
    /* Files by name, to look at. */
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_faccessat,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_getcwd,
    /* Sockets. Binding is for netlink and UDP; TCP is Landlock's, and nothing can listen. */
    SYS_connect,
    SYS_bind,
    SYS_accept,
    SYS_accept4,
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_sendmmsg,
    SYS_recvmmsg,
    SYS_shutdown,
    SYS_getsockname,
    SYS_getpeername,
    SYS_setsockopt,
    SYS_getsockopt,
    /* Memory. */
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_mincore,
    /* Threads, signals, the end. */
    SYS_futex,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_rseq,
    SYS_set_tid_address,
    SYS_gettid,
    SYS_sched_yield,
    SYS_sched_getscheduler,
    SYS_sched_getaffinity,
    SYS_getcpu,
    SYS_membarrier,
    SYS_exit,
    SYS_exit_group,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_rt_sigpending,
    SYS_rt_sigsuspend,
    SYS_sigaltstack,
    SYS_restart_syscall,
    /* Time. */
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_times,
    SYS_getrusage,
    /* Who and where it is. */
    SYS_getpid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getresuid,
    SYS_getresgid,
    SYS_getgroups,
    SYS_uname,
    SYS_sysinfo,
    SYS_getrandom,
#ifdef SYS_faccessat2
    SYS_faccessat2,
#endif
#ifdef SYS_epoll_pwait2
    SYS_epoll_pwait2,
#endif
#ifdef SYS_close_range
    SYS_close_range,
#endif
#ifdef __x86_64__
    /* The older forms, which libraries still use here. */
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_poll,
    SYS_select,
    SYS_epoll_wait,
    SYS_epoll_create,
    SYS_pipe,
    SYS_dup2,
    SYS_time,
    SYS_getrlimit,
    SYS_pause,
#endif
};

/* For an intruder only. */
static const uint16_t DEADLY[] = {
    SYS_execve,
    SYS_execveat,
    SYS_chroot,
    SYS_pivot_root,
    SYS_mount,
    SYS_umount2,
    SYS_setns,
    SYS_unshare,
    SYS_kexec_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_add_key,
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_setgroups,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#if !RELAXED
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
#ifdef SYS_fork
    SYS_fork,
    SYS_vfork,
#endif
#endif
};

enum test { TEST_CLEAR, TEST_SET, TEST_NOT_ALL, TEST_ONE_OF };

/* What an argument has to be. Arguments are compared in their lower half: all of these are ints. */
struct condition {
    uint16_t call;
    uint8_t argument;
    enum test test;   /* of the bits mask: none, all, not all set; or one of the values */
    uint32_t refusal; /* else: SECCOMP_RET_... */
    uint32_t mask;
    uint8_t value_count;
    uint32_t values[VALUES_MAX];
    bool more; /* the next entry is a further condition of the same call */
};

#define REFUSE(error) (SECCOMP_RET_ERRNO | (error))
#define ONE_OF(...)                               \
    .test = TEST_ONE_OF, .values = {__VA_ARGS__}, \
    .value_count = sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)
/* Without O_DIRECTORY, which O_TMPFILE contains and reading a folder needs. */
#define OPEN_TO_CHANGE (O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))

/* Stands for the process id, which is known when the filter is installed. */
#define OWN_PROCESS UINT32_MAX

static const struct condition CONDITIONS[] = {
    {SYS_openat, 2, TEST_CLEAR, REFUSE(EACCES), .mask = OPEN_TO_CHANGE},
#ifdef SYS_open
    {SYS_open, 1, TEST_CLEAR, REFUSE(EACCES), .mask = OPEN_TO_CHANGE},
#endif
    /* Of the calling thread (http/leader_followers.h). */
    {SYS_sched_setscheduler, 0, .refusal = REFUSE(EPERM), .more = true, ONE_OF(0)},
    {SYS_sched_setscheduler, 1, .refusal = REFUSE(EPERM), ONE_OF(SCHED_OTHER, SCHED_BATCH)},
#if !RELAXED
    {SYS_clone, 0, TEST_SET, SECCOMP_RET_KILL_PROCESS, .mask = CLONE_THREAD},
    /* Code comes from files only, and no file can be written. */
    {SYS_mmap, 2, TEST_NOT_ALL, REFUSE(EPERM), .mask = PROT_WRITE | PROT_EXEC},
    {SYS_mprotect, 2, TEST_CLEAR, REFUSE(EPERM), .mask = PROT_EXEC},
    {SYS_socket, 0, .refusal = REFUSE(EAFNOSUPPORT), .more = true,
     ONE_OF(AF_UNIX, AF_INET, AF_INET6, AF_NETLINK)},
    /* Zero is also NETLINK_ROUTE, which tells getaddrinfo what addresses the host has. */
    {SYS_socket, 2, .refusal = REFUSE(EPROTONOSUPPORT), ONE_OF(0, IPPROTO_TCP, IPPROTO_UDP)},
    {SYS_socketpair, 0, .refusal = REFUSE(EAFNOSUPPORT), ONE_OF(AF_UNIX)},
    {SYS_ioctl, 1, .refusal = REFUSE(ENOTTY),
     ONE_OF(FIONBIO, FIONREAD, TCGETS, SIOCGIFNAME, SIOCGIFINDEX)},
    {SYS_prctl, 0, .refusal = REFUSE(EPERM),
     ONE_OF(PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_VMA)},
    {SYS_kill, 0, .refusal = REFUSE(EPERM), ONE_OF(OWN_PROCESS)},
    {SYS_tgkill, 0, .refusal = REFUSE(EPERM), ONE_OF(OWN_PROCESS)},
    {SYS_prlimit64, 0, .refusal = REFUSE(EPERM), ONE_OF(0, OWN_PROCESS)},
#endif
};

struct program {
    struct sock_filter steps[PROGRAM_MAX];
    unsigned short count;
    bool overflow;
};

/* The macros of <linux/filter.h>, as values. */
#define STATEMENT(code, k) ((struct sock_filter)BPF_STMT(code, k))
#define JUMP(code, k, if_true, if_false) ((struct sock_filter)BPF_JUMP(code, k, if_true, if_false))

static void emit(struct program *program, struct sock_filter step)
{
    if (program->count == PROGRAM_MAX) {
        program->overflow = true;
        return;
    }
    program->steps[program->count++] = step;
}

static void emit_load(struct program *program, size_t offset)
{
    emit(program, STATEMENT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void emit_return(struct program *program, uint32_t action)
{
    emit(program, STATEMENT(BPF_RET | BPF_K, action));
}

static void emit_list(struct program *program, const uint16_t *calls, size_t count, uint32_t action)
{
    for (size_t i = 0; i < count; i++) {
        emit(program, JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1));
        emit_return(program, action);
    }
}

/* Goes on behind itself when the condition holds, else leaves with its refusal. */
static void emit_test(struct program *program, const struct condition *condition)
{
    /* Both processors are little-endian: the lower half of an argument comes first. */
    emit_load(program,
              offsetof(struct seccomp_data, args) + condition->argument * sizeof(uint64_t));
    switch (condition->test) {
    case TEST_CLEAR:
        emit(program, JUMP(BPF_JMP | BPF_JSET | BPF_K, condition->mask, 0, 1));
        break;
    case TEST_SET:
    case TEST_NOT_ALL:
        emit(program, STATEMENT(BPF_ALU | BPF_AND | BPF_K, condition->mask));
        if (condition->test == TEST_SET)
            emit(program, JUMP(BPF_JMP | BPF_JEQ | BPF_K, condition->mask, 1, 0));
        else
            emit(program, JUMP(BPF_JMP | BPF_JEQ | BPF_K, condition->mask, 0, 1));
        break;
    case TEST_ONE_OF:
        for (uint8_t i = 0; i < condition->value_count; i++) {
            uint32_t value = condition->values[i];
            if (value == OWN_PROCESS)
                value = (uint32_t)getpid();
            emit(program,
                 JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, (uint8_t)(condition->value_count - i), 0));
        }
        break;
    }
    emit_return(program, condition->refusal);
}

/* Every way through the tests of one call ends in a return: they replace the call's number. */
static void emit_conditions(struct program *program)
{
    size_t count = sizeof(CONDITIONS) / sizeof(CONDITIONS[0]);
    for (size_t i = 0; i < count; i++) {
        unsigned short start = program->count;
        emit(program, JUMP(BPF_JMP | BPF_JEQ | BPF_K, CONDITIONS[i].call, 0, 0));
        for (; CONDITIONS[i].more; i++)
            emit_test(program, &CONDITIONS[i]);
        emit_test(program, &CONDITIONS[i]);
        emit_return(program, SECCOMP_RET_ALLOW);
        if (!program->overflow)
            program->steps[start].jf = (uint8_t)(program->count - start - 1);
    }
}

bool sandbox_filter_install(void)
{
    struct program program = {.count = 0};
    emit_load(&program, offsetof(struct seccomp_data, arch));
    emit(&program, JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCHITECTURE, 1, 0));
    emit_return(&program, SECCOMP_RET_KILL_PROCESS);
    emit_load(&program, offsetof(struct seccomp_data, nr));
    emit(&program, JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_CALL_BIT, 0, 1));
    emit_return(&program, SECCOMP_RET_KILL_PROCESS);
    emit_list(&program, ALLOWED, sizeof(ALLOWED) / sizeof(ALLOWED[0]), SECCOMP_RET_ALLOW);
    emit_conditions(&program);
    emit_list(&program, DEADLY, sizeof(DEADLY) / sizeof(DEADLY[0]), SECCOMP_RET_KILL_PROCESS);
    emit_return(&program, RELAXED ? SECCOMP_RET_ALLOW : REFUSE(ENOSYS));
    struct sock_fprog filter = {.len = program.count, .filter = program.steps};
    if (program.overflow) {
        errno = E2BIG;
        return false;
    }
    /* Without SECCOMP_FILTER_FLAG_LOG: clone3 of every thread would be a line. Kills are logged. */
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
    if (result > 0)
        errno = ESRCH; /* a thread that has a filter of its own */
    return result == 0;
}

#else

bool sandbox_filter_install(void)
{
    errno = ENOTSUP;
    return false;
}

#endif
