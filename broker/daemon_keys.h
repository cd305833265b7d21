/* The broker's keys: found in its folder by what they say they are for, and taken only when the
 * directory lists them, since nobody would believe another. */
#ifndef SEALPOST_BROKER_DAEMON_KEYS_H
#define SEALPOST_BROKER_DAEMON_KEYS_H

#include "broker/settings.h"
#include "certs/keystore.h"
#include "certs/trust.h"

#define DAEMON_KEYS_WHY 256

struct daemon_keys {
    struct secret *transport; /* X25519 */
    uint8_t transport_public[32];
    struct secret *log; /* Ed25519 */
};

/* `why` says which file or rule. ERR_CONFIG, and the errors of certs/keystore.h. */
enum err daemon_keys_open(const struct settings *s, const struct trust *trust, uint64_t now_ms,
                          struct daemon_keys *ret, char why[DAEMON_KEYS_WHY]);
void daemon_keys_fini(struct daemon_keys *k);

#endif
