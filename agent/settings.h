/* What an agent's configuration file says. One table, in settings.c, gives parser, checks, defaults
 * and the reference that --help and the manual print (common/config.h). */
#ifndef SEALPOST_AGENT_SETTINGS_H
#define SEALPOST_AGENT_SETTINGS_H

#include "common/config.h"

#include <stdbool.h>
#include <sys/types.h>

enum officer_role {
    ROLE_OFFICER = 1 << 0,       /* sends and reads */
    ROLE_RELEASER = 1 << 1,      /* answers release asks */
    ROLE_AUDITOR = 1 << 2,       /* sees status, receipts and proofs, but no content */
    ROLE_ADMINISTRATOR = 1 << 3, /* sees status */
};

struct officer {
    char *id;
    char *name;
    uint64_t uid;
    uint32_t roles; /* enum officer_role */
};

struct settings {
    char *agency;
    char *agent;      /* name of this agent within the agency */
    char *federation; /* folder of certs/trust.h */
    char *root;       /* the pinned root document */
    char *data;
    char *keys;
    char *passphrase_file;
    char *socket; /* for officers' programs */
    uint64_t store_bytes;
    uint64_t workers;
    unsigned log_level;
    uint64_t refresh_ms;
    bool sandbox;
    bool dumpable;
    uint64_t in_flight_max;
    uint64_t answer_ms;
    uint64_t retry_ms_min;
    uint64_t retry_ms_max;
    struct config_list officers; /* of struct officer */
};

extern const struct config_field settings_table[];

/* Loads and checks what the table cannot: the agency's name, distinct officer ids and uids, the
 * length of the socket's path. As config_load; settings_free accepts a zeroed struct. */
enum err settings_load(const char *path, struct settings *ret, struct config_error *error);
void settings_free(struct settings *s);
/* The officer with this uid; NULL when there is none. */
const struct officer *settings_officer(const struct settings *s, uid_t uid);

#endif
