/* The officers' door: a Unix socket, one thread for each program that is connected, requests and
 * responses of proto/local.proto. Who asks is known by the uid of the other end (SO_PEERCRED); what
 * the officer may do stands in the configuration. Bytes: u32be length, then the message, at most
 * LIMIT_LOCAL_FRAME. */
#ifndef SEALPOST_AGENT_LOCAL_H
#define SEALPOST_AGENT_LOCAL_H

#include "agent/board.h"
#include "agent/settings.h"
#include "agent/vault.h"
#include "common/partfile.h"
#include "common/shell.h"
#include "common/store.h"
#include "peer/trusting.h"

/* All borrowed, and safe to be used by any thread. */
struct local_options {
    const struct env *env;
    const struct settings *settings;
    struct store *store;
    struct trusting *trusting;
    struct part_dir *parts;
    const struct vault *vault;
    struct board *board;
};

struct local;
/* Binds the socket, mode 0660; what lies at its path from a former run is removed. ERR_LOCKED when
 * another agent serves it, whatever its data folder.
 * ERR_CONFIG when the path is not to be had or is no socket. */
enum err local_new(const struct local_options *options, struct local **ret);
/* Starts accepting; requests go to `shell`. */
enum err local_start(struct local *l, struct shell *shell);
/* Ends all connections and their threads. The shell still takes or refuses what they post. */
void local_stop(struct local *l);
/* After local_stop. Removes the socket. Accepts NULL. */
void local_free(struct local *l);

#endif
