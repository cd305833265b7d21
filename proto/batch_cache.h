/* Inside of `struct batch_cache` (proto/envelope.h): what a batch signature says, as one key. */
#ifndef SEALPOST_PROTO_BATCH_CACHE_H
#define SEALPOST_PROTO_BATCH_CACHE_H

#include "proto/envelope.h"

#include <stdbool.h>

/* A batch signature that verified, or is to be. */
struct batch_root {
    struct ed25519_public key;
    uint64_t size;
    struct digest root;
    uint8_t sig[ED25519_SIG];
};

/* `c` may be NULL, which knows nothing and keeps nothing. Only roots whose signature was verified
 * may be put. */
bool batch_cache_has(const struct batch_cache *c, const struct batch_root *root);
void batch_cache_put(struct batch_cache *c, const struct batch_root *root);

#endif
