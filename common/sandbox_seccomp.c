#include "common/sandbox_internal.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

/* For any argument. */
static const char *const allowed[] = {
    /* memory */
    "brk",
    "madvise",
    "membarrier",
    "mincore",
    "mlock",
    "mlock2",
    "mremap",
    "msync",
    "munlock",
    "munmap",
    /* threads, signals, ending */
    "exit",
    "exit_group",
    "futex",
    "futex_waitv",
    "get_robust_list",
    "getcpu",
    "gettid",
    "kill",
    "pause",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_setaffinity",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "setpriority",
    "getpriority",
    "sigaltstack",
    "tgkill",
    "wait4",
    "waitid",
    /* time */
    "alarm",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "getitimer",
    "gettimeofday",
    "nanosleep",
    "setitimer",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_settime",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    "times",
    /* who and where am I */
    "capget",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "getsid",
    "getuid",
    "prlimit64",
    "setrlimit",
    "sysinfo",
    "umask",
    "uname",
    /* descriptors */
    "close",
    "close_range",
    "copy_file_range",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd",
    "eventfd2",
    "fadvise64",
    "fallocate",
    "fcntl",
    "fdatasync",
    "flock",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "lseek",
    "memfd_create",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "pread64",
    "preadv",
    "preadv2",
    "pselect6",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readv",
    "select",
    "sendfile",
    "signalfd",
    "signalfd4",
    "splice",
    "sync_file_range",
    "syncfs",
    "tee",
    "write",
    "writev",
    /* files */
    "access",
    "chdir",
    "chmod",
    "creat",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fchmod",
    "fchmodat",
    "getcwd",
    "getdents",
    "getdents64",
    "link",
    "linkat",
    "lstat",
    "mkdir",
    "mkdirat",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "readlink",
    "readlinkat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "stat",
    "statfs",
    "statx",
    "truncate",
    "unlink",
    "unlinkat",
    "utimensat",
    /* sockets */
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
};

/* Nothing that a library would replace by an older call: plainly refused. */
static const char *const refused[] = {
    "acct",
    "add_key",
    "adjtimex",
    "bpf",
    "capset",
    "chown",
    "chroot",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "execve",
    "execveat",
    "fchown",
    "fchownat",
    "finit_module",
    "fork",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lchown",
    "lookup_dcookie",
    "mknod",
    "mknodat",
    "modify_ldt",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "personality",
    "pidfd_getfd",
    "pidfd_open",
    "pidfd_send_signal",
    "pivot_root",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setdomainname",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "sethostname",
    "setns",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setsid",
    "settimeofday",
    "setuid",
    "shmat",
    "shmget",
    "swapoff",
    "swapon",
    "symlink",
    "symlinkat",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
    "ustat",
    "vfork",
    "vhangup",
};

static const unsigned long ioctls[] = {
    FIONREAD,     FIONBIO,     FIOASYNC,     FIOCLEX,    FIONCLEX,    TCGETS,      TIOCGWINSZ,
    SIOCGIFINDEX, SIOCGIFNAME, SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFADDR, SIOCGIFCONF,
};

static const int prctls[] = {
    PR_SET_NAME,       PR_GET_NAME,         PR_SET_DUMPABLE,     PR_GET_DUMPABLE,
    PR_SET_PDEATHSIG,  PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_SET_TIMERSLACK,
    PR_GET_TIMERSLACK, PR_SET_VMA,          PR_CAPBSET_READ,
};

static int by_name(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int nr = seccomp_syscall_resolve_name(names[i]);
        int rc;

        /* A machine or library that does not know the call does not have it either. */
        if (nr == __NR_SCMP_ERROR)
            continue;
        rc = seccomp_rule_add(ctx, action, nr, 0);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int allow_if(scmp_filter_ctx ctx, int nr, struct scmp_arg_cmp a)
{
    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 1, &a);
}

static int refuse_if(scmp_filter_ctx ctx, int nr, struct scmp_arg_cmp a)
{
    return seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EPERM), nr, 1, &a);
}

static int allow_bits(scmp_filter_ctx ctx, int nr, unsigned arg, uint64_t mask, uint64_t value)
{
    return allow_if(ctx, nr, SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, mask, value));
}

/* Not writable and executable at once. */
static int memory(scmp_filter_ctx ctx)
{
    static const uint64_t both = PROT_WRITE | PROT_EXEC;
    static const uint64_t fine[] = {0, PROT_WRITE, PROT_EXEC};
    int rc = 0;

    for (size_t i = 0; i < sizeof fine / sizeof *fine && rc == 0; i++) {
        rc = allow_bits(ctx, SCMP_SYS(mmap), 2, both, fine[i]);
        if (rc == 0)
            rc = allow_bits(ctx, SCMP_SYS(mprotect), 2, both, fine[i]);
    }
    return rc;
}

