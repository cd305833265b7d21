/* Inside of `struct wrap_pool` (proto/seal.h): taking the next HPKE message to a recipient key. */
#ifndef SEALPOST_PROTO_WRAP_POOL_H
#define SEALPOST_PROTO_WRAP_POOL_H

#include "proto/seal.h"

struct wrap {
    uint8_t enc[HPKE_ENC];
    uint32_t seq;
    uint8_t ct[32];
};

/* Wraps `file_key` for `to`. The context's next seq is used up even when sealing fails, and the
 * context goes with it. ERR_WRONG_USAGE when to->key_id is not that of to->public_key. */
enum err wrap_pool_seal(struct wrap_pool *p, uint32_t suite, const struct seal_recipient *to,
                        const struct digest *aad, const struct secret *file_key, struct wrap *ret);

#endif
