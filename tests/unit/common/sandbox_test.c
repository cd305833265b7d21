/* Each test applies the sandbox in a child of its own. */
#include "common/sandbox.h"

#include "common/crypto.h"
#include "common/limits.h"
#include "common/store.h"
#include "tests/lib/leaks.h"
#include "tests/lib/net_node.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TestSuite(sandbox, .fini = leaks_check);

/* Directories rw and ro with a file in each; "outside" stands in no rule. */
struct place {
    char dir[64];
    char rw[96];
    char ro[96];
    const char *read_write[1];
    const char *read_only[1];
    uint16_t ports[1];
    struct sandbox_rules rules;
    struct sandbox_report report;
};

static void put_file(const char *dir, const char *name)
{
    char path[160];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "x", 1), 1);
    close(fd);
}

static void place_init(struct place *p)
{
    *p = (struct place){.dir = "/tmp/sealpost-sandbox-XXXXXX"};
    cr_assert_not_null(mkdtemp(p->dir));
    snprintf(p->rw, sizeof p->rw, "%s/rw", p->dir);
    snprintf(p->ro, sizeof p->ro, "%s/ro", p->dir);
    cr_assert_eq(mkdir(p->rw, 0700), 0);
    cr_assert_eq(mkdir(p->ro, 0700), 0);
    put_file(p->rw, "file");
    put_file(p->ro, "file");
    put_file(p->dir, "outside");
    p->read_write[0] = p->rw;
    p->read_only[0] = p->ro;
    p->rules = (struct sandbox_rules){.read_write = p->read_write,
                                      .read_write_count = 1,
                                      .read_only = p->read_only,
                                      .read_only_count = 1};
}

static void place_fini(struct place *p)
{
    static const char *const names[] = {"rw/file", "rw/data.mdb", "rw/lock.mdb", "rw",
                                        "ro/file", "ro",          "outside"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[160];

        snprintf(path, sizeof path, "%s/%s", p->dir, names[i]);
        (void)remove(path);
    }
    cr_assert_eq(rmdir(p->dir), 0, "%s: %s", p->dir, strerror(errno));
}

/* In the child: the line that does not hold becomes the answer. */
#define HOLDS(condition)     \
    do {                     \
        if (!(condition))    \
            return __LINE__; \
    } while (0)

static int run_child(struct place *p, int (*body)(struct place *p))
{
    int ends[2];
    int line = -1;
    pid_t child;

    cr_assert_eq(pipe(ends), 0);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        line = sandbox_apply(&p->rules, &p->report) == ERR_OK ? body(p) : -2;
        _exit(write(ends[1], &line, sizeof line) == sizeof line ? 0 : 1);
    }
    close(ends[1]);
    cr_assert_eq(read(ends[0], &line, sizeof line), sizeof line);
    close(ends[0]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    return line;
}

static void expect(int (*body)(struct place *p), void (*change)(struct place *p))
{
    struct place p;
    int line;

    place_init(&p);
    if (change != NULL)
        change(&p);
    line = run_child(&p, body);
    place_fini(&p);
    cr_assert_eq(line, 0, "line %d does not hold", line);
}

static int try_open(const char *dir, const char *name, int flags)
{
    char path[160];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, flags, 0600);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static int files(struct place *p)
{
    char from[160];
    char to[160];

    HOLDS(p->report.landlock == SANDBOX_ACTIVE);
    HOLDS(try_open("/etc", "passwd", O_RDONLY) == EACCES);
    HOLDS(try_open(p->dir, "outside", O_RDONLY) == EACCES);
    HOLDS(try_open(p->dir, "new", O_CREAT | O_WRONLY) == EACCES);
    HOLDS(try_open("/bin", "sh", O_RDONLY) == EACCES || access("/bin/sh", F_OK) == 0);
    HOLDS(try_open(p->ro, "file", O_RDONLY) == 0);
    HOLDS(try_open(p->ro, "file", O_WRONLY) == EACCES);
    HOLDS(try_open(p->ro, "new", O_CREAT | O_WRONLY) == EACCES);
    HOLDS(try_open(p->rw, "file", O_RDWR | O_TRUNC) == 0);
    HOLDS(try_open(p->rw, "new", O_CREAT | O_EXCL | O_WRONLY) == 0);
    snprintf(from, sizeof from, "%s/new", p->rw);
    snprintf(to, sizeof to, "%s/sub", p->rw);
    HOLDS(mkdir(to, 0700) == 0);
    snprintf(to, sizeof to, "%s/sub/moved", p->rw);
    HOLDS(rename(from, to) == 0);
    HOLDS(unlink(to) == 0);
    snprintf(to, sizeof to, "%s/sub", p->rw);
    HOLDS(rmdir(to) == 0);
    snprintf(from, sizeof from, "%s/file", p->ro);
    HOLDS(unlink(from) != 0 && errno == EACCES);
    HOLDS(truncate(from, 0) != 0 && (errno == EACCES || p->report.landlock_abi < 3));
    HOLDS(try_open("/dev", "null", O_RDWR) == 0);
    HOLDS(try_open("/dev", "urandom", O_RDONLY) == 0);
    HOLDS(try_open("/proc/self", "status", O_RDONLY) == 0);
    return 0;
}

