#include "process/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "database/connection_files.h"
#include "process/sandbox_filter.h"

/* Newer than the headers of Debian 12 (ABI 2): the kernel's include/uapi/linux/landlock.h. */
enum {
    ACCESS_FS_ALL = (1 << 13) - 1, /* ABI 1: execute, write, read, remove, make */
    ACCESS_FS_REFER = 1 << 13,     /* ABI 2 */
    ACCESS_FS_TRUNCATE = 1 << 14,  /* ABI 3 */
    ACCESS_NET_BIND_TCP = 1 << 0,  /* ABI 4 */
    ACCESS_FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
    SCOPE_SIGNAL = 1 << 1,         /* ABI 6 */
};

/* The kernel takes a longer struct than it knows as long as the rest is zero. */
struct ruleset {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* Leak reports name lines, for which the executable is read; leaks are found by ptrace. */
static const char *const READABLE[] = {"/"};
static const bool DUMPABLE = true;
#else
static const bool DUMPABLE = false;
/* Libraries loaded late (NSS, OpenSSL), their data and settings, certificates, time zones. */
static const char *const READABLE[] = {
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/usr/local/lib",
    "/usr/local/share",
    "/proc/self",
    "/proc/sys",
    "/sys/devices/system/cpu",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/run/systemd/resolve",
};
#endif

static void allow_reading(int ruleset, const char *path)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE};
    struct stat status;
    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return;
    if (fstat(rule.parent_fd, &status) == 0 && S_ISDIR(status.st_mode))
        rule.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
    /* What cannot be allowed stays forbidden, and the code that needs it says so. */
    (void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
}

/* Neither the root nor the home folder is opened for the sake of a file in it. */
static void allow_folder_of(int ruleset, const char *path)
{
    char folder[PATH_MAX];
    const char *home = getenv("HOME");
    if (strlen(path) >= sizeof(folder))
        return;
    dirname(strcpy(folder, path));
    bool wide = strcmp(folder, "/") == 0 || (home && strcmp(folder, home) == 0);
    allow_reading(ruleset, wide ? path : folder);
}

/*
 * A file that is renewed is another one to Landlock, and certificates are renewed: so its folder
 * counts, and that of the link which leads to it.
 */
static void allow_file(void *context, const char *path)
{
    char real[PATH_MAX];
    struct stat status;
    const int *ruleset = context;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        allow_reading(*ruleset, path);
        return;
    }
    allow_folder_of(*ruleset, path);
    if (realpath(path, real))
        allow_folder_of(*ruleset, real);
}

static bool allow_what_is_needed(int ruleset, const struct config *config)
{
    static const char *const VARIABLES[] = {"SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF"};
    for (size_t i = 0; i < sizeof(READABLE) / sizeof(READABLE[0]); i++)
        allow_reading(ruleset, READABLE[i]);
    /* Often a link to below /run. */
    allow_file(&ruleset, "/etc/resolv.conf");
    for (size_t i = 0; i < sizeof(VARIABLES) / sizeof(VARIABLES[0]); i++) {
        const char *value = getenv(VARIABLES[i]);
        if (value && value[0] == '/')
            allow_file(&ruleset, value);
    }
    return connection_files(config_database_url(config), allow_file, &ruleset) &&
           connection_files(config->postgres_url_non_pooling, allow_file, &ruleset);
}

/* The version of the interface that holds now, 0 when there is none, negative without memory. */
static int restrict_files(const struct config *config)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return 0;
    struct ruleset rules = {
        .handled_access_fs = ACCESS_FS_ALL | (abi >= 2 ? ACCESS_FS_REFER : 0) |
                             (abi >= 3 ? ACCESS_FS_TRUNCATE : 0) |
                             (abi >= 5 ? ACCESS_FS_IOCTL_DEV : 0),
        .handled_access_net = abi >= 4 ? ACCESS_NET_BIND_TCP : 0,
        .scoped = abi >= 6 ? SCOPE_SIGNAL : 0,
    };
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
    if (ruleset < 0)
        return 0;
    bool complete = allow_what_is_needed(ruleset, config);
    bool done = complete && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return !complete ? -1 : done ? (int)abi : 0;
}

/* A handler that root started is no more than its user id. */
static bool drop_rights(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{.effective = 0}};
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    bool dropped = syscall(SYS_capset, &header, none) == 0;
    /* Other processes of this user, nginx's among them, cannot read its secrets then. */
    if (!DUMPABLE)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && dropped;
}

bool sandbox_enter(const struct config *config, struct log *log)
{
    if (config->sandbox == CONFIG_SANDBOX_OFF) {
        log_event(log, LOG_WARNING, "not sandboxed", LOG_STRING("SANDBOX", "off"));
        return true;
    }
    bool rights = drop_rights();
    int landlock = restrict_files(config);
    if (landlock < 0)
        return false;
    bool filter = sandbox_filter_install();
    int cause = filter ? 0 : errno;
    bool whole = rights && landlock > 0 && filter;
    log_event(log, whole ? LOG_INFO : LOG_WARNING, whole ? "sandboxed" : "sandboxed in part",
              LOG_STRING("rights", rights ? "dropped" : "kept"),
              LOG_NUMBER("landlock_abi", landlock),
              LOG_STRING("seccomp", filter ? "on" : strerror(cause)));
    return true;
}
