/*
 * Log lines with texts from outside: whatever they are, a line is one JSON object of one write, and
 * never longer than its cap. Input: lines with request id, method and path.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/limits.h"
#include "observe/log.h"
#include "support/fuzz.h"
#include "support/json_check.h"

static struct log *log_under_test;
static int capture_fd;

#pragma weak __sanitizer_set_report_fd
void __sanitizer_set_report_fd(void *fd);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_under_test = log_new("stub", LOG_DEBUG);
    capture_fd = memfd_create("log", MFD_CLOEXEC);
    REQUIRE(log_under_test && capture_fd >= 0);
    /* The log writes to descriptor 2, which is captured; a sanitizer must still be heard. */
    if (__sanitizer_set_report_fd)
        __sanitizer_set_report_fd((void *)(intptr_t)dup(STDERR_FILENO));
    return 0;
}

static size_t capture(struct text method, struct text path, char *line, size_t size)
{
    REQUIRE(ftruncate(capture_fd, 0) == 0 && lseek(capture_fd, 0, SEEK_SET) == 0);
    int saved = dup(STDERR_FILENO);
    REQUIRE(saved >= 0 && dup2(capture_fd, STDERR_FILENO) >= 0);
    log_event(log_under_test, LOG_ERROR, "request failed", LOG_TEXT("method", method),
              LOG_TEXT("path", path), LOG_NUMBER("number", (int64_t)path.len),
              LOG_TEXT("again", path), LOG_TEXT("last", path));
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t len = pread(capture_fd, line, size, 0);
    REQUIRE(len > 0);
    return (size_t)len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char line[2 * LOG_LINE_BYTES_MAX];
    struct json_facts facts;
    struct text input = fuzz_input(data, size);
    log_set_request_id(fuzz_line(&input));
    struct text method = fuzz_line(&input);
    size_t len = capture(method, input.len > 0 ? input : TEXT_LITERAL(""), line, sizeof(line));
    REQUIRE(len <= LOG_LINE_BYTES_MAX && line[len - 1] == '\n');
    REQUIRE(!memchr(line, '\n', len - 1));
    REQUIRE(json_check((struct text){line, len - 1}, &facts));
    REQUIRE(facts.object && !facts.duplicate_name);
    return 0;
}
