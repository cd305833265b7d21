/* Values of a kind, and the words for what went wrong. */
#include "common/cli.h"

#include "common/cli_internal.h"
#include "common/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* Longest name that is compared. */
#define NAME_MAX_COMPARED ((size_t)63)

enum err cli_u64(const struct cli *args, const char *name, uint64_t min, uint64_t max,
                 uint64_t fallback, uint64_t *ret)
{
    const char *value = cli_value(args, name);

    if (value == NULL) {
        *ret = fallback;
        return ERR_OK;
    }
    if (text_u64_parse(span_str(value), min, max, ret) == ERR_OK)
        return ERR_OK;
    cli_usage(args, "--%s: \"%s\" is no number from %" PRIu64 " to %" PRIu64, name, value, min,
              max);
    return ERR_USAGE;
}

enum err cli_duration(const struct cli *args, const char *name, uint64_t min, uint64_t max,
                      uint64_t fallback, uint64_t *ret)
{
    const char *value = cli_value(args, name);
    char from[TEXT_DURATION_SIZE], to[TEXT_DURATION_SIZE];
    uint64_t ms;

    if (value == NULL) {
        *ret = fallback;
        return ERR_OK;
    }
    if (text_duration_parse(span_str(value), &ms) == ERR_OK && ms >= min && ms <= max) {
        *ret = ms;
        return ERR_OK;
    }
    text_duration(min, from);
    text_duration(max, to);
    cli_usage(args, "--%s: \"%s\" is no duration such as 30s, 5m, 2h or 14d from %s to %s", name,
              value, from, to);
    return ERR_USAGE;
}

enum err cli_since(const struct cli *args, const char *name, uint64_t now_ms, uint64_t fallback,
                   uint64_t *ret)
{
    const char *value = cli_value(args, name);

    if (value == NULL) {
        *ret = fallback;
        return ERR_OK;
    }
    if (text_since_parse(span_str(value), now_ms, ret) == ERR_OK)
        return ERR_OK;
    cli_usage(args,
              "--%s: \"%s\" is neither a time such as 2026-11-24T06:10:00Z nor a duration such as "
              "2h",
              name, value);
    return ERR_USAGE;
}

/* "refused: " and the like: whether trying again makes sense. */
static const char *class_word(enum err e)
{
    switch (err_class(e)) {
    case ERR_CLASS_PEER:
        return "refused: ";
    case ERR_CLASS_RETRY:
        return "not now: ";
    case ERR_CLASS_LOCAL:
        break;
    }
    return "";
}

int cli_fail_text(FILE *to, bool json, enum err e, const char *message, const char *next)
{
    struct buf b;

    buf_init(&b, LIMIT_CLI_MESSAGE);
    if (json) {
        buf_put_str(&b, "{\"error\":{\"code\":");
        text_put_json(&b, span_str(err_code(e)));
        buf_put_str(&b, ",\"message\":");
        text_put_json(&b, span_str(message));
        buf_put_str(&b, ",\"next\":");
        text_put_json(&b, span_str(next));
        buf_put_str(&b, "}}\n");
    } else {
        buf_printf(&b, "%s: %s%s: ", program_invocation_short_name, class_word(e), err_code(e));
        text_put_safe(&b, span_str(message), false);
        buf_put_str(&b, "\n  next: ");
        text_put_safe(&b, span_str(next), false);
        buf_put_str(&b, "\n");
    }
    /* A message that is too long gives way to the error's own; that is short. */
    if (b.err != ERR_OK && message != err_meaning(e)) {
        buf_fini(&b);
        return cli_fail_text(to, json, e, err_meaning(e), err_next(e));
    }
    fwrite(b.data, 1, b.len, to);
    fflush(to);
    buf_fini(&b);
    return err_exit(e);
}

int cli_fail(FILE *to, bool json, enum err e, const char *format, ...)
{
    char message[LIMIT_CLI_MESSAGE / 8];
    va_list list;

    if (format == NULL)
        return cli_fail_text(to, json, e, err_meaning(e), err_next(e));
    va_start(list, format);
    vsnprintf(message, sizeof(message), format, list);
    va_end(list);
    return cli_fail_text(to, json, e, message, err_next(e));
}

int cli_usage(const struct cli *args, const char *format, ...)
{
    char message[LIMIT_CLI_MESSAGE / 8];
    const char *command = "";
    va_list list;

    va_start(list, format);
    vsnprintf(message, sizeof(message), format, list);
    va_end(list);
    if (args->command != NULL && args->program->commands != NULL)
        command = args->command->name;
    if (args->json) {
        char next[LIMIT_CLI_MESSAGE / 8];

        snprintf(next, sizeof(next), "try \"%s%s%s --help\"", args->program->name,
                 *command != '\0' ? " " : "", command);
        return cli_fail_text(stderr, true, ERR_USAGE, message, next);
    }
    fprintf(stderr, "%s: %s%s", args->program->name, command, *command != '\0' ? ": " : "");
    text_print_safe(stderr, span_str(message), false);
    fprintf(stderr, "\nTry \"%s%s%s --help\".\n", args->program->name, *command != '\0' ? " " : "",
            command);
    return err_exit(ERR_USAGE);
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: three rows of the table are enough. */
unsigned cli_distance(const char *a, const char *b)
{
    unsigned rows[3][NAME_MAX_COMPARED + 1] = {0};
    size_t a_len = strnlen(a, NAME_MAX_COMPARED), b_len = strnlen(b, NAME_MAX_COMPARED);

    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(row[j], least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

bool cli_is_near(const char *typed, const char *name)
{
    size_t len = strnlen(name, NAME_MAX_COMPARED);
    unsigned distance = cli_distance(typed, name);

    /* One slip in a short name, two in a longer one; never so many that nothing is left. */
    return distance <= (len > 4 ? 2U : 1U) && distance < len;
}
