/* The sandbox that a daemon puts itself into once it has opened what it needs: afterwards a
 * taken-over process can do little but what the daemon does anyway.
 *
 * Layers, each told in the report; a kernel that lacks one degrades the sandbox, never silently:
 *   no_new_privs  always
 *   capabilities  dropped when asked for
 *   Landlock      the file tree: the paths of the rules, and a fixed list to read (shared
 * libraries, time zones, OpenSSL's configuration, random devices, resolver files, this process's
 * /proc); nothing can be executed. TCP ports from ABI 4 (Linux 6.7) on seccomp       default-deny:
 * an allow-list of system calls for threads, memory, files, polling, sockets (Unix; IPv4 and IPv6
 * unless denied). Known dangerous calls (execve, fork, ptrace, process_vm_*, mount, modules, bpf,
 * keyctl, io_uring, namespaces, changing ids …) give EPERM; all others ENOSYS, so that libraries
 * fall back to older calls. Memory is never writable and executable at once
 *
 * Processes that are needed are started before. Descriptors that are open keep working. */
#ifndef SEALPOST_COMMON_SANDBOX_H
#define SEALPOST_COMMON_SANDBOX_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sandbox_rules {
    /* Files, or directories with all beneath. Each must be there. At most LIMIT_SANDBOX_PATHS in
     * each list. */
    const char *const *read_only;
    size_t read_only_count;
    const char *const *read_write; /* read, write, make, rename and remove files and directories */
    size_t read_write_count;
    bool deny_inet;  /* no new socket but AF_UNIX; no signals or abstract sockets to outside (ABI 6)
                      */
    bool limit_bind; /* TCP servers only on `bind_ports`; needs Landlock ABI 4 */
    const uint16_t *bind_ports;
    size_t bind_port_count;
    bool limit_connect; /* TCP clients only to `connect_ports`; likewise */
    const uint16_t *connect_ports;
    size_t connect_port_count;
    bool drop_capabilities;
};

enum sandbox_layer {
    SANDBOX_NOT_ASKED,
    SANDBOX_ACTIVE,
    SANDBOX_MISSING, /* the kernel does not have it */
};

struct sandbox_report {
    enum sandbox_layer no_new_privs;
    enum sandbox_layer capabilities;
    enum sandbox_layer landlock;
    enum sandbox_layer tcp_ports;
    enum sandbox_layer seccomp;
    unsigned landlock_abi; /* of the kernel; 0: none */
    /* Built with AddressSanitizer: its leak check needs /proc, clone and ptrace (not TRACEME),
     * which are then allowed. */
    bool sanitizer;
};

/* Once, before threads are started (asserted: Landlock binds only the calling thread and those that
 * it starts). ERR_NOT_FOUND: a path is missing. ERR_NOT_ALLOWED: a path cannot be opened.
 * ERR_CONFIG: too many paths. ERR_NO_MEMORY. ERR_IO: the kernel refused a layer that it has. After
 * an error the process may be restricted in part and should end. */
enum err sandbox_apply(const struct sandbox_rules *rules, struct sandbox_report *ret);

#define SANDBOX_TEXT 160
/* One line for the log, such as "no_new_privs=active capabilities=not-asked landlock=active abi=7
 * tcp_ports=missing seccomp=active sanitizer=no". */
void sandbox_report_text(const struct sandbox_report *report, char out[SANDBOX_TEXT]);

#endif
