#include "broker/settings.h"

#include "common/limits.h"
#include "common/text.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define AT(member) offsetof(struct settings, member)
#define HOUR_MS ((uint64_t)3600000)

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

const struct config_field settings_table[] = {
    {.key = "name",
     .type = CONFIG_STRING,
     .offset = AT(name),
     .required = true,
     .min = 1,
     .max = LIMIT_BROKER - 1,
     .help = "name of this broker, as the directory lists it"},
    {.key = "federation",
     .type = CONFIG_PATH,
     .offset = AT(federation),
     .required = true,
     .help = "folder with root, directory, timestamp and the agencies' documents"},
    {.key = "root",
     .type = CONFIG_PATH,
     .offset = AT(root),
     .required = true,
     .help = "the root document that anchors every other; installed by the operator"},
    {.key = "data",
     .type = CONFIG_PATH,
     .offset = AT(data),
     .fallback = "data",
     .help = "folder for the store, the parts and the signer's state"},
    {.key = "keys",
     .type = CONFIG_PATH,
     .offset = AT(keys),
     .fallback = "keys",
     .help = "folder with the key files; each says itself what it is for"},
    {.key = "passphrase_file",
     .type = CONFIG_PATH,
     .offset = AT(passphrase_file),
     .required = true,
     .help = "file whose first line opens the key files"},
    {.key = "listen",
     .type = CONFIG_STRING,
     .offset = AT(listen),
     .required = true,
     .max = LIMIT_ENDPOINT - 1,
     .help = "where agents and brokers connect, such as tcp://127.0.0.1:7100"},
    {.key = "store_mib",
     .type = CONFIG_SIZE_MIB,
     .offset = AT(store_bytes),
     .fallback = "4096",
     .min = 16,
     .max = LIMIT_STORE_MAP / LIMIT_MIB,
     .help = "greatest size of the store in MiB; ordinary messages use 80 % of it"},
    {.key = "workers",
     .type = CONFIG_U64,
     .offset = AT(workers),
     .fallback = "0",
     .max = 64,
     .help = "threads that decode and verify; 0: one for each processor"},
    {.key = "log_level",
     .type = CONFIG_ENUM,
     .offset = AT(log_level),
     .fallback = "info",
     .words = levels,
     .help = "what is logged: error, warn, info or debug"},
    {.key = "refresh",
     .type = CONFIG_DURATION,
     .offset = AT(refresh_ms),
     .fallback = "5s",
     .min = 100,
     .max = HOUR_MS,
     .help = "how often the federation folder is looked at for news"},
    {.key = "sandbox",
     .type = CONFIG_BOOL,
     .offset = AT(sandbox),
     .fallback = "true",
     .help = "give up file and system call rights after the start (Landlock, seccomp)"},
    {.key = "dumpable",
     .type = CONFIG_BOOL,
     .offset = AT(dumpable),
     .fallback = "false",
     .help = "allow core dumps; only for tests that search one"},
    {.key = "keep",
     .type = CONFIG_DURATION,
     .offset = AT(keep_ms),
     .fallback = "72h",
     .min = 1000,
     .max = 30 * 24 * HOUR_MS,
     .help = "how long an ended exchange and its ciphertext are kept"},
    {.key = "queue_max",
     .type = CONFIG_U64,
     .offset = AT(queue_max),
     .fallback = "100000",
     .min = 1,
     .max = 1000000,
     .help = "exchanges that may wait for one next hop"},
    {.key = "in_flight_max",
     .type = CONFIG_U64,
     .offset = AT(in_flight_max),
     .fallback = "256",
     .min = 1,
     .max = 4096,
     .help = "transfers to one next hop that may be unanswered"},
    {.key = "answer",
     .type = CONFIG_DURATION,
     .offset = AT(answer_ms),
     .fallback = "10s",
     .min = 100,
     .max = HOUR_MS,
     .help = "after that an unanswered transfer is sent again"},
    {.key = "retry_min",
     .type = CONFIG_DURATION,
     .offset = AT(retry_ms_min),
     .fallback = "100ms",
     .min = 1,
     .max = HOUR_MS,
     .help = "first pause after an answer that asks to repeat; it doubles"},
    {.key = "retry_max",
     .type = CONFIG_DURATION,
     .offset = AT(retry_ms_max),
     .fallback = "30s",
     .min = 1,
     .max = HOUR_MS,
     .help = "longest such pause"},
    {.key = "refusals_logged",
     .type = CONFIG_U64,
     .offset = AT(refusals_logged),
     .fallback = "60",
     .max = 100000,
     .help = "refusals of one peer that get a leaf of their own, in a minute"},
    {.key = NULL},
};

static const char *check(const struct settings *s)
{
    if (!text_is_broker(span_str(s->name)))
        return "name: not a broker's name";
    if (strncmp(s->listen, "tcp://", 6) != 0)
        return "listen: expected tcp://ADDRESS:PORT";
    if (s->retry_ms_max < s->retry_ms_min)
        return "retry_max: below retry_min";
    return NULL;
}

enum err settings_load(const char *path, struct settings *ret, struct config_error *error)
{
    const char *wrong;
    enum err e;

    memset(ret, 0, sizeof *ret);
    e = config_load(path, settings_table, ret, sizeof *ret, error);
    if (e != ERR_OK)
        return e;
    wrong = check(ret);
    if (wrong == NULL)
        return ERR_OK;
    snprintf(error->text, sizeof error->text, "%.600s: %s", path, wrong);
    settings_free(ret);
    return ERR_CONFIG;
}

void settings_free(struct settings *s)
{
    config_free(settings_table, s);
}

struct broker_options settings_options(const struct settings *s)
{
    return (struct broker_options){
        .name = s->name,
        .keep_ms = s->keep_ms,
        .queue_max = s->queue_max,
        .in_flight_max = (unsigned)s->in_flight_max,
        .answer_ms = s->answer_ms,
        .retry_ms_min = s->retry_ms_min,
        .retry_ms_max = s->retry_ms_max,
        .refusals_logged = (unsigned)s->refusals_logged,
    };
}
