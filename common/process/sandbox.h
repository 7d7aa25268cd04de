/*
 * What a handler gives up before it serves: one who takes a handler over through a request finds a
 * process that can talk to its database and to nothing else of the host.
 *
 * Four things, each as far as the kernel has it (docs/security.md says what each one stops):
 *   - no capabilities, no_new_privs, no core dump, closed to ptrace of other processes of its user;
 *   - Landlock (landlock(7)): no file can be written, made, removed or executed; read only below
 *     /etc, the system's libraries and data, /proc/self, and the certificates and password files
 *     that the connection strings name; no TCP port can be bound, no foreign process signalled;
 *   - a seccomp filter (sandbox_filter.h).
 * Descriptors and mappings that are open already stay as they are.
 */
#pragma once

#include "base/config.h"
#include "observe/log.h"

/*
 * Enters the sandbox for the calling thread and all it starts, for good; the seccomp filter holds
 * for every thread of the process. Call it when everything is open and no thread runs yet. Does
 * nothing but say so with SANDBOX=off. What the kernel lacks is left out and logged as a warning.
 * Returns false when memory is out: files that every later connection reads may be missing then.
 */
bool sandbox_enter(const struct config *config, struct log *log) MUST_CHECK;