/* New threads, not processes or namespaces. The flags of clone3 lie in memory where a filter cannot
 * look; told that it is unknown, glibc uses clone. The leak check clones a process that shares the
 * memory. */
static int threads(scmp_filter_ctx ctx, bool sanitizer)
{
    uint64_t spaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                      CLONE_NEWPID | CLONE_NEWNET;
    uint64_t need = sanitizer ? CLONE_VM : CLONE_THREAD;
    int rc = allow_bits(ctx, SCMP_SYS(clone), 0, spaces | need, need);

    return rc != 0 ? rc : refuse_if(ctx, SCMP_SYS(clone), SCMP_A0_64(SCMP_CMP_MASKED_EQ, need, 0));
}

static int sockets(scmp_filter_ctx ctx, bool deny_inet)
{
    static const int inet[] = {AF_INET, AF_INET6, AF_NETLINK};
    int rc = allow_if(ctx, SCMP_SYS(socket), SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX));

    if (rc == 0)
        rc = allow_if(ctx, SCMP_SYS(socketpair), SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX));
    if (deny_inet && rc == 0)
        return refuse_if(ctx, SCMP_SYS(socket), SCMP_A0_64(SCMP_CMP_NE, AF_UNIX));
    /* Of netlink only protocol 0, routing: listing the interfaces. */
    for (size_t i = 0; i < sizeof inet / sizeof *inet && rc == 0; i++) {
        struct scmp_arg_cmp args[] = {SCMP_A0_64(SCMP_CMP_EQ, (uint64_t)inet[i]),
                                      SCMP_A2_64(SCMP_CMP_EQ, 0)};

        rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket),
                                    inet[i] == AF_NETLINK ? 2 : 1, args);
    }
    return rc;
}

static int tracing(scmp_filter_ctx ctx, bool sanitizer)
{
    if (!sanitizer)
        return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ptrace), 0);
    return allow_if(ctx, SCMP_SYS(ptrace), SCMP_A0_64(SCMP_CMP_NE, PTRACE_TRACEME));
}

static int controls(scmp_filter_ctx ctx, bool sanitizer)
{
    int rc = 0;

    for (size_t i = 0; i < sizeof ioctls / sizeof *ioctls && rc == 0; i++)
        rc = allow_bits(ctx, SCMP_SYS(ioctl), 1, UINT32_MAX, ioctls[i]);
    if (rc == 0 && sanitizer)
        return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 0);
    for (size_t i = 0; i < sizeof prctls / sizeof *prctls && rc == 0; i++)
        rc = allow_bits(ctx, SCMP_SYS(prctl), 0, UINT32_MAX, (uint64_t)prctls[i]);
    return rc;
}

static int fill(scmp_filter_ctx ctx, const struct sandbox_rules *rules, bool sanitizer)
{
    int rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);

    if (rc == 0)
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    /* A tree instead of a list of some 250 comparisons before each call. */
    if (rc == 0)
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc == 0)
        rc = by_name(ctx, SCMP_ACT_ALLOW, allowed, sizeof allowed / sizeof *allowed);
    if (rc == 0)
        rc = by_name(ctx, SCMP_ACT_ERRNO(EPERM), refused, sizeof refused / sizeof *refused);
    if (rc == 0)
        rc = memory(ctx);
    if (rc == 0)
        rc = threads(ctx, sanitizer);
    if (rc == 0)
        rc = sockets(ctx, rules->deny_inet);
    if (rc == 0)
        rc = tracing(ctx, sanitizer);
    if (rc == 0)
        rc = controls(ctx, sanitizer);
    return rc;
}

/* What a kernel without filters says when one is loaded. */
static bool missing(int rc)
{
    return rc == -EINVAL || rc == -ENOSYS || rc == -EOPNOTSUPP;
}

enum err sandbox_seccomp(const struct sandbox_rules *rules, struct sandbox_report *report)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    enum err e = ERR_OK;
    int rc;

    if (ctx == NULL)
        return ERR_NO_MEMORY;
    rc = fill(ctx, rules, report->sanitizer);
    if (rc != 0) {
        e = rc == -ENOMEM ? ERR_NO_MEMORY : ERR_IO;
    } else {
        rc = seccomp_load(ctx);
        report->seccomp = missing(rc) ? SANDBOX_MISSING : SANDBOX_ACTIVE;
        if (rc != 0 && !missing(rc))
            e = ERR_IO;
    }
    seccomp_release(ctx);
    return e;
}
