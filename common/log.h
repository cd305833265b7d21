/* The log of a daemon's shell, and what it tells systemd. Cores and libraries never log.
 *
 * One event is one line "level=info event=accepted peer=EE.PPA count=3" on stderr, or one
 * structured journal entry when stderr is the journal (JOURNAL_STREAM): MESSAGE, PRIORITY,
 * SYSLOG_IDENTIFIER, SEALPOST_EVENT and SEALPOST_<KEY> for each field. Identifiers only: never
 * content, keys or a peer's raw text. Values cannot inject: those with spaces, quotes, '=', control
 * bytes or bytes that are not ASCII are quoted and escaped; long ones are cut (LIMIT_LOG_VALUE,
 * LIMIT_LOG_LINE).
 *
 * The logger is the process-wide state of this tree. log_init() comes before threads; the rest may
 * be called from any thread. */
#ifndef SEALPOST_COMMON_LOG_H
#define SEALPOST_COMMON_LOG_H

#include "common/err.h"
#include "common/span.h"
#include "common/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
    LOG_AT_ERROR,
    LOG_AT_WARN,
    LOG_AT_INFO,
    LOG_AT_DEBUG,
};

/* `program` is kept, not copied. Events less urgent than `level` are dropped. */
void log_init(const char *program, enum log_level level);
/* The level of "error", "warn", "info" or "debug"; ERR_MALFORMED. */
enum err log_level_parse(const char *text, enum log_level *ret);
bool log_enabled(enum log_level level);

/* One key=value, or the head that opens an event. Keys are literals of [a-z][a-z0-9_]*. Texts are
 * borrowed until log_event() returns; NULL is written as "". */
struct log_field {
    const char *key; /* of the head: the event's name */
    enum {
        LOG_END,
        LOG_HEAD,
        LOG_TEXT,
        LOG_UNSIGNED,
        LOG_SIGNED,
        LOG_ID,
        LOG_BYTES,
    } type;
    union {
        enum log_level level;
        struct span bytes;
        uint64_t u64;
        int64_t i64;
        struct uuid id;
    };
};

/* The head: how urgent, and the event's name, a literal of [a-z][a-z0-9-]*. */
static inline struct log_field log_head(enum log_level level, const char *event)
{
    return (struct log_field){.key = event, .type = LOG_HEAD, .level = level};
}
static inline struct log_field log_error(const char *event)
{
    return log_head(LOG_AT_ERROR, event);
}
static inline struct log_field log_warn(const char *event)
{
    return log_head(LOG_AT_WARN, event);
}
static inline struct log_field log_info(const char *event)
{
    return log_head(LOG_AT_INFO, event);
}
static inline struct log_field log_debug(const char *event)
{
    return log_head(LOG_AT_DEBUG, event);
}

static inline struct log_field log_str(const char *key, const char *value)
{
    return (struct log_field){.key = key, .type = LOG_TEXT, .bytes = span_str(value)};
}
static inline struct log_field log_span(const char *key, struct span value)
{
    return (struct log_field){.key = key, .type = LOG_TEXT, .bytes = value};
}
static inline struct log_field log_u64(const char *key, uint64_t value)
{
    return (struct log_field){.key = key, .type = LOG_UNSIGNED, .u64 = value};
}
static inline struct log_field log_i64(const char *key, int64_t value)
{
    return (struct log_field){.key = key, .type = LOG_SIGNED, .i64 = value};
}
static inline struct log_field log_uuid(const char *key, const struct uuid *value)
{
    return (struct log_field){.key = key, .type = LOG_ID, .id = *value};
}
/* Public bytes, such as a digest, in hex. */
static inline struct log_field log_hex(const char *key, struct span value)
{
    return (struct log_field){.key = key, .type = LOG_BYTES, .bytes = value};
}
/* error=<code text> */
static inline struct log_field log_code(enum err value)
{
    return log_str("error", err_code(value));
}

/* log_event(log_info("accepted"), log_str("peer", name), log_u64("count", n));
 * The head first, then at most LIMIT_LOG_FIELDS fields, or none. */
#define log_event(...) log_write((const struct log_field[]){__VA_ARGS__, {.type = LOG_END}})
/* What log_event() calls: a head, fields, LOG_END. */
void log_write(const struct log_field *fields);

/* The daemon serves now. Tells systemd (READY=1) when NOTIFY_SOCKET is set, else prints the line
 * "ready" on stdout. Once. */
void log_ready(void);
/* A reload begins (RELOADING=1) and has ended (READY=1); nothing without NOTIFY_SOCKET. */
void notify_reloading(void);
void notify_reloaded(void);
/* The stop begins (STOPPING=1). */
void notify_stopping(void);
/* One line for `systemctl status`, without newlines. */
void notify_status(const char *text);
/* How often systemd wants to hear notify_watchdog(), in milliseconds; 0: it does not. Half of its
 * limit, so that one late call does no harm. */
uint64_t notify_watchdog_ms(void);
void notify_watchdog(void);

#endif
