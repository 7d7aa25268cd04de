/*
 * The system calls of a handler that serves, as a seccomp filter (seccomp(2)) written by hand.
 *
 * Three kinds:
 *   - those a handler and its libraries (libc, libpq, OpenSSL, libcurl) need are allowed, some only
 *     with harmless arguments: open for reading, clone for threads, kill for itself, memory that is
 *     never writable and executable at once, sockets of the Unix and internet families;
 *   - those that only an intruder has a use for (execve, fork, ptrace, mount, bpf, ...) end the
 *     process with SIGSYS, which the kernel's and the supervisor's log show;
 *   - everything else fails with ENOSYS: libc takes that for an old kernel and goes another way,
 *     so a library that is updated degrades instead of breaking.
 * Sanitizers fork, trace and map as they like; in their builds the third kind is allowed.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/*
 * Installs the filter in all threads of the process. Needs no_new_privs. Returns false and sets
 * errno when the kernel refuses; ENOTSUP: there is no list for this processor.
 */
bool sandbox_filter_install(void) MUST_CHECK;