Test(sandbox, only_the_paths_of_the_rules_can_be_used)
{
    expect(files, NULL);
}

static int refused(long rc)
{
    return rc == -1 && errno == EPERM;
}

static int calls(struct place *p)
{
    char *const argv[] = {(char[]){"true"}, NULL};
    char byte = 0;
    struct iovec v = {.iov_base = &byte, .iov_len = 1};
    void *page;

    HOLDS(p->report.no_new_privs == SANDBOX_ACTIVE);
    HOLDS(p->report.seccomp == SANDBOX_ACTIVE);
    HOLDS(refused(execve("/bin/true", argv, NULL)));
    HOLDS(refused(fork()));
    HOLDS(refused(syscall(SYS_vfork)));
    HOLDS(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1);
    HOLDS(refused(process_vm_readv(getpid(), &v, 1, &v, 1, 0)));
    HOLDS(refused(process_vm_writev(getpid(), &v, 1, &v, 1, 0)));
    HOLDS(refused(mount("none", p->rw, "tmpfs", 0, NULL)));
    HOLDS(refused(umount2(p->rw, 0)));
    HOLDS(refused(unshare(CLONE_NEWUSER)));
    HOLDS(refused(setuid(getuid())));
    HOLDS(refused(syscall(SYS_bpf, 0, NULL, 0)));
    HOLDS(refused(syscall(SYS_keyctl, 0, 0)));
    HOLDS(refused(syscall(SYS_io_uring_setup, 1, NULL)));
    HOLDS(refused(syscall(SYS_init_module, NULL, 0, "")));
    HOLDS(refused(syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0)));
    HOLDS(refused(chown(p->rw, getuid(), getgid())));
    HOLDS(refused(mknod(p->rw, S_IFCHR | 0600, 0)));
    HOLDS(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS);
    HOLDS(syscall(SYS_swapoff, "") == -1 && errno == EPERM);
    /* A number that no kernel has yet, and a call in no list. */
    HOLDS(syscall(999) == -1 && errno == ENOSYS);
    HOLDS(syscall(SYS_migrate_pages, 0, 0, NULL, NULL) == -1 && errno == ENOSYS);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    HOLDS(page != MAP_FAILED);
    HOLDS(mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == -1);
    HOLDS(mprotect(page, 4096, PROT_READ) == 0);
    HOLDS(mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
          MAP_FAILED);
    HOLDS(munmap(page, 4096) == 0);
    return 0;
}

Test(sandbox, dangerous_calls_are_refused)
{
    expect(calls, NULL);
}

