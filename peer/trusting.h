/* What this daemon, a broker or an agent, believes now, and whom it therefore talks to.
 *
 * One current snapshot: any thread takes a reference, the commit thread alone replaces it. A thread
 * of its own looks at the federation folder and loads what is new there, so that nobody waits for
 * X.509; what it made is handed to the commit thread, which adopts it with an audit leaf. */
#ifndef SEALPOST_PEER_TRUSTING_H
#define SEALPOST_PEER_TRUSTING_H

#include "certs/trust.h"
#include "common/env.h"
#include "common/err.h"
#include "common/net.h"

#include <stdbool.h>

struct trusting_options {
    const struct env *env;
    const char *name;       /* of this broker or agency; the texts are borrowed */
    const char *federation; /* folder */
    const char *root;       /* pinned root document */
    const char *listen;     /* a broker's endpoint; NULL: an agency, which only connects */
};

#define TRUSTING_WHY 512

struct trusting;
/* Loads the folder for the first time. `why` says what does not hold. ERR_CONFIG when this daemon
 * is not in the directory, and the errors of trust_load. */
enum err trusting_new(const struct trusting_options *options, const struct trust_floor *floor,
                      struct trusting **ret, char why[TRUSTING_WHY]);
void trusting_free(struct trusting *t);

/* A reference of the caller's own. Any thread. */
struct trust *trusting_current(struct trusting *t);
/* Makes `trust` the current snapshot; takes its own reference. Commit thread. */
void trusting_set(struct trusting *t, struct trust *trust);

/* Has the folder changed since the last look (or `force`)? Then loads it: ERR_OK and the new
 * snapshot, which is to be adopted; ERR_NOT_FOUND when nothing changed. One thread. */
enum err trusting_look(struct trusting *t, bool force, struct trust **ret, char why[TRUSTING_WHY]);

/* For struct shell_ops. A broker: its links and the agencies whose home it is may talk to it, it
 * listens, and connects to the brokers behind it in the alphabet. An agency: its home brokers, to
 * which it connects. Net thread. */
enum err trusting_setup(struct trusting *t, struct net *net);
/* Where trusting_setup listens; once the shell runs. */
const char *trusting_endpoint(struct trusting *t);

#endif
