/* The agency's keys: found in their folder by what they say they are for, and taken only when the
 * agency's documents list them, since nobody would believe another. Decryption keys are all taken:
 * mail may still come for one that is not published any more. */
#ifndef SEALPOST_AGENT_DAEMON_KEYS_H
#define SEALPOST_AGENT_DAEMON_KEYS_H

#include "agent/opening.h"
#include "agent/settings.h"
#include "certs/keystore.h"
#include "certs/trust.h"

#define DAEMON_KEYS_WHY 256

struct daemon_keys {
    struct secret *sign; /* Ed25519, expanded */
    struct key_id sign_id;
    struct secret *transport; /* X25519 */
    uint8_t transport_public[32];
    struct secret *log;     /* Ed25519 */
    struct secret *storage; /* 32 bytes */
    struct keyring *keyring;
};

/* The storage key alone: the store's checksums need it before anything is known. `why` says which
 * file or rule. ERR_CONFIG, and the errors of certs/keystore.h. */
enum err daemon_keys_storage(const struct settings *s, struct daemon_keys *keys,
                             char why[DAEMON_KEYS_WHY]);
/* The others. On failure `keys` is as it was. */
enum err daemon_keys_open(const struct settings *s, const struct trust *trust, uint64_t now_ms,
                          struct daemon_keys *keys, char why[DAEMON_KEYS_WHY]);
void daemon_keys_fini(struct daemon_keys *k);

#endif