/* Port of a listening socket on loopback, made before the sandbox. */
static int listen_loopback(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static int connect_loopback(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc;

    if (fd < 0)
        return errno;
    rc = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? 0 : errno;
    close(fd);
    return rc;
}

static int unix_pair(void)
{
    int ends[2];
    char byte = 'x';

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return errno;
    if (send(ends[0], &byte, 1, 0) != 1 || recv(ends[1], &byte, 1, 0) != 1)
        return errno;
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static int without_inet(struct place *p)
{
    HOLDS(connect_loopback(p->ports[0]) == EPERM);
    HOLDS(refused(socket(AF_INET6, SOCK_DGRAM, 0)));
    HOLDS(refused(socket(AF_NETLINK, SOCK_RAW, 0)));
    HOLDS(refused(socket(AF_PACKET, SOCK_RAW, 0)));
    HOLDS(refused(socket(AF_VSOCK, SOCK_STREAM, 0)));
    HOLDS(unix_pair() == 0);
    return 0;
}

static int with_inet(struct place *p)
{
    HOLDS(connect_loopback(p->ports[0]) == 0);
    HOLDS(socket(AF_PACKET, SOCK_RAW, 0) == -1);
    HOLDS(socket(AF_NETLINK, SOCK_RAW, 15) == -1);
    HOLDS(unix_pair() == 0);
    return 0;
}

static int one_port(struct place *p)
{
    uint16_t other = 0;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (p->report.landlock_abi < 4) {
        HOLDS(p->report.tcp_ports == SANDBOX_MISSING);
        return 0;
    }
    HOLDS(p->report.tcp_ports == SANDBOX_ACTIVE);
    HOLDS(connect_loopback(p->ports[0]) == 0);
    HOLDS(connect_loopback((uint16_t)(p->ports[0] ^ 1)) == EACCES);
    a.sin_port = other;
    HOLDS(bind(fd, (struct sockaddr *)&a, sizeof a) == -1 && errno == EACCES);
    close(fd);
    return 0;
}

static void deny_inet(struct place *p)
{
    p->rules.deny_inet = true;
}

static void limit_ports(struct place *p)
{
    p->rules.limit_bind = true;
    p->rules.limit_connect = true;
    p->rules.connect_ports = p->ports;
    p->rules.connect_port_count = 1;
}

static void with_listener(int (*body)(struct place *p), void (*change)(struct place *p))
{
    struct place p;
    int line;
    int fd;

    place_init(&p);
    fd = listen_loopback(&p.ports[0]);
    if (change != NULL)
        change(&p);
    line = run_child(&p, body);
    close(fd);
    place_fini(&p);
    cr_assert_eq(line, 0, "line %d does not hold", line);
}

Test(sandbox, the_network_can_be_taken_away)
{
    with_listener(with_inet, NULL);
    with_listener(without_inet, deny_inet);
}

Test(sandbox, tcp_ports_are_limited_where_the_kernel_can)
{
    with_listener(one_port, limit_ports);
}

static void *in_thread(void *arg)
{
    struct place *p = arg;
    int failed = try_open(p->dir, "outside", O_RDONLY) != EACCES ||
                 !refused(execve("/bin/true", (char *const[]){(char[]){"true"}, NULL}, NULL));

    return failed ? p : NULL;
}

/* What the daemons do, still works. */
static int daily_work(struct place *p)
{
    static const struct store_table table = {"t", false};
    struct store_options o = {.dir = p->rw,
                              .map_bytes = 16 * LIMIT_MIB,
                              .tables = &table,
                              .table_count = 1,
                              .kind = "test",
                              .disk_floor = 1};
    struct store *s;
    struct store_txn *txn;
    struct store_usage usage;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
    struct addrinfo *found;
    struct digest d;
    struct tm tm;
    time_t now = 0;
    pthread_t thread;
    void *failed = p;

    HOLDS(pthread_create(&thread, NULL, in_thread, p) == 0);
    HOLDS(pthread_join(thread, &failed) == 0);
    HOLDS(failed == NULL);
    HOLDS(store_open(&o, NULL, &s) == ERR_OK);
    HOLDS(store_write_begin(s, &txn) == ERR_OK);
    store_put(txn, 0, span_str("k"), span_str("v"));
    HOLDS(store_commit(txn) == ERR_OK);
    HOLDS(store_usage(s, &usage) == ERR_OK);
    HOLDS(store_room(s, 1, STORE_ORDINARY) == ERR_OK);
    store_close(s);
    HOLDS(store_open(&o, NULL, &s) == ERR_OK);
    store_close(s);
    HOLDS(getaddrinfo("127.0.0.1", "80", &hints, &found) == 0);
    freeaddrinfo(found);
    HOLDS(localtime_r(&now, &tm) != NULL);
    d = sha256(span_str("abc"));
    HOLDS(d.b[0] == 0xba);
    HOLDS(kill(getpid(), 0) == 0);
    return 0;
}

Test(sandbox, store_threads_and_libraries_work_inside)
{
    expect(daily_work, NULL);
    expect(daily_work, deny_inet);
}

static int encrypted_messages(struct place *p)
{
    struct node riga;
    struct node police;

    (void)p;
    pair_up(&riga, &police);
    HOLDS(find_text(&riga, "hello") != NULL);
    HOLDS(say(&riga, "LV.POLICE", "good day") == ERR_OK);
    AWAIT(&riga, &police, find_text(&police, "good day") != NULL);
    pair_down(&riga, &police);
    return 0;
}

Test(sandbox, the_net_works_inside)
{
    expect(encrypted_messages, NULL);
}

static int no_capabilities(struct place *p)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    HOLDS(p->report.capabilities == SANDBOX_ACTIVE);
    HOLDS(syscall(SYS_capget, &head, data) == 0);
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        HOLDS(data[i].effective == 0 && data[i].permitted == 0 && data[i].inheritable == 0);
    HOLDS(try_open(p->rw, "file", O_RDWR) == 0);
    return 0;
}

static void drop(struct place *p)
{
    p->rules.drop_capabilities = true;
}

Test(sandbox, capabilities_can_be_dropped)
{
    expect(no_capabilities, drop);
}

static enum err apply_in_child(const struct sandbox_rules *rules)
{
    struct sandbox_report report;
    int status = -1;
    pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0)
        _exit((int)sandbox_apply(rules, &report));
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    return (enum err)WEXITSTATUS(status);
}

