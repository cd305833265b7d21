/* What a broker's configuration file says. One table, in settings.c, gives parser, checks, defaults
 * and the reference that --help and the manual print (common/config.h). */
#ifndef SEALPOST_BROKER_SETTINGS_H
#define SEALPOST_BROKER_SETTINGS_H

#include "broker/core.h"
#include "common/config.h"
#include "common/log.h"

#include <stdbool.h>

struct settings {
    char *name;            /* of this broker, as the directory lists it */
    char *federation;      /* folder of certs/trust.h */
    char *root;            /* the pinned root document */
    char *data;            /* this daemon's own folder */
    char *keys;            /* folder of key files */
    char *passphrase_file; /* opens them */
    char *listen;          /* tcp://ADDRESS:PORT */
    uint64_t store_bytes;  /* bound of the map */
    uint64_t workers;      /* 0: one for each processor */
    unsigned log_level;    /* enum log_level */
    uint64_t refresh_ms;   /* how often the federation folder is looked at */
    bool sandbox;
    bool dumpable; /* core dumps allowed: only for tests that scan one */
    uint64_t keep_ms;
    uint64_t queue_max;
    uint64_t in_flight_max;
    uint64_t answer_ms;
    uint64_t retry_ms_min;
    uint64_t retry_ms_max;
    uint64_t refusals_logged;
};

extern const struct config_field settings_table[];

/* Loads and checks what the table cannot: the name, the endpoint, bounds that depend on each other.
 * As config_load; settings_free accepts a zeroed struct. */
enum err settings_load(const char *path, struct settings *ret, struct config_error *error);
void settings_free(struct settings *s);
/* The core's part of it; borrows the name. */
struct broker_options settings_options(const struct settings *s);

#endif
