#include "agent/settings.h"

#include "common/limits.h"
#include "common/text.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define AT(member) offsetof(struct settings, member)
#define HOUR_MS ((uint64_t)3600000)

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
/* In the order of enum officer_role. */
static const char *const roles[] = {"officer", "releaser", "auditor", "administrator", NULL};

static const struct config_field officer_fields[] = {
    {.key = "id",
     .type = CONFIG_STRING,
     .offset = offsetof(struct officer, id),
     .required = true,
     .min = 1,
     .max = LIMIT_OFFICER - 1,
     .help = "stands in messages and audit leaves"},
    {.key = "name",
     .type = CONFIG_STRING,
     .offset = offsetof(struct officer, name),
     .required = true,
     .min = 1,
     .max = LIMIT_OFFICER - 1,
     .help = "what recipients read"},
    {.key = "uid",
     .type = CONFIG_U64,
     .offset = offsetof(struct officer, uid),
     .required = true,
     .max = UINT32_MAX - 1,
     .help = "uid by which the officer's programs are known"},
    {.key = "roles",
     .type = CONFIG_WORDS,
     .offset = offsetof(struct officer, roles),
     .required = true,
     .words = roles,
     .help = "what the officer may do"},
    {.key = NULL},
};

const struct config_field settings_table[] = {
    {.key = "agency",
     .type = CONFIG_STRING,
     .offset = AT(agency),
     .required = true,
     .min = 1,
     .max = LIMIT_AGENCY - 1,
     .help = "name of this agency, as the directory lists it"},
    {.key = "agent",
     .type = CONFIG_STRING,
     .offset = AT(agent),
     .fallback = "main",
     .min = 1,
     .max = 32,
     .help = "name of this agent within the agency"},
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
    {.key = "socket",
     .type = CONFIG_PATH,
     .offset = AT(socket),
     .fallback = "agent.sock",
     .help = "Unix socket for the officers' programs"},
    {.key = "store_mib",
     .type = CONFIG_SIZE_MIB,
     .offset = AT(store_bytes),
     .fallback = "4096",
     .min = 16,
     .max = LIMIT_STORE_MAP / LIMIT_MIB,
     .help = "greatest size of the store in MiB; new messages use 80 % of it"},
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
    {.key = "officers",
     .type = CONFIG_TABLES,
     .offset = AT(officers),
     .required = true,
     .items_max = LIMIT_OFFICERS,
     .fields = officer_fields,
     .item_size = sizeof(struct officer),
     .help = "who may use this agent"},
    {.key = NULL},
};

static const char *check_officers(const struct settings *s)
{
    const struct officer *o = s->officers.items;

    if (s->officers.count == 0)
        return "officers: at least one is needed";
    for (size_t i = 0; i < s->officers.count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(o[i].id, o[j].id) == 0)
                return "officers: an id stands there twice";
            if (o[i].uid == o[j].uid)
                return "officers: a uid stands there twice";
        }
    }
    return NULL;
}

static const char *check(const struct settings *s)
{
    if (!text_is_agency(span_str(s->agency)))
        return "agency: not an agency's name";
    if (s->agent[strspn(s->agent, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
        return "agent: expected a-z, 0-9 and -";
    if (strlen(s->socket) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return "socket: the path is too long for a Unix socket (at most 107 bytes); choose a "
               "shorter one";
    if (s->retry_ms_max < s->retry_ms_min)
        return "retry_max: below retry_min";
    return check_officers(s);
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
    snprintf(error->text, sizeof error->text, "%.300s: %s", path, wrong);
    settings_free(ret);
    return ERR_CONFIG;
}

void settings_free(struct settings *s)
{
    config_free(settings_table, s);
}

const struct officer *settings_officer(const struct settings *s, uid_t uid)
{
    const struct officer *o = s->officers.items;

    for (size_t i = 0; i < s->officers.count; i++) {
        if (o[i].uid == uid)
            return &o[i];
    }
    return NULL;
}