Test(sandbox, rules_are_checked)
{
    const char *many[LIMIT_SANDBOX_PATHS + 1];
    uint16_t ports[LIMIT_SANDBOX_PORTS + 1];
    static const char *const nowhere[] = {"/nowhere/at/all"};
    struct sandbox_rules rules = {.read_only = nowhere, .read_only_count = 1};

    for (size_t i = 0; i <= LIMIT_SANDBOX_PATHS; i++)
        many[i] = "/tmp";
    for (size_t i = 0; i <= LIMIT_SANDBOX_PORTS; i++)
        ports[i] = (uint16_t)(i + 1024);
    cr_assert_eq(apply_in_child(&rules), ERR_NOT_FOUND);
    rules = (struct sandbox_rules){.read_write = nowhere, .read_write_count = 1};
    cr_assert_eq(apply_in_child(&rules), ERR_NOT_FOUND);
    for (size_t n = LIMIT_SANDBOX_PATHS - 1; n <= LIMIT_SANDBOX_PATHS + 1; n++) {
        enum err want = n <= LIMIT_SANDBOX_PATHS ? ERR_OK : ERR_CONFIG;

        rules = (struct sandbox_rules){.read_only = many, .read_only_count = n};
        cr_assert_eq(apply_in_child(&rules), want);
        rules = (struct sandbox_rules){.read_write = many, .read_write_count = n};
        cr_assert_eq(apply_in_child(&rules), want);
    }
    for (size_t n = LIMIT_SANDBOX_PORTS - 1; n <= LIMIT_SANDBOX_PORTS + 1; n++) {
        enum err want = n <= LIMIT_SANDBOX_PORTS ? ERR_OK : ERR_CONFIG;

        rules =
            (struct sandbox_rules){.limit_bind = true, .bind_ports = ports, .bind_port_count = n};
        cr_assert_eq(apply_in_child(&rules), want);
        rules = (struct sandbox_rules){
            .limit_connect = true, .connect_ports = ports, .connect_port_count = n};
        cr_assert_eq(apply_in_child(&rules), want);
    }
}

Test(sandbox, the_report_is_one_line)
{
    struct sandbox_report r = {.no_new_privs = SANDBOX_ACTIVE,
                               .landlock = SANDBOX_MISSING,
                               .landlock_abi = 7,
                               .seccomp = SANDBOX_ACTIVE,
                               .sanitizer = true};
    char line[SANDBOX_TEXT];

    sandbox_report_text(&r, line);
    cr_assert_str_eq(line, "no_new_privs=active capabilities=not-asked landlock=missing abi=7 "
                           "tcp_ports=not-asked seccomp=active sanitizer=yes");
    r = (struct sandbox_report){.landlock_abi = UINT32_MAX};
    sandbox_report_text(&r, line);
    cr_assert_not_null(strstr(line, "sanitizer=no"));
}
