#include "common/sandbox.h"

#include "common/file.h"
#include "common/limits.h"
#include "common/sandbox_internal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* There only in builds with AddressSanitizer. */
[[gnu::weak]] int __lsan_do_recoverable_leak_check(void);

/* Threads of this process; 1 where /proc is not mounted. */
static unsigned count_threads(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/task");

    if (d == NULL)
        return 1;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

static enum err drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL)
        return file_error(errno);
    return syscall(SYS_capset, &head, none) == 0 ? ERR_OK : file_error(errno);
}

static bool too_many(const struct sandbox_rules *r)
{
    return r->read_only_count > LIMIT_SANDBOX_PATHS || r->read_write_count > LIMIT_SANDBOX_PATHS ||
           r->bind_port_count > LIMIT_SANDBOX_PORTS || r->connect_port_count > LIMIT_SANDBOX_PORTS;
}

enum err sandbox_apply(const struct sandbox_rules *rules, struct sandbox_report *ret)
{
    struct sandbox_report report = {.sanitizer = __lsan_do_recoverable_leak_check != NULL};
    unsigned threads = count_threads();
    enum err e;

    assert(threads == 1);
    if (too_many(rules))
        return ERR_CONFIG;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return ERR_IO;
    report.no_new_privs = SANDBOX_ACTIVE;
    e = sandbox_landlock(rules, &report);
    if (e == ERR_OK && rules->drop_capabilities) {
        e = drop_capabilities();
        report.capabilities = SANDBOX_ACTIVE;
    }
    if (e == ERR_OK)
        e = sandbox_seccomp(rules, &report);
    if (e == ERR_OK)
        *ret = report;
    return e;
}

static const char *layer_text(enum sandbox_layer layer)
{
    switch (layer) {
    case SANDBOX_ACTIVE:
        return "active";
    case SANDBOX_MISSING:
        return "missing";
    case SANDBOX_NOT_ASKED:
        break;
    }
    return "not-asked";
}

void sandbox_report_text(const struct sandbox_report *r, char out[SANDBOX_TEXT])
{
    snprintf(out, SANDBOX_TEXT,
             "no_new_privs=%s capabilities=%s landlock=%s abi=%u tcp_ports=%s seccomp=%s "
             "sanitizer=%s",
             layer_text(r->no_new_privs), layer_text(r->capabilities), layer_text(r->landlock),
             r->landlock_abi, layer_text(r->tcp_ports), layer_text(r->seccomp),
             r->sanitizer ? "yes" : "no");
}
