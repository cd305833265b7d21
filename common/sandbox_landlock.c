/* Landlock by raw system calls: glibc has no wrappers, and the headers of the oldest system that we
 * build on lack what newer kernels offer. Numbers from Linux include/uapi/linux/landlock.h. */
#include "common/file.h"
#include "common/sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CREATE_VERSION 1u
#define RULE_PATH 1
#define RULE_PORT 2

#define FS_EXECUTE (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REMOVE_DIR (UINT64_C(1) << 4)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_DIR (UINT64_C(1) << 7)
#define FS_MAKE_REG (UINT64_C(1) << 8)
#define FS_MAKE_SOCK (UINT64_C(1) << 9)
#define FS_ALL_1 ((UINT64_C(1) << 13) - 1)
#define FS_REFER (UINT64_C(1) << 13)     /* ABI 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14)  /* ABI 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* ABI 5 */
#define NET_BIND (UINT64_C(1) << 0)      /* ABI 4 */
#define NET_CONNECT (UINT64_C(1) << 1)
#define SCOPE_ABSTRACT_SOCKET (UINT64_C(1) << 0) /* ABI 6 */
#define SCOPE_SIGNAL (UINT64_C(1) << 1)

#define FS_READ (FS_READ_FILE | FS_READ_DIR)
#define FS_WRITE                                                                            \
    (FS_READ | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | \
     FS_MAKE_SOCK | FS_REFER | FS_TRUNCATE)
/* What may be granted on something that is not a directory. */
#define FS_OF_FILE (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE)

struct ruleset {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
};

struct [[gnu::packed]] path_rule {
    uint64_t allowed;
    int32_t parent;
};

struct port_rule {
    uint64_t allowed;
    uint64_t port;
};

/* Public files that libraries open late. */
static const char *const library_files[] = {
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/openssl.cnf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/run/systemd/resolve",
    "/dev/urandom",
    "/dev/random",
    "/proc/self",
};

static uint64_t known_fs(unsigned abi)
{
    uint64_t fs = FS_ALL_1;

    if (abi >= 2)
        fs |= FS_REFER;
    if (abi >= 3)
        fs |= FS_TRUNCATE;
    if (abi >= 5)
        fs |= FS_IOCTL_DEV;
    return fs;
}

/* The kernel knows a ruleset by its size: net came with ABI 4, scoped with 6. */
static size_t ruleset_size(unsigned abi)
{
    if (abi >= 6)
        return sizeof(struct ruleset);
    return abi >= 4 ? offsetof(struct ruleset, scoped) : offsetof(struct ruleset, net);
}

static enum err allow_path(int set, const char *path, uint64_t allowed)
{
    struct path_rule rule;
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    enum err e = ERR_OK;

    if (fd < 0)
        return file_error(errno);
    if (fstat(fd, &st) != 0) {
        e = file_error(errno);
        goto out;
    }
    if (!S_ISDIR(st.st_mode))
        allowed &= FS_OF_FILE;
    rule = (struct path_rule){.allowed = allowed, .parent = fd};
    if (syscall(SYS_landlock_add_rule, set, RULE_PATH, &rule, 0) != 0)
        e = ERR_IO;
out:
    close(fd);
    return e;
}

static enum err allow_paths(int set, const struct sandbox_rules *rules, uint64_t known,
                            bool sanitizer)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < sizeof library_files / sizeof *library_files && e == ERR_OK; i++) {
        e = allow_path(set, library_files[i], FS_READ);
        if (e == ERR_NOT_FOUND || e == ERR_NOT_ALLOWED)
            e = ERR_OK;
    }
    if (e == ERR_OK)
        e = allow_path(set, "/dev/null", (FS_READ | FS_WRITE) & known);
    if (e == ERR_OK && sanitizer)
        e = allow_path(set, "/proc", FS_READ);
    for (size_t i = 0; i < rules->read_only_count && e == ERR_OK; i++)
        e = allow_path(set, rules->read_only[i], FS_READ);
    for (size_t i = 0; i < rules->read_write_count && e == ERR_OK; i++)
        e = allow_path(set, rules->read_write[i], FS_WRITE & known);
    return e;
}

static enum err allow_ports(int set, const uint16_t *ports, size_t n, uint64_t allowed)
{
    for (size_t i = 0; i < n; i++) {
        struct port_rule rule = {.allowed = allowed, .port = ports[i]};

        if (syscall(SYS_landlock_add_rule, set, RULE_PORT, &rule, 0) != 0)
            return ERR_IO;
    }
    return ERR_OK;
}

static enum err fill(int set, const struct sandbox_rules *rules, const struct ruleset *attr,
                     bool sanitizer)
{
    enum err e = allow_paths(set, rules, attr->fs, sanitizer);

    if (e == ERR_OK && (attr->net & NET_BIND) != 0)
        e = allow_ports(set, rules->bind_ports, rules->bind_port_count, NET_BIND);
    if (e == ERR_OK && (attr->net & NET_CONNECT) != 0)
        e = allow_ports(set, rules->connect_ports, rules->connect_port_count, NET_CONNECT);
    if (e == ERR_OK && syscall(SYS_landlock_restrict_self, set, 0) != 0)
        e = ERR_IO;
    return e;
}

enum err sandbox_landlock(const struct sandbox_rules *rules, struct sandbox_report *report)
{
    struct ruleset attr = {0};
    bool ports = rules->limit_bind || rules->limit_connect;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
    long set;
    enum err e;

    report->landlock = SANDBOX_MISSING;
    report->tcp_ports = ports ? SANDBOX_MISSING : SANDBOX_NOT_ASKED;
    /* Not built in, or not switched on: ENOSYS, EOPNOTSUPP. */
    if (abi < 1)
        return ERR_OK;
    report->landlock_abi = (unsigned)abi;
    attr.fs = known_fs(report->landlock_abi);
    if (abi >= 4)
        attr.net = (rules->limit_bind ? NET_BIND : 0) | (rules->limit_connect ? NET_CONNECT : 0);
    if (abi >= 6 && rules->deny_inet)
        attr.scoped = SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL;
    set = syscall(SYS_landlock_create_ruleset, &attr, ruleset_size(report->landlock_abi), 0);
    if (set < 0)
        return ERR_IO;
    e = fill((int)set, rules, &attr, report->sanitizer);
    close((int)set);
    if (e != ERR_OK)
        return e;
    report->landlock = SANDBOX_ACTIVE;
    if (attr.net != 0)
        report->tcp_ports = SANDBOX_ACTIVE;
    return ERR_OK;
}
