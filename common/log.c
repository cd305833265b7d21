#include "common/log.h"

#include "common/file.h"
#include "common/limits.h"
#include "common/text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* Where in the source an event arose is no field: the event's name says it. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

/* What a cut value ends with. */
#define CUT "..."
/* Longest name of a journal field, as the journal bounds it. */
#define JOURNAL_KEY_MAX 64
#define JOURNAL_PREFIX "SEALPOST_"

/* The process-wide state that the header speaks of: written by log_init(), before threads. */
static struct {
    const char *program;
    enum log_level level;
    bool journal;
} logger = {.program = "sealpost", .level = LOG_AT_INFO};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const int level_priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

#define LEVELS (sizeof(level_names) / sizeof(level_names[0]))

/* A line in the making, in memory of its own; what does not fit is left out. */
struct line {
    char *data;
    size_t len;
    size_t size;
};

static void line_put(struct line *l, const char *text, size_t len)
{
    size_t room = l->size - l->len;

    if (len > room)
        len = room;
    memcpy(l->data + l->len, text, len);
    l->len += len;
}

static void line_put_str(struct line *l, const char *text)
{
    line_put(l, text, strlen(text));
}

/* True when stderr is the stream that systemd handed over (systemd.exec(5), JOURNAL_STREAM). */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char expected[64];
    struct stat st;

    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
        return false;
    snprintf(expected, sizeof(expected), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, expected) == 0;
}

void log_init(const char *program, enum log_level level)
{
    assert((size_t)level < LEVELS);
    logger.program = program;
    logger.level = level;
    logger.journal = stderr_is_journal();
}

enum err log_level_parse(const char *text, enum log_level *ret)
{
    for (size_t i = 0; i < LEVELS; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return ERR_OK;
        }
    }
    return ERR_MALFORMED;
}

bool log_enabled(enum log_level level)
{
    return level <= logger.level;
}

static bool is_bare(uint8_t c)
{
    return c > ' ' && c <= '~' && c != '"' && c != '\\' && c != '=';
}

/* One byte inside quotes, as the reader sees it. */
static void escape(uint8_t c, char out[5])
{
    if (c == '"' || c == '\\')
        snprintf(out, 5, "\\%c", c);
    else if (c == '\n')
        snprintf(out, 5, "\\n");
    else if (c < ' ' || c > '~')
        snprintf(out, 5, "\\x%02x", c);
    else
        snprintf(out, 5, "%c", c);
}

/* Inside quotes: all of it, or as much as leaves room for the mark. */
static void put_quoted(struct line *l, struct span s)
{
    size_t room = LIMIT_LOG_VALUE - 2, need = 0;
    char out[5];

    for (size_t i = 0; i < s.len && need <= room; i++) {
        escape(s.data[i], out);
        need += strlen(out);
    }
    if (need > room)
        room -= strlen(CUT);
    line_put(l, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        escape(s.data[i], out);
        if (strlen(out) > room)
            break;
        line_put_str(l, out);
        room -= strlen(out);
    }
    line_put_str(l, need > LIMIT_LOG_VALUE - 2 ? CUT "\"" : "\"");
}

/* A text of a stranger: bare when it is plain, else quoted. Never more than LIMIT_LOG_VALUE. */
static void put_text(struct line *l, struct span s)
{
    size_t bare = 0;

    while (bare < s.len && is_bare(s.data[bare]))
        bare++;
    if (s.len > 0 && bare == s.len && s.len <= LIMIT_LOG_VALUE)
        line_put(l, (const char *)s.data, s.len);
    else
        put_quoted(l, s);
}

static void put_hex(struct line *l, struct span s)
{
    char digits[LIMIT_LOG_VALUE + 1];
    size_t most = (LIMIT_LOG_VALUE - strlen(CUT)) / 2;

    text_hex(span_of(s.data, s.len < most ? s.len : most), digits);
    line_put_str(l, digits);
    if (s.len > most)
        line_put_str(l, CUT);
}

static void put_value(struct line *l, const struct log_field *f)
{
    char text[UUID_TEXT_SIZE];

    switch (f->type) {
    case LOG_TEXT:
        put_text(l, f->bytes);
        return;
    case LOG_BYTES:
        put_hex(l, f->bytes);
        return;
    case LOG_UNSIGNED:
        snprintf(text, sizeof(text), "%" PRIu64, f->u64);
        break;
    case LOG_SIGNED:
        snprintf(text, sizeof(text), "%" PRId64, f->i64);
        break;
    case LOG_ID:
        uuid_format(&f->id, text);
        break;
    case LOG_END:
    case LOG_HEAD:
        return;
    }
    line_put_str(l, text);
}

static size_t count_fields(const struct log_field *fields)
{
    size_t n = 0;

    assert(fields[0].type == LOG_HEAD);
    while (fields[n + 1].type != LOG_END) {
        assert(fields[n + 1].type != LOG_HEAD);
        n++;
    }
    assert(n <= LIMIT_LOG_FIELDS);
    return n;
}

