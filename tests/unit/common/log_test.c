#include "common/log.h"

#include "common/limits.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* Stands before libsystemd's: keeps the entry as lines. */
int sd_journal_sendv(const struct iovec *iov, int n);

static char journal[32768];
static int journal_result;

int sd_journal_sendv(const struct iovec *iov, int n)
{
    size_t len = 0;

    for (int i = 0; i < n; i++) {
        memcpy(journal + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
        journal[len++] = '\n';
    }
    journal[len] = '\0';
    return journal_result;
}

static char caught[32768];

struct redirection {
    int fd;    /* of ours that stands for the stream */
    int saved; /* what the stream was */
    int stream;
};

static struct redirection redirect(int stream)
{
    struct redirection r = {.stream = stream};

    fflush(NULL);
    r.fd = memfd_create("caught", 0);
    r.saved = dup(stream);
    cr_assert_eq(dup2(r.fd, stream), stream);
    return r;
}

static const char *restore(struct redirection r)
{
    ssize_t len;

    fflush(NULL);
    len = pread(r.fd, caught, sizeof(caught) - 1, 0);
    caught[len > 0 ? len : 0] = '\0';
    dup2(r.saved, r.stream);
    close(r.saved);
    close(r.fd);
    return caught;
}

/* What one event with the text `value` looks like. */
static const char *logged(struct span value)
{
    struct redirection r = redirect(STDERR_FILENO);

    log_event(log_info("e"), log_span("k", value));
    return restore(r);
}

Test(log, a_line_has_all_kinds_of_fields)
{
    struct uuid id = {{1, 2, 3}};
    struct redirection r = redirect(STDERR_FILENO);

    log_init("test", LOG_AT_INFO);
    log_event(log_warn("queue-full"), log_str("peer", "EE.PPA"), log_u64("count", UINT64_MAX),
              log_i64("delta", -5), log_uuid("id", &id), log_hex("digest", span_str("\x01\xff")),
              log_code(ERR_NO_ROUTE), log_str("none", NULL));
    cr_assert_str_eq(restore(r), "level=warn event=queue-full peer=EE.PPA "
                                 "count=18446744073709551615 delta=-5 "
                                 "id=01020300-0000-0000-0000-000000000000 digest=01ff "
                                 "error=no-route none=\"\"\n");
}

Test(log, levels_drop_what_is_less_urgent)
{
    struct redirection r = redirect(STDERR_FILENO);
    enum log_level level;

    log_init("test", LOG_AT_WARN);
    log_event(log_debug("a"));
    log_event(log_info("b"));
    log_event(log_warn("c"));
    log_event(log_error("d"));
    cr_assert_str_eq(restore(r), "level=warn event=c\nlevel=error event=d\n");
    cr_assert(log_enabled(LOG_AT_ERROR));
    cr_assert_not(log_enabled(LOG_AT_INFO));
    cr_assert_eq(log_level_parse("debug", &level), ERR_OK);
    cr_assert_eq(level, LOG_AT_DEBUG);
    cr_assert_eq(log_level_parse("Debug", &level), ERR_MALFORMED);
}

Test(log, values_cannot_inject)
{
    log_init("test", LOG_AT_INFO);
    cr_assert_str_eq(logged(span_str("a b")), "level=info event=e k=\"a b\"\n");
    cr_assert_str_eq(logged(span_str("x\nlevel=error event=forged")),
                     "level=info event=e k=\"x\\nlevel=error event=forged\"\n");
    cr_assert_str_eq(logged(span_str("a\"b\\c")), "level=info event=e k=\"a\\\"b\\\\c\"\n");
    cr_assert_str_eq(logged(span_str("a\\b")), "level=info event=e k=\"a\\\\b\"\n");
    cr_assert_str_eq(logged(span_str("a=b")), "level=info event=e k=\"a=b\"\n");
    cr_assert_str_eq(logged(span_of("\x1b[m\0ä\x7f", 7)),
                     "level=info event=e k=\"\\x1b[m\\x00\\xc3\\xa4\\x7f\"\n");
}

Test(log, values_are_cut_at_their_limit)
{
    char text[LIMIT_LOG_VALUE + 2];
    const char *line;

    log_init("test", LOG_AT_INFO);
    memset(text, 'a', sizeof(text));
    line = logged(span_of(text, LIMIT_LOG_VALUE));
    cr_assert_eq(strlen(line), strlen("level=info event=e k=\n") + LIMIT_LOG_VALUE);
    cr_assert_null(strstr(line, "..."));
    line = logged(span_of(text, LIMIT_LOG_VALUE + 1));
    cr_assert_eq(strlen(line), strlen("level=info event=e k=\n") + LIMIT_LOG_VALUE);
    cr_assert_not_null(strstr(line, "aa...\"\n"));
    /* With quotes there is room for two less. */
    text[0] = ' ';
    cr_assert_null(strstr(logged(span_of(text, LIMIT_LOG_VALUE - 2)), "..."));
    cr_assert_not_null(strstr(logged(span_of(text, LIMIT_LOG_VALUE - 1)), "..."));
    /* Escapes are not cut in the middle. */
    memset(text, 1, sizeof(text));
    line = logged(span_of(text, sizeof(text)));
    cr_assert_not_null(strstr(line, "\\x01...\"\n"));
    cr_assert_leq(strlen(line), strlen("level=info event=e k=\n") + LIMIT_LOG_VALUE);
}

Test(log, hex_is_cut_at_its_limit)
{
    uint8_t bytes[LIMIT_LOG_VALUE] = {0};
    struct redirection r = redirect(STDERR_FILENO);

    log_init("test", LOG_AT_INFO);
    log_event(log_info("e"), log_hex("k", span_of(bytes, sizeof(bytes))));
    cr_assert_not_null(strstr(restore(r), "00...\n"));
    cr_assert_leq(strlen(caught), strlen("level=info event=e k=\n") + LIMIT_LOG_VALUE);
}

Test(log, a_line_is_bounded_and_keeps_whole_fields)
{
    char text[LIMIT_LOG_VALUE];
    struct redirection r;
    struct log_field fields[LIMIT_LOG_FIELDS + 2];

    log_init("test", LOG_AT_INFO);
    memset(text, 'a', sizeof(text));
    fields[0] = log_info("e");
    for (size_t i = 1; i <= LIMIT_LOG_FIELDS; i++)
        fields[i] = log_span("k", span_of(text, sizeof(text)));
    fields[LIMIT_LOG_FIELDS + 1] = (struct log_field){.type = LOG_END};
    r = redirect(STDERR_FILENO);
    log_write(fields);
    restore(r);
    cr_assert_leq(strlen(caught), LIMIT_LOG_LINE);
    cr_assert_not_null(strstr(caught, "aa ...\n"));
}

Test(log, journal_entries_when_stderr_is_the_journal)
{
    char stream[64];
    struct stat st;
    struct redirection r = redirect(STDERR_FILENO);

    cr_assert_eq(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_init("sealpost-test", LOG_AT_INFO);
    log_event(log_error("stopped"), log_str("peer", "a\nb"), log_u64("wait_ms", 5));
    cr_assert_str_eq(restore(r), "");
    cr_assert_str_eq(journal, "MESSAGE=stopped peer=\"a\\nb\" wait_ms=5\n"
                              "PRIORITY=3\n"
                              "SYSLOG_IDENTIFIER=sealpost-test\n"
                              "SEALPOST_EVENT=stopped\n"
                              "SEALPOST_PEER=\"a\\nb\"\n"
                              "SEALPOST_WAIT_MS=5\n");
    /* The journal does not take it: the line goes to stderr. */
    r = redirect(STDERR_FILENO);
    journal_result = -EIO;
    log_event(log_error("stopped"));
    cr_assert_str_eq(restore(r), "level=error event=stopped\n");
    /* Another stream than ours. */
    setenv("JOURNAL_STREAM", "1:2", 1);
    log_init("sealpost-test", LOG_AT_INFO);
    journal[0] = '\0';
    r = redirect(STDERR_FILENO);
    log_event(log_error("stopped"));
    cr_assert_str_eq(restore(r), "level=error event=stopped\n");
    cr_assert_str_eq(journal, "");
}

Test(log, ready_is_a_line_without_systemd)
{
    struct redirection r = redirect(STDOUT_FILENO);

    unsetenv("NOTIFY_SOCKET");
    log_ready();
    notify_reloading();
    notify_reloaded();
    notify_stopping();
    notify_status("x");
    notify_watchdog();
    cr_assert_str_eq(restore(r), "ready\n");
    unsetenv("WATCHDOG_USEC");
    cr_assert_eq(notify_watchdog_ms(), 0);
}

static void assert_notified(int fd, const char *expected)
{
    char text[256];
    ssize_t len = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    cr_assert_gt(len, 0);
    text[len] = '\0';
    cr_assert_str_eq(text, expected);
}

Test(log, systemd_is_told)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct redirection r;
    char pid[32];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/sealpost-notify-%ld",
             (long)getpid());
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    r = redirect(STDOUT_FILENO);
    log_ready();
    cr_assert_str_eq(restore(r), "");
    assert_notified(fd, "READY=1");
    notify_reloading();
    assert_notified(fd, "RELOADING=1");
    notify_reloaded();
    assert_notified(fd, "READY=1");
    notify_status("3 peers");
    assert_notified(fd, "STATUS=3 peers");
    notify_watchdog();
    assert_notified(fd, "WATCHDOG=1");
    notify_stopping();
    assert_notified(fd, "STOPPING=1");
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    setenv("WATCHDOG_USEC", "30000000", 1);
    cr_assert_eq(notify_watchdog_ms(), 15000);
    setenv("WATCHDOG_USEC", "1000", 1);
    cr_assert_eq(notify_watchdog_ms(), 1);
    unlink(address.sun_path);
    close(fd);
}
