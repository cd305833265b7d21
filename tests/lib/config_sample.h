/* A table with every type of field, and parsing by it. */
#ifndef SEALPOST_TESTS_LIB_CONFIG_SAMPLE_H
#define SEALPOST_TESTS_LIB_CONFIG_SAMPLE_H

#include "common/config.h"
#include "common/limits.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ROLE_OFFICER = 1, ROLE_RELEASER = 2, ROLE_AUDITOR = 4, ROLE_ADMINISTRATOR = 8 };
enum { LOG_ERROR, LOG_INFO, LOG_DEBUG };

static const char *const role_words[] = {"officer", "releaser", "auditor", "administrator", NULL};
static const char *const log_words[] = {"error", "info", "debug", NULL};

struct officer {
    char *id;
    char *name;
    uint64_t uid;
    uint32_t roles;
};

struct limits {
    uint64_t rate;
    char *note;
};

struct settings {
    char *agency;
    char *data;
    char *motto;
    uint64_t workers;
    uint64_t store;
    uint64_t retry_ms;
    bool strict;
    unsigned log;
    struct config_strings brokers;
    struct config_strings roots;
    struct config_list officers;
    struct limits limits;
};

static const struct config_field officer_table[] = {{.key = "id",
                                                     .type = CONFIG_STRING,
                                                     .offset = offsetof(struct officer, id),
                                                     .required = true,
                                                     .min = 1,
                                                     .max = LIMIT_OFFICER,
                                                     .help = "Short name."},
                                                    {.key = "name",
                                                     .type = CONFIG_STRING,
                                                     .offset = offsetof(struct officer, name),
                                                     .required = true},
                                                    {.key = "uid",
                                                     .type = CONFIG_U64,
                                                     .offset = offsetof(struct officer, uid),
                                                     .required = true,
                                                     .max = UINT32_MAX},
                                                    {.key = "roles",
                                                     .type = CONFIG_WORDS,
                                                     .offset = offsetof(struct officer, roles),
                                                     .words = role_words},
                                                    {0}};

static const struct config_field limits_table[] = {
    {.key = "rate",
     .type = CONFIG_U64,
     .offset = offsetof(struct limits, rate),
     .max = 9,
     .fallback = "7"},
    {.key = "note", .type = CONFIG_STRING, .offset = offsetof(struct limits, note)},
    {0}};

static const struct config_field table[] = {
    {.key = "agency",
     .type = CONFIG_STRING,
     .offset = offsetof(struct settings, agency),
     .required = true,
     .min = 2,
     .max = 10,
     .help = "Name of the agency."},
    {.key = "data",
     .type = CONFIG_PATH,
     .offset = offsetof(struct settings, data),
     .fallback = "data"},
    {.key = "motto", .type = CONFIG_STRING, .offset = offsetof(struct settings, motto)},
    {.key = "workers",
     .type = CONFIG_U64,
     .offset = offsetof(struct settings, workers),
     .min = 1,
     .max = 64,
     .fallback = "2"},
    {.key = "store_mib",
     .type = CONFIG_SIZE_MIB,
     .offset = offsetof(struct settings, store),
     .min = 16,
     .max = 1024,
     .fallback = "64"},
    {.key = "retry",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct settings, retry_ms),
     .min = 500,
     .max = 86400000,
     .fallback = "30s"},
    {.key = "strict",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct settings, strict),
     .fallback = "true"},
    {.key = "log",
     .type = CONFIG_ENUM,
     .offset = offsetof(struct settings, log),
     .words = log_words,
     .fallback = "info"},
    {.key = "brokers",
     .type = CONFIG_STRINGS,
     .offset = offsetof(struct settings, brokers),
     .max = 8,
     .items_max = 3},
    {.key = "roots", .type = CONFIG_PATHS, .offset = offsetof(struct settings, roots)},
    {.key = "officers",
     .type = CONFIG_TABLES,
     .offset = offsetof(struct settings, officers),
     .fields = officer_table,
     .item_size = sizeof(struct officer),
     .items_max = 4},
    {.key = "limits",
     .type = CONFIG_TABLE,
     .offset = offsetof(struct settings, limits),
     .fields = limits_table},
    {0}};

static struct config_error error;

[[maybe_unused]] static enum err parse(const char *text, struct settings *out)
{
    return config_parse("conf/agent.yaml", text, strlen(text), table, out, sizeof *out, &error);
}

[[maybe_unused]] static void good(const char *text, struct settings *out)
{
    enum err e = parse(text, out);

    cr_assert_eq(e, ERR_OK, "%s: %s", text, error.text);
    cr_assert_str_eq(error.text, "");
}

/* Refused with exactly this message, and nothing left behind. */
[[maybe_unused]] static void bad(const char *text, const char *message)
{
    struct settings s;
    static const struct settings zero;
    enum err e = parse(text, &s);

    cr_assert_eq(e, ERR_CONFIG, "taken: %s", text);
    cr_assert_str_eq(error.text, message);
    cr_assert_eq(memcmp(&s, &zero, sizeof s), 0);
}

#endif