static void write_line(const struct log_field *fields, size_t count)
{
    char text[LIMIT_LOG_LINE];
    struct line l = {.data = text, .size = sizeof(text) - 1};

    line_put_str(&l, "level=");
    line_put_str(&l, level_names[fields[0].level]);
    line_put_str(&l, " event=");
    line_put_str(&l, fields[0].key);
    for (size_t i = 1; i <= count; i++) {
        char value[LIMIT_LOG_VALUE];
        struct line v = {.data = value, .size = sizeof(value)};
        size_t key_len = strlen(fields[i].key);

        put_value(&v, &fields[i]);
        /* A field is there whole or not at all. */
        if (l.size - l.len < key_len + v.len + 2 + strlen(" " CUT)) {
            line_put_str(&l, " " CUT);
            break;
        }
        line_put(&l, " ", 1);
        line_put(&l, fields[i].key, key_len);
        line_put(&l, "=", 1);
        line_put(&l, value, v.len);
    }
    text[l.len++] = '\n';
    /* One write, so that lines of threads do not mix. Where it fails there is nobody to tell. */
    if (file_write_all(STDERR_FILENO, span_of(text, l.len)) != ERR_OK)
        return;
}

/* "peer" becomes "SEALPOST_PEER=". */
static void put_journal_key(struct line *l, const char *key)
{
    size_t len = strlen(key);

    assert(len + strlen(JOURNAL_PREFIX) <= JOURNAL_KEY_MAX);
    line_put_str(l, JOURNAL_PREFIX);
    for (size_t i = 0; i < len; i++) {
        char c = key[i] >= 'a' && key[i] <= 'z' ? (char)(key[i] - 'a' + 'A') : key[i];

        line_put(l, &c, 1);
    }
    line_put(l, "=", 1);
}

static struct iovec iov_of(const struct line *l)
{
    return (struct iovec){.iov_base = l->data, .iov_len = l->len};
}

/* The message repeats the fields, so that a plain `journalctl` shows them. */
static void write_journal(const struct log_field *fields, size_t count)
{
    char values[LIMIT_LOG_FIELDS][JOURNAL_KEY_MAX + 1 + LIMIT_LOG_VALUE];
    char message[LIMIT_LOG_LINE], priority[32], identifier[128], event[128];
    struct iovec iov[LIMIT_LOG_FIELDS + 4];
    struct line m = {.data = message, .size = sizeof(message)};
    size_t head_len;

    line_put_str(&m, "MESSAGE=");
    line_put_str(&m, fields[0].key);
    for (size_t i = 0; i < count; i++) {
        struct line v = {.data = values[i], .size = sizeof(values[i])};

        put_journal_key(&v, fields[i + 1].key);
        head_len = v.len;
        put_value(&v, &fields[i + 1]);
        line_put(&m, " ", 1);
        line_put_str(&m, fields[i + 1].key);
        line_put(&m, "=", 1);
        line_put(&m, v.data + head_len, v.len - head_len);
        iov[4 + i] = iov_of(&v);
    }
    iov[0] = iov_of(&m);
    snprintf(priority, sizeof(priority), "PRIORITY=%d", level_priorities[fields[0].level]);
    snprintf(identifier, sizeof(identifier), "SYSLOG_IDENTIFIER=%s", logger.program);
    snprintf(event, sizeof(event), JOURNAL_PREFIX "EVENT=%s", fields[0].key);
    iov[1] = (struct iovec){.iov_base = priority, .iov_len = strlen(priority)};
    iov[2] = (struct iovec){.iov_base = identifier, .iov_len = strlen(identifier)};
    iov[3] = (struct iovec){.iov_base = event, .iov_len = strlen(event)};
    if (sd_journal_sendv(iov, (int)(4 + count)) < 0)
        write_line(fields, count);
}

void log_write(const struct log_field *fields)
{
    size_t count = count_fields(fields);

    if (!log_enabled(fields[0].level))
        return;
    if (logger.journal)
        write_journal(fields, count);
    else
        write_line(fields, count);
}

static bool has_notify_socket(void)
{
    return getenv("NOTIFY_SOCKET") != NULL;
}

/* Whether systemd hears it is not ours to decide; nothing depends on it. */
static void notify(const char *state)
{
    if (has_notify_socket())
        (void)sd_notify(0, state);
}

void log_ready(void)
{
    if (has_notify_socket()) {
        notify("READY=1");
        return;
    }
    printf("ready\n");
    fflush(stdout);
}

void notify_reloading(void)
{
    notify("RELOADING=1");
}

void notify_reloaded(void)
{
    notify("READY=1");
}

void notify_stopping(void)
{
    notify("STOPPING=1");
}

void notify_status(const char *text)
{
    char state[LIMIT_LOG_VALUE];

    assert(strchr(text, '\n') == NULL);
    snprintf(state, sizeof(state), "STATUS=%s", text);
    notify(state);
}

uint64_t notify_watchdog_ms(void)
{
    uint64_t limit_us = 0;

    if (sd_watchdog_enabled(0, &limit_us) <= 0)
        return 0;
    return limit_us / 2000 > 0 ? limit_us / 2000 : 1;
}

void notify_watchdog(void)
{
    notify("WATCHDOG=1");
}
